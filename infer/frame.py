"""Frame: one picture of a video."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture: `image` HxWx3 uint8 RGB in sRGB, `time` in seconds from the start, `index` from 0.

    `duration` is how long it stays, in seconds; 0 if that is not known.
    """

    image: np.ndarray
    time: float
    index: int
    duration: float = 0.0
