"""The commands `look ...`."""
