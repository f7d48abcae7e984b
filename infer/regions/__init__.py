"""Which part of a picture is what: masks, the segmenter, its maps over time, a strength for each. Imports the
ground, `media`, `network` and `grid`."""
