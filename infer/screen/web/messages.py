"""What goes over a client's WebSocket, as plain data: thumbnails come, grids go. All numbers are little-endian."""

import struct
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np

RATE = 60.0
"""More grids a second no client gets."""
HEADER = struct.Struct("<II")
"""Before a thumbnail: its number and the client's clock in milliseconds. Before a grid: the thumbnail's number and
how long the prediction took, in microseconds."""
HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Thumbnail:
    """`pixels` (T, T, 3) uint8 sRGB, the client's number and clock for it (seconds), and when it came, on ours."""

    sequence: int
    time: float
    pixels: np.ndarray
    arrived: float = field(default_factory=perf_counter)


class Result(NamedTuple):
    """Smoothed coefficients (depth, cells, cells, 12) for the thumbnail of that number, and how long they took."""

    sequence: int
    seconds: float
    grid: np.ndarray


def thumbnail_bytes(size: int) -> int:
    """How long a message with a thumbnail of `size` pixels a side is, exactly."""
    return HEADER.size + size * size * 3


def read_thumbnail(message: bytes, size: int) -> Thumbnail:
    """Of a message of `thumbnail_bytes`: HEADER, then the pixels row by row."""
    sequence, milliseconds = HEADER.unpack_from(message)
    pixels = np.frombuffer(message, np.uint8, offset=HEADER.size).reshape(size, size, 3)
    return Thumbnail(sequence, milliseconds / 1000, pixels)


def result_message(result: Result) -> bytes:
    """HEADER, then the coefficients as half floats."""
    took = min(round(1e6 * result.seconds), 0xFFFFFFFF)
    return HEADER.pack(result.sequence, took) + half_floats(result.grid)


def half_floats(grid: np.ndarray) -> bytes:
    """Coefficients as little-endian half floats in C order; what does not fit becomes the largest that does."""
    halves: np.ndarray = np.clip(grid, -HALF_MAX, HALF_MAX).astype("<f2")
    return halves.tobytes()
