"""One file a command: its options, and a call. Light: what does the work is imported inside the functions."""
