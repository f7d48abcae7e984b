"""What `bench` times. Imports all of hueglass but `commands`."""
