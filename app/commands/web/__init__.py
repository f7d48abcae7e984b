"""The commands `web ...`: the page for any web host."""
