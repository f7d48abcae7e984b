"""What people look at. Imports all rooms before it."""
