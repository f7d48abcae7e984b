"""Sources that stand for cameras."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.media.info import VideoInfo

SHAPE = (48, 64, 3)
Reader = Callable[[], Iterator[np.ndarray | YuvImage]]


class ReaderSource:
    """A live source of the pictures that `read` gives."""

    live = True
    lost = 0

    def __init__(self, read: Reader) -> None:
        self._read = read
        self.info = VideoInfo(Path("reader"), SHAPE[1], SHAPE[0], Fraction(1, 90_000))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame[np.ndarray]]:
        yield from self.as_decoded()  # type: ignore[misc]

    def as_decoded(self) -> Iterator[Frame[np.ndarray | YuvImage]]:
        for index, image in enumerate(self._read()):
            yield Frame(image, index / 30, index)


def reading(read: Reader) -> Callable[[], ReaderSource]:
    """What opens such a source."""
    return lambda: ReaderSource(read)


def numbered(count: int | None = None, pause: float = 0.005) -> Callable[[], ReaderSource]:
    """What opens a source whose picture number i is full of i."""

    def read() -> Iterator[np.ndarray]:
        i = 0
        while count is None or i < count:
            yield np.full(SHAPE, i % 256, np.uint8)
            i += 1
            time.sleep(pause)

    return reading(read)
