"""Frames in Y'CbCr 4:2:0, as decoders give them, sliced without a frame in RGB: the numpy reference.

A pixel takes the chroma of its nearest sample; out of a square of four pixels, clipped to RGB, comes the chroma of
their mean colour. A frame that the grid leaves as it is comes back as it was, save for colours that RGB does not have.
`native.render_yuv` does the same fast.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.media.images import resized_square

from . import bilateral

_BT601 = (0.299, 0.114)
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: _BT601, 6: _BT601, 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Luma weights of red and blue by the number of the matrix in ITU-T H.273: BT.709, FCC, BT.601 twice, SMPTE 240M,
BT.2020."""

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Y (H, W), Cb and Cr ((H + 1) // 2, (W + 1) // 2), uint8. Their rows may lie apart."""


@dataclass(frozen=True)
class YuvImage:
    """A picture in Y'CbCr 4:2:0: its planes, the number of its matrix (see WEIGHTS), and whether levels go from 0 to
    255 (full range) or luma from 16 to 235. HueglassError if the planes are not of one picture."""

    planes: Planes
    matrix: int = 1
    full_range: bool = False

    def __post_init__(self) -> None:
        luma, *chroma = self.planes
        if luma.dtype != np.uint8 or luma.ndim != 2 or luma.size == 0:
            raise HueglassError(f"luma is {luma.dtype} {luma.shape}, expected uint8 (height, width)")
        half = tuple((n + 1) // 2 for n in luma.shape)
        for plane in chroma:
            if plane.dtype != np.uint8 or plane.shape != half:
                raise HueglassError(f"chroma is {plane.dtype} {plane.shape}, expected uint8 {half}")
        if self.matrix not in WEIGHTS:
            raise HueglassError(f"matrix {self.matrix} of H.273, expected one of {', '.join(map(str, WEIGHTS))}")

    @property
    def weights(self) -> tuple[float, float]:
        """Luma weights of red and blue."""
        return WEIGHTS[self.matrix]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.planes[0].shape[0], self.planes[0].shape[1]


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
    planes = (_bytes(levels), _bytes(128 + chroma * cb), _bytes(128 + chroma * cr))
    return YuvImage(planes, matrix, full_range)


def render(grid: np.ndarray, image: YuvImage) -> YuvImage:
    """The picture through the grid (gd, gh, gw, 12)."""
    return from_rgb(bilateral.slice_colours(grid, to_rgb(image)), image.matrix, image.full_range)


def render_to_rgb(grid: np.ndarray, image: YuvImage) -> np.ndarray:
    """The picture through the grid (gd, gh, gw, 12), as (H, W, 3) uint8 sRGB."""
    return _bytes(255 * bilateral.slice_colours(grid, to_rgb(image)))


def thumbnail(image: YuvImage, size: int) -> np.ndarray:
    """The small copy (size, size, 3) uint8 sRGB that `resized_square` makes of the picture in RGB, nearly."""
    luma, cb, cr = (resized_square(plane, size) for plane in image.planes)
    return cv2.transform(cv2.merge((luma, cb, cr)), 255 * _to_rgb_matrix(image))


def _colours(planes: Planes, image: YuvImage) -> np.ndarray:
    """sRGB (H, W, 3) in [0, 1] of three planes of one size, with the matrix and range of `image`."""
    colours = cv2.transform(cv2.merge(planes).astype(np.float32), _to_rgb_matrix(image))
    return np.clip(colours, 0, 1, out=colours)


def _to_rgb_matrix(image: YuvImage) -> np.ndarray:
    """(3, 4): what R, G and B in [0, 1] take of Y, Cb, Cr in [0, 255] and of 1."""
    kr, kb = image.weights
    black, luma_range, chroma_range = (0, 255, 255) if image.full_range else (16, 219, 224)
    red, blue = 2 - 2 * kr, 2 - 2 * kb
    matrix = np.array([[1, 0, red], [1, -kb * blue / (1 - kr - kb), -kr * red / (1 - kr - kb)], [1, blue, 0]])
    matrix = matrix / (luma_range, chroma_range, chroma_range)
    return np.c_[matrix, -matrix @ (black, 128, 128)]


def _bytes(levels: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(levels, 0, 255) + 0.5).astype(np.uint8)
