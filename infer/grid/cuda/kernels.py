"""The CUDA renderer: `bilateral.render` and `yuv.render` for frames that are on the device and stay there.

The kernels are in render.cu and compiled by NVRTC, for the device at hand, when they are first used. All of CUDA is
reached through CuPy: one well-kept library has arrays, streams, events, graphs, and NVRTC with a cache on disk of what
it compiled; and its arrays are exchanged with ONNX Runtime, TensorRT and torch, by pointers or DLPack, without a copy.

Arrays are CuPy's, on the current device. Their rows and frames may lie apart, their pixels not. Batches have one more
axis in front, of frames, everywhere: a grid for each, (N, gd, gh, gw, 12), and say (N, H, W, 3). That grids are finite
is not checked, because that would wait for the device; broken ones give wrong colours and nothing worse.

Work is queued on `stream`, or on CuPy's current one, and done when that is. The first call compiles, and a call without
`out` allocates: neither belongs into the capture of a graph.

A `Part` of a frame can be rendered by itself; of Y'CbCr it takes whole pairs of rows, which share their chroma.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage, check_rgb
from hueglass.infer.grid import bilateral
from hueglass.infer.network.gpu import OutOfDeviceMemory, cupy_with_gpu

from .layout import VERTEX_BYTES, DeviceArray, Part, check_grid, grid_of, layout_of, layout_of_result

Stream = Any
"""A cupy.cuda.Stream."""
Planes = tuple[DeviceArray, DeviceArray, DeviceArray]
"""Y' (H, W), Cb and Cr (H / 2, W / 2) uint8; halves of odd sizes are rounded up."""
WHOLE = Part()
THREADS = 128
"""Of a block. Each takes four pixels at a time, so that a row of 1920 keeps them busy for 3.75 rounds."""
LEAST_ROWS = 16
"""`render_host` makes no smaller parts of a frame: where not even these fit, the device is of no use."""
SOURCE = Path(__file__).with_name("render.cu")


@dataclass(frozen=True)
class Coding:
    """Of Y'CbCr: the luma weights of red and blue (`YuvImage.weights`), and whether levels go from 0 to 255."""

    kr: float
    kb: float
    full_range: bool

    def __post_init__(self) -> None:
        if not (self.kr > 0.05 and self.kb > 0.05 and self.kr + self.kb < 0.95):
            raise HueglassError(f"kr {self.kr} and kb {self.kb} are no luma weights, expected those of a YuvImage")


def available() -> bool:
    """Whether CuPy is installed and finds a device."""
    try:
        cupy_with_gpu()
    except HueglassError:
        return False
    return True


def is_on_device(image: object) -> bool:
    """Whether it is a CuPy array."""
    return isinstance(image, cupy_with_gpu().ndarray)


def on_device(array: np.ndarray) -> DeviceArray:
    """A copy of an array on the device."""
    return cupy_with_gpu().asarray(array)


def on_host(array: DeviceArray) -> np.ndarray:
    """A copy of an array of the device."""
    copy: np.ndarray = cupy_with_gpu().asnumpy(array)
    return copy


def render(
    grid: DeviceArray,
    image: DeviceArray,
    out: DeviceArray | None = None,
    stream: Stream | None = None,
    part: Part = WHOLE,
) -> DeviceArray:
    """Frames (H, W, 3) uint8 sRGB sliced through grids (gd, gh, gw, 12) float32, as uint8, in `out` if given.

    `out` may be `image` itself. Agrees with `bilateral.render` to one level. HueglassError where an argument does not
    fit or CUDA cannot be used; CuPy's OutOfMemoryError where the device has no memory for the result.
    """
    cupy = cupy_with_gpu()
    with _queued(cupy, stream):
        batch = check_grid(cupy, grid, 1, bilateral.MAX_CELLS)
        source = layout_of(cupy, image, "the frame", (*batch, "height", "width"), 3)
        out, target = layout_of_result(cupy, out, image, source, "the frame", 3)
        rows, width = image.shape[-3:-1]
        size = part.size(rows, width)
        _launch(cupy, "render_rgb", grid, (rows, 1), source.plane(), target.plane(), size)
    return out


def render_yuv420(
    grid: DeviceArray,
    planes: Planes,
    coding: Coding,
    out: Planes | None = None,
    stream: Stream | None = None,
    part: Part = WHOLE,
) -> Planes:
    """Frames in planes, as of a YuvImage, sliced through grids (gd, gh, gw, 12) float32, into new planes or `out`.

    `out` may be the planes themselves. Agrees with `yuv.render` to one level. Errors as `render`.
    """
    cupy = cupy_with_gpu()
    names = ("luma", "chroma", "chroma")
    with _queued(cupy, stream):
        batch = check_grid(cupy, grid, 2, bilateral.MAX_CELLS)
        sources = [layout_of(cupy, planes[0], "luma", (*batch, "height", "width"))]
        rows, width = planes[0].shape[-2:]
        pairs, half = (rows + 1) // 2, (width + 1) // 2
        sources += [layout_of(cupy, plane, "chroma", (*batch, pairs, half)) for plane in planes[1:]]
        about = zip(out or (None, None, None), planes, sources, names, strict=True)
        results, targets = zip(*(layout_of_result(cupy, *arguments) for arguments in about), strict=True)
        numbers = (np.float32(coding.kr), np.float32(coding.kb), np.int32(coding.full_range))
        addresses = [layout.plane() for layout in (*sources, *targets)]
        size = part.size(rows, width, in_pairs=True)
        _launch(cupy, "render_yuv", grid, (pairs, 2), *addresses, size, *numbers)
    return results[0], results[1], results[2]


