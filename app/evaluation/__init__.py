"""How good models and methods are: what the commands `evaluate ...` do. Imports all of hueglass."""
