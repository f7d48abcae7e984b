"""Frames in Y'CbCr 4:2:0, as decoders give them, sliced without a frame in RGB: the numpy reference.

A pixel takes the chroma of its nearest sample; out of a square of four pixels, clipped to RGB, comes the chroma of
their mean colour. A frame that the grid leaves as it is comes back as it was, save for colours that RGB does not have.
`native.render_yuv` does the same fast.
"""

import numpy as np

from . import bilateral
from .errors import HueglassError

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Y (H, W), Cb and Cr ((H + 1) // 2, (W + 1) // 2), uint8."""

_BT601 = (0.299, 0.114)
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: _BT601, 6: _BT601, 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Luma weights of red and blue by the number of the matrix in ITU-T H.273: BT.709, FCC, BT.601 twice, SMPTE 240M,
BT.2020."""


def check_planes(planes: Planes) -> None:
    """HueglassError if these are not the planes of one frame."""
    luma, *chroma = planes
    if luma.dtype != np.uint8 or luma.ndim != 2 or luma.size == 0:
        raise HueglassError(f"luma is {luma.dtype} {luma.shape}, expected uint8 (height, width)")
    half = tuple((n + 1) // 2 for n in luma.shape)
    for plane in chroma:
        if plane.dtype != np.uint8 or plane.shape != half:
            raise HueglassError(f"chroma is {plane.dtype} {plane.shape}, expected uint8 {half}")


def to_rgb(planes: Planes, kr: float, kb: float, full: bool) -> np.ndarray:
    """sRGB (H, W, 3) float32 in [0, 1], clipped."""
    luma, cb, cr = (p.astype(np.float32) for p in planes)
    height, width = luma.shape
    grey = luma / 255 if full else (luma - 16) / 219
    cb, cr = (_twice((c - 128) / (255 if full else 224))[:height, :width] for c in (cb, cr))
    red, blue = grey + (2 - 2 * kr) * cr, grey + (2 - 2 * kb) * cb
    green = (grey - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1), 0, 1)


def from_rgb(image: np.ndarray, kr: float, kb: float, full: bool) -> Planes:
    """The planes of sRGB (H, W, 3) in [0, 1]."""
    luma = _luma(image, kr, kb)
    height, width = luma.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    square = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).mean((1, 3))
    grey = _luma(square, kr, kb)
    cb, cr = (square[..., 2] - grey) / (2 - 2 * kb), (square[..., 0] - grey) / (2 - 2 * kr)
    levels = 255 * luma if full else 16 + 219 * luma
    chroma = 255 if full else 224
    return _bytes(levels), _bytes(128 + chroma * cb), _bytes(128 + chroma * cr)


def render(grid: np.ndarray, planes: Planes, kr: float, kb: float, full: bool) -> Planes:
    """The frame through the grid (gd, gh, gw, 12)."""
    image = to_rgb(planes, kr, kb, full)
    matrices = bilateral.slice_grid(grid, bilateral.guide_map(image))
    return from_rgb(np.clip(bilateral.apply_affine(matrices, image), 0, 1), kr, kb, full)


def _luma(image: np.ndarray, kr: float, kb: float) -> np.ndarray:
    return kr * image[..., 0] + (1 - kr - kb) * image[..., 1] + kb * image[..., 2]


def _twice(plane: np.ndarray) -> np.ndarray:
    return plane.repeat(2, 0).repeat(2, 1)


def _bytes(levels: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(levels, 0, 255) + 0.5).astype(np.uint8)
