"""Frame: one picture of a video."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from hueglass.infer.grid.yuv import YuvImage

AnyImage = TypeVar("AnyImage", bound=np.ndarray | YuvImage, covariant=True)


@dataclass(frozen=True)
class Frame(Generic[AnyImage]):
    """One picture: `image` HxWx3 uint8 RGB in sRGB or a YuvImage, `time` in seconds from the start, `index` from 0.

    `duration` is how long it stays, in seconds; 0 if that is not known.
    """

    image: AnyImage
    time: float
    index: int
    duration: float = 0.0
