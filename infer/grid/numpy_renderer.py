"""The renderer in numpy, to be read: what the others are held against, and what serves where none was built."""

from typing import Any

import numpy as np

from hueglass.infer.frame import YuvImage, check_rgb
from hueglass.infer.thumbnail import thumbnail

from . import bilateral, yuv


class NumpyRenderer:
    """The reference: right, and slow."""

    name = "numpy"
    thumbnail = staticmethod(thumbnail)

    def render(self, grid: np.ndarray, image: Any) -> Any:
        grid = bilateral.check_coefficients(grid)
        if isinstance(image, YuvImage):
            return yuv.render(grid, image)
        check_rgb(image, "the frame")
        return bilateral.render(grid, image)

    def to_rgb(self, grid: np.ndarray, image: Any) -> np.ndarray:
        if isinstance(image, YuvImage):
            return yuv.render_to_rgb(bilateral.check_coefficients(grid), image)
        rendered: np.ndarray = self.render(grid, image)
        return rendered
