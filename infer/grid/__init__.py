"""The bilateral grid of affine colour transforms: the contract in numpy, and what executes it fast. Imports the
ground and the door to CuPy in `network`."""
