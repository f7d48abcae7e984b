"""What was learned: the bundle of networks, and looks. Imports the ground, `media`, `network`, `grid` and `regions`.
The data lies in `models`."""
