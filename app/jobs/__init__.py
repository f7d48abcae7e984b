"""What commands do, beyond their options: mostly one file a command. Imports all of hueglass."""
