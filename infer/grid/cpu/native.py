"""The face of the compiled renderer: `render` does what `bilateral.render` does, fast and on all cores.

The extension is optional; where `available()` is False nothing else here may be called. `renderer` chooses.
"""

import importlib
import os
from dataclasses import replace
from types import ModuleType

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage, check_rgb
from hueglass.infer.grid import bilateral

try:
    _render: ModuleType | None = importlib.import_module("._render", __package__)
except ImportError:
    _render = None


def available() -> bool:
    """Whether the compiled renderer is here."""
    return _render is not None


def paths() -> tuple[str, ...]:
    """The ways that the compiled renderer can take on this machine, the one that it takes first."""
    return tuple(_render.PATHS) if _render is not None else ()


def render(grid: np.ndarray, image: np.ndarray, out: np.ndarray | None = None, threads: int = 0) -> np.ndarray:
    """The frame (H, W, 3) uint8 sRGB sliced through the grid (gd, gh, gw, 12), as uint8, in `out` if given.

    `out` may be `image` itself, which then changes in place. `threads` 0 means one for each core. Agrees with
    `bilateral.render` to one level. HueglassError where an argument does not fit.
    """
    grid = bilateral.check_coefficients(grid)
    check_rgb(image, "the frame")
    threads = _checked_threads(threads)
    if out is None:
        out = np.empty(image.shape, np.uint8)
    else:
        _check_out(out, image)
    source = image if _in_rows(image) else np.ascontiguousarray(image)
    target = out if _writes_directly(out, source) else np.empty(image.shape, np.uint8)
    _compiled().render(grid, source, target, threads)
    if target is not out:
        out[...] = target
    return out


def render_yuv(grid: np.ndarray, image: YuvImage, threads: int = 0) -> YuvImage:
    """A picture in Y'CbCr sliced through the grid (gd, gh, gw, 12), into new planes.

    Agrees with `yuv.render` to one level. HueglassError where an argument does not fit.
    """
    grid = bilateral.check_coefficients(grid)
    threads = _checked_threads(threads)
    sources = _planes_in_rows(image)
    luma, cb, cr = out = [np.empty(plane.shape, np.uint8) for plane in sources]
    _compiled().render_yuv(grid, sources, out, *image.weights, image.full_range, threads)
    return replace(image, planes=(luma, cb, cr))


def render_to_rgb(grid: np.ndarray, image: YuvImage, threads: int = 0) -> np.ndarray:
    """A picture in Y'CbCr sliced through the grid (gd, gh, gw, 12), as (H, W, 3) uint8 sRGB: for a screen.

    Agrees with `yuv.render_to_rgb` to one level. HueglassError where an argument does not fit.
    """
    grid = bilateral.check_coefficients(grid)
    threads = _checked_threads(threads)
    out = np.empty((*image.shape, 3), np.uint8)
    _compiled().render_yuv_to_rgb(grid, _planes_in_rows(image), out, *image.weights, image.full_range, threads)
    return out


def _compiled() -> ModuleType:
    if _render is None:
        raise HueglassError("the compiled renderer was not built, expected a C++ compiler at installation")
    return _render


def _planes_in_rows(image: YuvImage) -> list[np.ndarray]:
    return [plane if _in_rows(plane) else np.ascontiguousarray(plane) for plane in image.planes]


def _checked_threads(threads: int) -> int:
    if threads < 0:
        raise HueglassError(f"threads is {threads}, expected 0 (all cores) or more")
    return min(threads or cores(), 64)


def _in_rows(array: np.ndarray) -> bool:
    """Whether every row is contiguous and lies behind the one before: what the extension can read and write."""
    height, width, *channels = array.shape
    pixel = channels[0] if channels else 1
    # The stride of an axis of one element says nothing.
    dense = (not channels or array.strides[2] == 1) and (width == 1 or array.strides[1] == pixel)
    return dense and (height == 1 or array.strides[0] >= width * pixel)


def _check_out(out: np.ndarray, image: np.ndarray) -> None:
    check_rgb(out, "out")
    if out.shape != image.shape:
        raise HueglassError(f"out is {out.shape}, expected the frame's {image.shape}")
    if not out.flags.writeable:
        raise HueglassError("out is read-only, expected an array to write into")


def _writes_directly(out: np.ndarray, source: np.ndarray) -> bool:
    """Whether rows can go straight into `out`: it is the frame itself, or clear of it."""
    same = out.ctypes.data == source.ctypes.data and out.strides == source.strides
    return _in_rows(out) and (same or not np.may_share_memory(out, source))


def cores() -> int:
    """The cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
