"""The CUDA renderer: `bilateral.render` and `yuv.render` for frames that are on the device and stay there.

The kernels are in render.cu and compiled by NVRTC, for the device at hand, when they are first used. All of CUDA is
reached through CuPy: one well-kept library has arrays, streams, events, graphs, and NVRTC with a cache on disk of what
it compiled; and its arrays are exchanged with ONNX Runtime, TensorRT and torch, by pointers or DLPack, without a copy.

Arrays are CuPy's, on the current device. Their rows and frames may lie apart, their pixels not. Batches have one more
axis in front, of frames, everywhere: a grid for each, (N, gd, gh, gw, 12), and say (N, H, W, 3). That grids are finite
is not checked, because that would wait for the device; broken ones give wrong colours and nothing worse.

Work is queued on `stream`, or on CuPy's current one, and done when that is. The first call compiles, and a call without
`out` allocates: neither belongs into the capture of a graph.

A part of a frame can be rendered by itself: the arrays hold its rows alone, `first_row` is the first of them and
`height` the number of rows of the whole frame. Left out, the arrays hold all of it. Of Y'CbCr it takes whole pairs of
rows, which share their chroma.
"""

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage, check_rgb
from hueglass.infer.grid import bilateral
from hueglass.infer.grid.cpu import native
from hueglass.infer.network.gpu import cupy_with_gpu

DeviceArray = Any
"""A cupy.ndarray. CuPy is optional and imported where it is used, so that its own types are not known here."""
Stream = Any
"""A cupy.cuda.Stream."""

THREADS = 128
"""Of a block. Each takes four pixels at a time, so that a row of 1920 keeps them busy for 3.75 rounds."""
SHARED_BYTES = 48 * 1024
"""Shared memory that every device gives to a block without being asked for more."""
VERTEX_BYTES = 12 * 4
MAX_FRAMES = 65535
"""Blocks along the second axis of a launch, a limit of CUDA."""
LEAST_ROWS = 16
"""`render_host` makes no smaller parts of a frame: where not even these fit, the device is of no use."""
SOURCE = Path(__file__).with_name("render.cu")

# The structures of render.cu: a kernel takes numpy arrays of one element by value.
_GRID = np.dtype([("numbers", np.uint64), ("gd", np.int32), ("gh", np.int32), ("gw", np.int32)], align=True)
_PLANE = np.dtype([("at", np.uint64), ("pitch", np.int64), ("frame", np.int64)], align=True)
_SIZE = np.dtype([("width", np.int32), ("rows", np.int32), ("first_row", np.int32), ("height", np.int32)], align=True)


def available() -> bool:
    """Whether CuPy is installed and finds a device."""
    try:
        cupy_with_gpu()
    except HueglassError:
        return False
    return True


def render(
    grid: DeviceArray,
    image: DeviceArray,
    out: DeviceArray | None = None,
    bgr: bool = False,
    stream: Stream | None = None,
    first_row: int = 0,
    height: int = 0,
) -> DeviceArray:
    """Frames (H, W, 3) uint8 sRGB sliced through grids (gd, gh, gw, 12) float32, as uint8, in `out` if given.

    `out` may be `image` itself; `bgr` says that channels come in OpenCV's order. Agrees with `bilateral.render` to one
    level. HueglassError where an argument does not fit or CUDA cannot be used; CuPy's OutOfMemoryError where the device
    has no memory for the result.
    """
    cupy = cupy_with_gpu()
    with _queued(cupy, stream):
        batch = _check_grid(cupy, grid, tables=1)
        source = _layout(cupy, image, "the frame", (*batch, "height", "width"), 3)
        out, target = _result(cupy, out, image, source, "the frame", 3)
        rows, width = image.shape[-3:-1]
        size = _size(rows, width, first_row, height)
        _launch(cupy, "render_rgb", grid, rows, 1, source.plane(), target.plane(), size, np.int32(bgr))
    return out


def render_nv12(
    grid: DeviceArray,
    luma: DeviceArray,
    chroma: DeviceArray,
    kr: float,
    kb: float,
    full_range: bool,
    out: tuple[DeviceArray, DeviceArray] | None = None,
    stream: Stream | None = None,
    first_row: int = 0,
    height: int = 0,
) -> tuple[DeviceArray, DeviceArray]:
    """Frames in NV12 sliced through grids (gd, gh, gw, 12) float32, into new planes or `out`.

    `luma` is (H, W), `chroma` (H / 2, W / 2, 2) with Cb before Cr, both uint8; halves of odd sizes are rounded up. `kr`
    and `kb` are the luma weights of red and blue (`YuvImage.weights`), `full_range` says that levels go from 0 to 255.
    `out` may be the planes themselves. Agrees with `yuv.render` to one level. Errors as `render`.
    """
    matrix, part = (kr, kb, full_range), (first_row, height)
    results = _render_yuv(grid, (luma, chroma), out or (None, None), matrix, stream, part)
    return results[0], results[1]


