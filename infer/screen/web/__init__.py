"""The web page and its server: a browser becomes a window on the restyled world. Imports all rooms before `screen`."""
