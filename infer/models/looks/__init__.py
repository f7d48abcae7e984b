"""The embedded looks."""
