"""Frames for the CUDA renderer, and that they go through it in planes."""

from typing import Any

import numpy as np

from hueglass.infer.frame import YuvImage
from hueglass.infer.grid.cuda import kernels as cuda

SHARE = 0.001
"""The share of values that may differ at all, by one level: only where a sum falls on a rounding boundary."""


def noisy(height: int, width: int, matrix: int = 1, full: bool = False) -> YuvImage:
    rng = np.random.default_rng(height * 1000 + width)
    half = ((height + 1) // 2, (width + 1) // 2)
    luma, cb, cr = (rng.integers(0, 256, size, np.uint8) for size in ((height, width), half, half))
    return YuvImage((luma, cb, cr), matrix, full)


def coding(image: YuvImage) -> cuda.Coding:
    return cuda.Coding(*image.weights, image.full_range)


def rendered_planes(cupy: Any, grid: np.ndarray, image: YuvImage, **arguments: Any) -> tuple[np.ndarray, ...]:
    planes = tuple(cupy.asarray(plane) for plane in image.planes)
    result = cuda.render_yuv420(cupy.asarray(grid), planes, coding(image), **arguments)
    return tuple(cupy.asnumpy(plane) for plane in result)
