"""A window on this machine: what it shows, its keys, its recordings. Imports all rooms before `screen`."""
