"""What comes in and goes out: pictures, clips, cameras, their tracks and colours. Imports the ground alone."""
