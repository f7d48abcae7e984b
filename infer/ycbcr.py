"""From Y'CbCr 4:2:0, as decoders give it, to sRGB and back.

A pixel takes the chroma of its nearest sample; out of a square of four pixels, clipped to RGB, comes the chroma of
their mean colour. A picture comes back as it was, save for colours that RGB does not have.
"""

import cv2
import numpy as np

from .frame import WEIGHTS, Planes, YuvImage


def to_rgb(image: YuvImage) -> np.ndarray:
    """sRGB (H, W, 3) float32 in [0, 1], clipped."""
    height, width = image.shape
    luma, *chroma = image.planes
    cb, cr = (c.repeat(2, 0).repeat(2, 1)[:height, :width] for c in chroma)
    return _colours((luma, cb, cr), image)


def from_rgb(colours: np.ndarray, matrix: int = 1, full_range: bool = False) -> YuvImage:
    """The picture of sRGB (H, W, 3) in [0, 1]."""
    kr, kb = WEIGHTS[matrix]
    height, width = colours.shape[:2]
    even = np.pad(colours, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    square = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).mean((1, 3))
    luma, grey = (x @ np.array([kr, 1 - kr - kb, kb], np.float32) for x in (colours, square))
    cb, cr = (square[..., 2] - grey) / (2 - 2 * kb), (square[..., 0] - grey) / (2 - 2 * kr)
    levels, chroma = (255 * luma, 255) if full_range else (16 + 219 * luma, 224)
    planes = (to_levels(levels), to_levels(128 + chroma * cb), to_levels(128 + chroma * cr))
    return YuvImage(planes, matrix, full_range)


def to_levels(levels: np.ndarray) -> np.ndarray:
    """Numbers in [0, 255], rounded and clipped to uint8."""
    rounded: np.ndarray = np.floor(np.clip(levels, 0, 255) + 0.5).astype(np.uint8)
    return rounded


def _colours(planes: Planes, image: YuvImage) -> np.ndarray:
    """sRGB (H, W, 3) in [0, 1] of three planes of one size, with the matrix and range of `image`."""
    colours: np.ndarray = cv2.transform(cv2.merge(planes).astype(np.float32), image.rgb_matrix)
    return np.clip(colours, 0, 1, out=colours)
