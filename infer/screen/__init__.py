"""What people look at: a window on this machine, and a page in a browser. Imports all rooms before it."""
