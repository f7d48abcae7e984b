"""What is filmed, as plain data: a frame, and a picture in Y'CbCr."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from .errors import HueglassError

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

    @property
    def rgb_matrix(self) -> np.ndarray:
        """(3, 4): what R, G and B in [0, 1] take of Y, Cb, Cr in [0, 255] and of 1."""
        kr, kb = self.weights
        black, luma_range, chroma_range = (0, 255, 255) if self.full_range else (16, 219, 224)
        red, blue = 2 - 2 * kr, 2 - 2 * kb
        matrix = np.array([[1, 0, red], [1, -kb * blue / (1 - kr - kb), -kr * red / (1 - kr - kb)], [1, blue, 0]])
        matrix = matrix / (luma_range, chroma_range, chroma_range)
        with_offset: np.ndarray = np.c_[matrix, -matrix @ (black, 128, 128)]
        return with_offset


AnyImage = TypeVar("AnyImage", bound=np.ndarray | YuvImage, covariant=True)


@dataclass(frozen=True)
class Frame(Generic[AnyImage]):
    """One picture: `image` (H, W, 3) uint8 RGB in sRGB or a YuvImage, `time` in seconds from the start, `index` from 0.

    `duration` is how long it stays, in seconds; 0 if that is not known. The picture is as it is stored; `orientation`
    is what turns it upright, 1 to 8 as in EXIF, 1 where it is upright already (see `orientation.upright`).
    """

    image: AnyImage
    time: float
    index: int
    duration: float = 0.0
    orientation: int = 1


AnyFrame = Frame[Any]
"""A frame of whatever kind of picture."""


def check_rgb(image: np.ndarray, name: str) -> None:
    """HueglassError unless `image` is (H, W, 3) uint8; `name` is what it is called there."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise HueglassError(f"{name} is {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
