"""The embedded model bundle."""
