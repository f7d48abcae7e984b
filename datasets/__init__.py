"""Photographs, masks, clips and synthetic scenes: what training and the demo read."""
