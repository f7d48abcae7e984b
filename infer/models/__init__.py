"""The embedded model bundle: data, read by `model`. Imports nothing."""
