"""The CUDA renderer and its face. Imports the contract, the ground and the door to CuPy in `network`."""
