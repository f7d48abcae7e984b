"""What goes over a client's WebSocket, as plain data: thumbnails come, grids go. All numbers are little-endian."""

import struct
import zlib
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np

RATE = 60.0
"""More grids a second no client gets."""
HEADER = struct.Struct("<II")
"""Before a thumbnail: its number and the client's clock in milliseconds. Before a grid: the thumbnail's number and
how long the prediction took, in microseconds."""
STEP = np.float32(1 / 256)
"""What coefficients are rounded to: it changes a picture by a third of one of its 255 levels."""


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


@dataclass
class Packing:
    """Of one connection: what all grids become before they go, a fifth of what half floats would take.

    Coefficients go in whole STEPs of 16 bits, those of an entry together: of each only by how much it differs from
    what the two before it, in its row and in its column, let expect, or by how much from the grid that went `before`,
    whichever is less to say. Differences as zigzag numbers (0, -1, 1, -2, ...), first all lower bytes, then all upper
    ones, deflated (zlib); before them a byte, 1 if they are from the grid before.
    """

    before: np.ndarray | None = None

    def message(self, result: Result) -> bytes:
        """HEADER, then the coefficients, packed."""
        took = min(round(1e6 * result.seconds), 0xFFFFFFFF)
        return HEADER.pack(result.sequence, took) + self.packed(result.grid)

    def packed(self, grid: np.ndarray) -> bytes:
        """Coefficients (depth, cells, cells, 12)."""
        steps = np.moveaxis(np.clip(np.rint(grid / STEP), -32768, 32767).astype("<i2"), -1, 0)
        ways = [np.diff(np.diff(steps, axis=2, prepend=np.int16(0)), axis=3, prepend=np.int16(0))]
        if self.before is not None:
            ways.append(steps - self.before)
        self.before = steps
        way = min(range(len(ways)), key=lambda i: int(np.abs(ways[i].astype(np.int32)).sum()))
        zigzag = np.ascontiguousarray((ways[way] << 1) ^ (ways[way] >> 15)).view(np.uint8).reshape(-1, 2)
        return bytes([way]) + zlib.compress(zigzag.T.tobytes(), 1)

    def unpacked(self, message: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """The other way round: a grid of that shape, float32; of the connection's other end."""
        zigzag = np.frombuffer(zlib.decompress(message[1:]), np.uint8).reshape(2, -1).T.copy().view("<u2").ravel()
        rest = ((zigzag >> 1) ^ -(zigzag & 1)).astype("<i2").reshape(shape[-1], *shape[:-1])
        if message[0]:
            assert self.before is not None
            self.before = self.before + rest
        else:
            self.before = rest.cumsum(3, dtype=np.int16).cumsum(2, dtype=np.int16)
        return np.moveaxis(self.before, 0, -1).astype(np.float32) * STEP
