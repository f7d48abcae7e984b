"""What comes in: a source of frames, and the one place that decides what a name is."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.thumbnail import upright_frame

from .images import READ_SUFFIXES
from .info import CameraWishes, VideoInfo


class Source(Protocol):
    """Frames in order, once, between enter and exit; it is open from the start.

    `info` says what they are. `live` says that they come at their own time, and `lost` how many should have come and
    did not, right after the last one. HueglassError, while frames are read, for one that cannot be had.
    """

    @property
    def info(self) -> VideoInfo: ...

    @property
    def live(self) -> bool: ...

    @property
    def lost(self) -> int: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame[np.ndarray]]:
        """Frames in (H, W, 3) uint8 sRGB, as they are stored."""

    def as_decoded(self) -> Iterator[Frame[np.ndarray | YuvImage]]:
        """The same frames, in Y'CbCr where that is what they are: for whoever needs no RGB, twice as fast."""


def open_source(
    name: str | os.PathLike[str],
    wishes: CameraWishes | None = None,
    rate: float | None = None,
    every: float | None = None,
) -> Source:
    """The source of that name: a video file, a picture, a folder of pictures in the order of their names or, where
    there are `wishes` (None: no camera may be opened), a camera's number, a device or the address of a stream.
    `rate`, in frames a second, is that of pictures, which have none of their own. With `every`, of a video file only
    some frames come, about so many seconds apart (see `VideoSource`).

    UsageError for a name that is nothing of these; HueglassError for what cannot be opened.
    """
    text = os.fspath(name)
    if wishes is not None and (text.isdigit() or text.startswith("/dev/") or "://" in text):
        from .capture import CaptureSource

        return CaptureSource(text, wishes)
    if os.path.isdir(text) or text.lower().endswith(READ_SUFFIXES):
        from .pictures import PictureSource

        return PictureSource(Path(text), rate)
    if wishes is not None and not os.path.isfile(text):
        raise UsageError(f"{text}: no such camera, expected a number (0, 1, ...), a URL or a video file")
    from .video_source import VideoSource

    return VideoSource(text, every)


def spread_frames(source: Source, count: int, most: int | None = None) -> Iterator[Frame[np.ndarray]]:
    """About `count` frames of a recording, evenly spread and upright, and at most `most` (None: `count`)."""
    every = max(1, (source.info.frame_count or count) // count)
    for frame in islice((frame for frame in source if frame.index % every == 0), most or count):
        yield upright_frame(frame)
