"""The runtime: from a frame and a look to a stylized frame. Never imports torch."""
