"""One file a command. Imports all of hueglass."""
