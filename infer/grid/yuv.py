"""Frames in Y'CbCr 4:2:0 sliced through a grid without a frame in RGB: the numpy reference.

A frame that the grid leaves as it is comes back as it was, save for colours that RGB does not have. The renderers do
the same fast.
"""

import numpy as np

from hueglass.infer.frame import YuvImage
from hueglass.infer.ycbcr import from_rgb, to_levels, to_rgb

from . import bilateral


def render(grid: np.ndarray, image: YuvImage) -> YuvImage:
    """The picture through the grid (gd, gh, gw, 12)."""
    return from_rgb(bilateral.slice_colours(grid, to_rgb(image)), image.matrix, image.full_range)


def render_to_rgb(grid: np.ndarray, image: YuvImage) -> np.ndarray:
    """The picture through the grid (gd, gh, gw, 12), as (H, W, 3) uint8 sRGB."""
    return to_levels(255 * bilateral.slice_colours(grid, to_rgb(image)))
