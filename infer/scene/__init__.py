"""Pictures in a row: the one order from a frame to its coefficients, smoothing, cuts, clips and cameras. Imports
all rooms before it."""
