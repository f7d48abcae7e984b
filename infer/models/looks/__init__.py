"""The embedded looks: data, read by `model`. Imports nothing."""
