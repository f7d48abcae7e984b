"""Written pages: the report of `evaluate pairs` and the blind survey. Imports all of hueglass but `commands`."""
