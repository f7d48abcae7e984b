"""The runtime: from a frame and a look to a stylized frame. Modules beside the rooms are the ground, which every room
may import. Imports nothing else of ours, and never torch."""