def thumbnail(image: DeviceArray, size: int, stream: Stream | None = None) -> DeviceArray:
    """Frames (H, W, 3) uint8, or a batch of them, averaged to (size, size, 3) uint8: what networks look at.

    The mean over each pixel's area, from which `resize.resized_square` differs by half a level on average. Errors as
    `render`.
    """
    cupy = cupy_with_gpu()
    with _queued(cupy, stream):
        batch = image.shape[:-3]
        source = layout_of(cupy, image, "the frame", (*batch, "height", "width"), 3)
        small = cupy.empty((*batch, size, size, 3), np.uint8)
        target = layout_of(cupy, small, "the thumbnail", (*batch, size, size), 3)
        height, width = image.shape[-3:-1]
        sizes = (np.int32(width), np.int32(height), np.int32(size))
        blocks = (size, batch[0] if batch else 1)
        _kernel(cupy, "thumbnail")(blocks, (THREADS,), (source.plane(), target.plane(), *sizes), shared_mem=0)
    return small


def render_host(grid: np.ndarray, image: np.ndarray | YuvImage) -> np.ndarray | YuvImage:
    """A picture of numpy through the grid (gd, gh, gw, 12) by way of the device, as a new picture of its kind.

    It is (H, W, 3) uint8 sRGB or a YuvImage. Where the device's memory does not hold it, it is rendered in parts of
    half as many rows, and half of that; OutOfDeviceMemory where not even LEAST_ROWS fit. HueglassError as `render`.
    """
    cupy = cupy_with_gpu()
    grid = bilateral.check_coefficients(grid)
    if not isinstance(image, YuvImage):
        check_rgb(image, "the frame")
    out = [np.empty(plane.shape, np.uint8) for plane in _planes_of(image)]
    height = image.shape[0]
    top, rows = 0, height
    while top < height:
        bottom = min(top + rows, height)
        if _render_part(cupy, grid, image, out, slice(top, bottom)):
            top = bottom
            continue
        cupy.get_default_memory_pool().free_all_blocks()
        if rows <= LEAST_ROWS:
            raise OutOfDeviceMemory(f"the CUDA device has no memory for {LEAST_ROWS} rows of a frame")
        rows = max(LEAST_ROWS, (rows + 3) // 4 * 2)  # half as many, in whole pairs
    return replace(image, planes=(out[0], out[1], out[2])) if isinstance(image, YuvImage) else out[0]


def _render_part(
    cupy: ModuleType, grid: np.ndarray, image: np.ndarray | YuvImage, out: list[np.ndarray], rows: slice
) -> bool:
    """Some rows, from an even one on, in place on the device. False if its memory does not hold them."""
    part = Part(rows.start, image.shape[0])
    spans = [rows] + [slice(rows.start // 2, (rows.stop + 1) // 2)] * (len(out) - 1)
    with _queued(cupy, None):
        try:
            coefficients = cupy.asarray(grid)
            # Made contiguous first: CuPy keeps the strides of some arrays, such as transposed ones.
            pieces = [np.ascontiguousarray(plane[span]) for plane, span in zip(_planes_of(image), spans, strict=True)]
            parts = [cupy.asarray(piece) for piece in pieces]
            if isinstance(image, YuvImage):
                planes = (parts[0], parts[1], parts[2])
                render_yuv420(coefficients, planes, Coding(*image.weights, image.full_range), planes, part=part)
            else:
                render(coefficients, parts[0], parts[0], part=part)
        except cupy.cuda.memory.OutOfMemoryError:
            return False  # what was allocated is free once this function, whose variables the error holds, is left
        for rendered, whole, span in zip(parts, out, spans, strict=True):
            cupy.asnumpy(rendered, out=whole[span])
    return True


def _planes_of(image: np.ndarray | YuvImage) -> tuple[np.ndarray, ...]:
    return image.planes if isinstance(image, YuvImage) else (image,)


@contextmanager
def _queued(cupy: ModuleType, stream: Stream | None) -> Iterator[None]:
    """Queues on `stream`, and turns errors of CUDA and its compiler into one line."""
    try:
        with stream if stream is not None else nullcontext():
            yield
    except (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HueglassError(f"CUDA: {reason}") from None


def _launch(
    cupy: ModuleType, name: str, grid: DeviceArray, blocks: tuple[int, int], *arguments: np.ndarray | np.generic
) -> None:
    """`blocks` are how many for each frame, and how many tables of the grid each of them makes; `arguments` are the
    kernel's, after the grid."""
    rows, tables = blocks
    gd, _, gw = grid.shape[-4:-1]
    frames = grid.shape[0] if grid.ndim == 5 else 1
    shared = tables * gd * gw * VERTEX_BYTES
    _kernel(cupy, name)((rows, frames), (THREADS,), (grid_of(grid), *arguments), shared_mem=shared)


@functools.cache
def _kernel(cupy: ModuleType, name: str) -> Any:
    """A cupy.RawKernel, which compiles itself for each device that it meets."""
    module = cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=("--std=c++17",))
    return module.get_function(name)
