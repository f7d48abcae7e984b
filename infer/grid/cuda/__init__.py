"""The CUDA renderer and its face. Imports the contract and the ground."""
