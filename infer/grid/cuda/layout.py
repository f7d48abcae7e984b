"""Where arrays lie on the device, checked at the door: a kernel that is told wrong reads what is not its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError

DeviceArray = Any
"""A cupy.ndarray. CuPy is optional and imported where it is used, so that its own types are not known here."""
SHARED_BYTES = 48 * 1024
"""Shared memory that every device gives to a block without being asked for more."""
VERTEX_BYTES = 12 * 4
MAX_FRAMES = 65535
"""Blocks along the second axis of a launch, a limit of CUDA."""

# The structures of render.cu: a kernel takes numpy arrays of one element by value.
_GRID = np.dtype([("numbers", np.uint64), ("gd", np.int32), ("gh", np.int32), ("gw", np.int32)], align=True)
_PLANE = np.dtype([("at", np.uint64), ("pitch", np.int64), ("frame", np.int64)], align=True)
_SIZE = np.dtype([("width", np.int32), ("rows", np.int32), ("first_row", np.int32), ("height", np.int32)], align=True)


@dataclass(frozen=True)
class Part:
    """The rows of a frame that arrays hold: from `first_row` on, of `height` in the whole frame; 0: all of it."""

    first_row: int = 0
    height: int = 0

    def size(self, rows: int, width: int, in_pairs: bool = False) -> np.ndarray:
        """For a kernel. HueglassError where the frame does not have these `rows`, or not in whole pairs."""
        height = self.height or rows
        found = f"{rows} rows from row {self.first_row} on"
        if self.first_row < 0 or self.first_row + rows > height:
            raise HueglassError(f"{found}, expected them among the frame's {height}")
        if in_pairs and (self.first_row % 2 or (rows % 2 and self.first_row + rows < height)):
            raise HueglassError(f"{found}, expected whole pairs, which share their chroma")
        return np.array((width, rows, self.first_row, height), _SIZE)


@dataclass(frozen=True)
class Layout:
    """Where pixels lie: the address of the first and the one behind the last, and bytes from row to row and from frame
    to frame."""

    at: int
    end: int
    pitch: int
    frame: int

    def plane(self) -> np.ndarray:
        """For a kernel."""
        return np.array((self.at, self.pitch, self.frame), _PLANE)


def layout_of(cupy: ModuleType, array: DeviceArray, name: str, shape: Sequence[int | str], channels: int = 1) -> Layout:
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
    return Layout(at, at + reach, strides[rows_axis], strides[0] if rows_axis else 0)


def layout_of_result(
    cupy: ModuleType, out: DeviceArray | None, image: DeviceArray, source: Layout, name: str, channels: int = 1
) -> tuple[DeviceArray, Layout]:
    """`out`, or an array like `image`; and where its pixels lie. Either clear of those of `image`, or the same."""
    if out is None:
        out = cupy.empty(image.shape, np.uint8)
    target = layout_of(cupy, out, "out", image.shape if channels == 1 else image.shape[:-1], channels)
    if target != source and target.at < source.end and source.at < target.end:
        raise HueglassError(f"out overlaps {name}, expected {name} itself or memory apart from it")
    return out, target


def check_grid(cupy: ModuleType, grid: DeviceArray, tables: int, most: int) -> tuple[int, ...]:
    """(frames,) of a batch, or (). `tables` is how many of them, a row of pixels each, a block makes of the grid;
    `most`, how many cells an axis may have."""
    _check_array(cupy, grid, "the grid")
    *batch, gd, gh, gw, numbers = grid.shape if grid.ndim in (4, 5) else (0, 0, 0, 0)
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


def grid_of(grid: DeviceArray) -> np.ndarray:
    """For a kernel, of a grid that was checked."""
    return np.array((int(grid.data.ptr), *grid.shape[-4:-1]), _GRID)


def _check_array(cupy: ModuleType, array: DeviceArray, name: str) -> None:
    if not isinstance(array, cupy.ndarray):
        kind = type(array)
        found = f"{kind.__module__}.{kind.__qualname__}"
        raise HueglassError(f"{name} is a {found}, expected a CuPy array: cupy.asarray or cupy.from_dlpack")
    current = cupy.cuda.runtime.getDevice()
    if array.device.id != current:
        raise HueglassError(f"{name} is on CUDA device {array.device.id}, expected the current one, {current}")