def render_yuv420(
    grid: DeviceArray,
    planes: tuple[DeviceArray, DeviceArray, DeviceArray],
    kr: float,
    kb: float,
    full_range: bool,
    out: tuple[DeviceArray, DeviceArray, DeviceArray] | None = None,
    stream: Stream | None = None,
    first_row: int = 0,
    height: int = 0,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """`render_nv12` for Y (H, W), Cb and Cr (H / 2, W / 2) in planes of their own, as a YuvImage has them."""
    matrix, part = (kr, kb, full_range), (first_row, height)
    results = _render_yuv(grid, planes, out or (None, None, None), matrix, stream, part)
    return results[0], results[1], results[2]


def _render_yuv(
    grid: DeviceArray,
    planes: Sequence[DeviceArray],
    out: Sequence[DeviceArray | None],
    matrix: tuple[float, float, bool],
    stream: Stream | None,
    part: tuple[int, int],
) -> list[DeviceArray]:
    """`planes` are luma and chroma (NV12) or luma, Cb and Cr."""
    cupy = cupy_with_gpu()
    kr, kb, full_range = matrix
    if not (kr > 0.05 and kb > 0.05 and kr + kb < 0.95):
        raise HueglassError(f"kr {kr} and kb {kb} are no luma weights, expected those of a YuvImage")
    samples = 2 if len(planes) == 2 else 1
    with _queued(cupy, stream):
        batch = _check_grid(cupy, grid, tables=2)
        sources = [_layout(cupy, planes[0], "luma", (*batch, "height", "width"), 1)]
        rows, width = planes[0].shape[-2:]
        pairs = (rows + 1) // 2
        half = (*batch, pairs, (width + 1) // 2)
        sources += [_layout(cupy, plane, "chroma", half, samples) for plane in planes[1:]]
        about = zip(out, planes, sources, ("luma", "chroma", "chroma"), (1, samples, samples), strict=False)
        results, targets = zip(*(_result(cupy, *arguments) for arguments in about), strict=True)
        size = _size(rows, width, *part, in_pairs=True)
        numbers = (np.int32(samples), size, np.float32(kr), np.float32(kb), np.int32(full_range))
        _launch(cupy, "render_yuv", grid, pairs, 2, *_three(sources), *_three(targets), *numbers)
    return list(results)


def thumbnail(image: DeviceArray, size: int, stream: Stream | None = None) -> DeviceArray:
    """Frames (H, W, 3) uint8, or a batch of them, averaged to (size, size, 3) uint8: what networks look at.

    The mean over each pixel's area, from which `images.resized_square` differs by half a level on average. Errors as
    `render`.
    """
    cupy = cupy_with_gpu()
    with _queued(cupy, stream):
        batch = image.shape[:-3]
        source = _layout(cupy, image, "the frame", (*batch, "height", "width"), 3)
        small = cupy.empty((*batch, size, size, 3), np.uint8)
        target = _layout(cupy, small, "the thumbnail", (*batch, size, size), 3)
        height, width = image.shape[-3:-1]
        sizes = (np.int32(width), np.int32(height), np.int32(size))
        blocks = (size, batch[0] if batch else 1)
        _kernel(cupy, "thumbnail")(blocks, (THREADS,), (source.plane(), target.plane(), *sizes), shared_mem=0)
    return small


def is_on_device(image: object) -> bool:
    """Whether it is a CuPy array."""
    return isinstance(image, cupy_with_gpu().ndarray)


def on_device(array: np.ndarray) -> DeviceArray:
    """A copy of an array on the device."""
    return cupy_with_gpu().asarray(array)


def on_host(array: DeviceArray) -> np.ndarray:
    """A copy of an array of the device."""
    return cupy_with_gpu().asnumpy(array)


def render_host(grid: np.ndarray, image: np.ndarray | YuvImage, bgr: bool = False) -> np.ndarray | YuvImage:
    """A picture of numpy through the grid (gd, gh, gw, 12) by way of the device, as a new picture of its kind.

    It is (H, W, 3) uint8 sRGB, with `bgr` in OpenCV's order, or a YuvImage. Where the device's memory does not hold it,
    it is rendered in parts of half as many rows, and half of that; where not even LEAST_ROWS fit, on the CPU, with a
    warning. HueglassError as `render`.
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
        if _render_part(cupy, grid, image, out, top, bottom, bgr):
            top = bottom
            continue
        cupy.get_default_memory_pool().free_all_blocks()
        if rows <= LEAST_ROWS:
            return _render_on_cpu(grid, image, bgr)
        rows = max(LEAST_ROWS, (rows + 3) // 4 * 2)  # half as many, in whole pairs
    return replace(image, planes=(out[0], out[1], out[2])) if isinstance(image, YuvImage) else out[0]


def _render_part(
    cupy: ModuleType,
    grid: np.ndarray,
    image: np.ndarray | YuvImage,
    out: list[np.ndarray],
    top: int,
    bottom: int,
    bgr: bool,
) -> bool:
    """Rows from `top` (even) up to `bottom`, in place on the device. False if its memory does not hold them."""
    part = (top, image.shape[0])
    spans = [slice(top, bottom)] + [slice(top // 2, (bottom + 1) // 2)] * (len(out) - 1)
    with _queued(cupy, None):
        try:
            coefficients = cupy.asarray(grid)
            # Made contiguous first: CuPy keeps the strides of some arrays, such as transposed ones.
            pieces = [np.ascontiguousarray(plane[span]) for plane, span in zip(_planes_of(image), spans, strict=True)]
            parts = [cupy.asarray(piece) for piece in pieces]
            if isinstance(image, YuvImage):
                _render_yuv(coefficients, parts, parts, (*image.weights, image.full_range), None, part)
            else:
                render(coefficients, parts[0], parts[0], bgr, None, *part)
        except cupy.cuda.memory.OutOfMemoryError:
            return False  # what was allocated is free once this function, whose variables the error holds, is left
        for rendered, whole, span in zip(parts, out, spans, strict=True):
            cupy.asnumpy(rendered, out=whole[span])
    return True


def _planes_of(image: np.ndarray | YuvImage) -> tuple[np.ndarray, ...]:
    return image.planes if isinstance(image, YuvImage) else (image,)


def _render_on_cpu(grid: np.ndarray, image: np.ndarray | YuvImage, bgr: bool) -> np.ndarray | YuvImage:
    warnings.warn(
        f"the CUDA device has no memory for {LEAST_ROWS} rows of a frame: rendering on the CPU",
        RuntimeWarning,
        stacklevel=3,
    )
    return native.render_yuv(grid, image) if isinstance(image, YuvImage) else native.render(grid, image)


# ------------------------------------------------------------------------------- checked at the door


def _check_grid(cupy: ModuleType, grid: DeviceArray, tables: int) -> tuple[int, ...]:
    """(frames,) of a batch, or (). `tables` is how many of them, a row of pixels each, a block makes of the grid."""
    _check_array(cupy, grid, "the grid")
    *batch, gd, gh, gw, numbers = grid.shape if grid.ndim in (4, 5) else (0, 0, 0, 0)
    most = bilateral.MAX_CELLS
    if grid.dtype != np.float32 or numbers != 12 or not all(1 <= n <= most for n in (gd, gh, gw)) or 0 in batch:
        wanted = f"float32 (depth, height, width, 12), each up to {most}, or a batch of these"
        raise HueglassError(f"the grid is {grid.dtype} {grid.shape}, expected {wanted}")
    if not grid.flags.c_contiguous:
        raise HueglassError("the grid is not contiguous, expected one made so by cupy.ascontiguousarray")
    if batch and batch[0] > MAX_FRAMES:
        raise HueglassError(f"the grid is for {batch[0]} frames, expected at most {MAX_FRAMES} in a batch")
    if tables * gd * gw * VERTEX_BYTES > SHARED_BYTES:
        fitting = SHARED_BYTES // (tables * VERTEX_BYTES)
        raise HueglassError(
            f"the grid's depth {gd} times its width {gw} is {gd * gw}, expected at most {fitting}, "
            "for which a block has the memory: such a grid is for the CPU"
        )
    return tuple(batch)


@dataclass(frozen=True)
class _Layout:
    """Where pixels lie: the address of the first and the one behind the last, and bytes from row to row and from frame
    to frame."""

    at: int
    end: int
    pitch: int
    frame: int

    def plane(self, sample: int = 0) -> np.ndarray:
        """For a kernel; of interleaved samples the first or the second plane."""
        return np.array((self.at + sample, self.pitch, self.frame), _PLANE)


def _three(layouts: Sequence[_Layout]) -> list[np.ndarray]:
    """Planes of luma, Cb and Cr; of two layouts the second is of both, sample by sample."""
    luma, *chroma = layouts
    apart = [chroma[0].plane(0), chroma[0].plane(1)] if len(chroma) == 1 else [plane.plane() for plane in chroma]
    return [luma.plane(), *apart]


def _layout(cupy: ModuleType, array: DeviceArray, name: str, shape: Sequence[int | str], channels: int) -> _Layout:
    """Of pixels of `channels` bytes; words in `shape`, which is without the channels, stand for any number."""
    _check_array(cupy, array, name)
    wanted = (*shape, *((channels,) if channels > 1 else ()))
    fits = array.ndim == len(wanted) and all(
        isinstance(w, str) or w == n for w, n in zip(wanted, array.shape, strict=True)
    )
    if array.dtype != np.uint8 or not fits or array.size == 0:
        raise HueglassError(f"{name} is {array.dtype} {array.shape}, expected uint8 ({', '.join(map(str, wanted))})")
    rows_axis = len(shape) - 2
    strides, span, reach = [0] * array.ndim, 1, 1
    for axis in reversed(range(array.ndim)):
        length = array.shape[axis]
        # The stride of an axis of one element says nothing.
        stride = array.strides[axis] if length > 1 else span
        if stride < span or (axis > rows_axis and stride != span):
            raise HueglassError(f"{name} has strides {array.strides}, expected pixels side by side in rows apart")
        strides[axis], span, reach = stride, stride * length, reach + stride * (length - 1)
    at = int(array.data.ptr)
    return _Layout(at, at + reach, strides[rows_axis], strides[0] if rows_axis else 0)


def _result(
    cupy: ModuleType, out: DeviceArray | None, image: DeviceArray, source: _Layout, name: str, channels: int
) -> tuple[DeviceArray, _Layout]:
    """`out`, or an array like `image`; and where its pixels lie. Either clear of those of `image`, or the same."""
    if out is None:
        out = cupy.empty(image.shape, np.uint8)
    target = _layout(cupy, out, "out", image.shape if channels == 1 else image.shape[:-1], channels)
    if target != source and target.at < source.end and source.at < target.end:
        raise HueglassError(f"out overlaps {name}, expected {name} itself or memory apart from it")
    return out, target


def _check_array(cupy: ModuleType, array: DeviceArray, name: str) -> None:
    if not isinstance(array, cupy.ndarray):
        kind = type(array)
        found = f"{kind.__module__}.{kind.__qualname__}"
        raise HueglassError(f"{name} is a {found}, expected a CuPy array: cupy.asarray or cupy.from_dlpack")
    current = cupy.cuda.runtime.getDevice()
    if array.device.id != current:
        raise HueglassError(f"{name} is on CUDA device {array.device.id}, expected the current one, {current}")


def _size(rows: int, width: int, first_row: int, height: int, in_pairs: bool = False) -> np.ndarray:
    """Of a part of a frame, for a kernel."""
    height = height or rows
    if first_row < 0 or first_row + rows > height:
        raise HueglassError(f"{rows} rows from row {first_row} on, expected them among the frame's {height}")
    if in_pairs and (first_row % 2 or (rows % 2 and first_row + rows < height)):
        raise HueglassError(f"{rows} rows from row {first_row} on, expected whole pairs, which share their chroma")
    return np.array((width, rows, first_row, height), _SIZE)


# -------------------------------------------------------------------------------------------- CuPy


@contextmanager
def _queued(cupy: ModuleType, stream: Stream | None) -> Iterator[None]:
    """Queues on `stream`, and turns errors of CUDA and its compiler into one line."""
    try:
        with stream if stream is not None else nullcontext():
            yield
    except (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException) as error:
        raise HueglassError(f"CUDA: {_first_line(error)}") from None


def _launch(
    cupy: ModuleType, name: str, grid: DeviceArray, rows: int, tables: int, *arguments: np.ndarray | np.generic
) -> None:
    """A block for each row (or pair) of each frame. `arguments` are the kernel's, after the grid."""
    gd, gh, gw = grid.shape[-4:-1]
    frames = grid.shape[0] if grid.ndim == 5 else 1
    numbers = np.array((int(grid.data.ptr), gd, gh, gw), _GRID)
    shared = tables * gd * gw * VERTEX_BYTES
    _kernel(cupy, name)((rows, frames), (THREADS,), (numbers, *arguments), shared_mem=shared)


@functools.cache
def _kernel(cupy: ModuleType, name: str) -> Any:
    """A cupy.RawKernel, which compiles itself for each device that it meets."""
    module = cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=("--std=c++17",))
    return module.get_function(name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
