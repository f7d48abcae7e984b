"""Pictures as the frames of a film: one, or those of a folder."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame

from .images import READ_SUFFIXES, read_image
from .info import VideoInfo

RATE = 25.0
"""Frames a second, unless told otherwise."""


class PictureSource:
    """A picture, or the pictures of a folder in the order of their names, at `rate` frames a second (None: RATE).

    They are upright. UsageError for a folder without a picture; HueglassError as `read_image`, and for a picture of
    another size than the first.
    """

    live = False
    lost = 0

    def __init__(self, path: Path, rate: float | None = None) -> None:
        rate = rate or RATE
        self._paths = pictures_in(path) if path.is_dir() else [path]
        if not self._paths:
            raise UsageError(f"{path}: no picture in this folder, expected files such as .jpg, .png, .webp")
        self._rate = Fraction(rate).limit_denominator(1001)
        self._first = read_image(self._paths[0])
        height, width = self._first.shape[:2]
        count = len(self._paths)
        self.info = VideoInfo(path, width, height, 1 / self._rate, self._rate, count, float(count / self._rate))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame[np.ndarray]]:
        for index, path in enumerate(self._paths):
            image = read_image(path) if index else self._first
            if image.shape != self._first.shape:
                sizes = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, self._first.shape))
                raise HueglassError("{}: is {}, expected {} as the first picture".format(path, *sizes))
            yield Frame(image, float(index / self._rate), index, float(1 / self._rate))

    def as_decoded(self) -> Iterator[Frame[np.ndarray]]:
        """The same: pictures are read as RGB."""
        return iter(self)


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in READ_SUFFIXES and path.is_file())
