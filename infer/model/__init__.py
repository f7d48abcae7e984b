"""What was learned: the bundle of networks, and looks. Imports the ground, `media`, `grid`, `network` and `regions`.
The data lies in `models`."""
