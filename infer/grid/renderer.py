"""What slices frames through grids, chosen once at the start and named.

One renderer serves frames in RGB, in Y'CbCr and, on a GPU, frames that are there already. Its three kinds agree to one
level (`tests/infer/grid/test_bilateral_agree.py`).
"""

import functools
import warnings
from typing import Any, Protocol

import numpy as np

from hueglass.infer.frame import YuvImage
from hueglass.infer.network.gpu import OutOfDeviceMemory
from hueglass.infer.thumbnail import thumbnail

from . import bilateral
from .cpu import native
from .cuda import kernels

Image = Any
"""(H, W, 3) uint8 sRGB, a YuvImage or, for the CUDA renderer, a CuPy array (H, W, 3) uint8 sRGB."""


class Renderer(Protocol):
    """Slices pictures through coefficients (gd, gh, gw, 12) float32, see `bilateral`. `name` is for people.

    HueglassError where an argument does not fit.
    """

    @property
    def name(self) -> str: ...

    def render(self, grid: np.ndarray, image: Image) -> Image:
        """The picture through the grid, as a new picture of its kind."""

    def to_rgb(self, grid: np.ndarray, image: Image) -> np.ndarray:
        """The picture through the grid as (H, W, 3) uint8 sRGB, whatever it was: for a screen."""

    def thumbnail(self, image: Image, size: int, orientation: int = 1) -> np.ndarray:
        """The small upright copy (size, size, 3) uint8 sRGB that networks look at."""


class NativeRenderer:
    """The compiled one, on `threads` cores; 0: all of them."""

    thumbnail = staticmethod(thumbnail)

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads

    @property
    def name(self) -> str:
        return f"compiled {native.paths()[0]}"

    def render(self, grid: np.ndarray, image: Image) -> Image:
        if isinstance(image, YuvImage):
            return native.render_yuv(grid, image, self._threads)
        return native.render(grid, image, threads=self._threads)

    def to_rgb(self, grid: np.ndarray, image: Image) -> np.ndarray:
        if isinstance(image, YuvImage):
            return native.render_to_rgb(grid, image, self._threads)
        return native.render(grid, image, threads=self._threads)


class CudaRenderer:
    """The one on a GPU: frames of the host go there and come back, frames that are there stay."""

    name = "CUDA"

    def render(self, grid: np.ndarray, image: Image) -> Image:
        if kernels.is_on_device(image):
            return kernels.render(kernels.on_device(bilateral.check_coefficients(grid)), image)
        try:
            return kernels.render_host(grid, image)
        except OutOfDeviceMemory as error:
            warnings.warn(f"{error}: rendering on the CPU", RuntimeWarning, stacklevel=2)
            return host_renderer().render(grid, image)

    def to_rgb(self, grid: np.ndarray, image: Image) -> np.ndarray:
        out = self.render(grid, image)
        if isinstance(out, YuvImage):
            return host_renderer().to_rgb(bilateral.identity_grid(grid.shape), out)
        return kernels.on_host(out) if kernels.is_on_device(out) else out

    def thumbnail(self, image: Image, size: int, orientation: int = 1) -> np.ndarray:
        if kernels.is_on_device(image):
            # The mean over each pixel's area, from which that of the host differs by half a level on average.
            image = kernels.on_host(kernels.thumbnail(image, size))
        return thumbnail(image, size, orientation)


def choose_renderer(on_gpu: bool = False) -> Renderer:
    """The best that is here: on the GPU if frames are to be rendered there and CuPy can, else on the host."""
    return CudaRenderer() if on_gpu and kernels.available() else host_renderer()


def host_renderer(threads: int = 0) -> Renderer:
    """The compiled renderer, or the reference, with a warning, where it was not built."""
    if native.available():
        return NativeRenderer(threads)
    from .numpy_renderer import NumpyRenderer

    _warn_missing()
    return NumpyRenderer()


@functools.cache
def _warn_missing() -> None:
    warnings.warn(
        "the compiled renderer is missing (no C++ compiler was found when hueglass was installed); "
        "rendering goes on through numpy, which is many times slower. To fix it, install a C++ compiler "
        "(g++, clang, Xcode or Visual Studio Build Tools) and install hueglass again with "
        "pip's --force-reinstall --no-cache-dir",
        RuntimeWarning,
        stacklevel=3,
    )
