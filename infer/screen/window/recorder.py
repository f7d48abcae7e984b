"""What is shown, to a sink: each frame at its time."""

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from hueglass.infer.frame import AnyFrame, Frame
from hueglass.infer.media.info import VideoInfo
from hueglass.infer.media.sink import Sink, open_sink

CLOCK = Fraction(1, 90_000)
"""Of recordings: a tick, in seconds."""
RATE = 30.0


class Recording:
    """The sink of a name (see `open_sink`), between enter and exit: pictures (H, W, 3) uint8 sRGB of the size of
    `image`, at their times since the first."""

    def __init__(self, name: str | Path, image: np.ndarray, rate: float = RATE) -> None:
        height, width = image.shape[:2]
        info = VideoInfo(Path("window"), width, height, CLOCK, rate=Fraction(rate).limit_denominator(1001))
        self._sink: Sink = open_sink(name, info)
        self._began: float | None = None

    def __enter__(self) -> "Recording":
        self._sink.__enter__()
        return self

    def add(self, frame: AnyFrame, image: np.ndarray) -> None:
        """What is shown of a frame."""
        self._began = frame.time if self._began is None else self._began
        ticks = round((frame.time - self._began) / CLOCK)
        self._sink.write(Frame(np.ascontiguousarray(image), float(ticks * CLOCK), frame.index))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.__exit__(kind, error, trace)


@dataclass
class Recorder:
    """Starts and stops recordings to new files in a folder."""

    folder: Path
    recording: Recording | None = None

    def toggle(self, frame: AnyFrame, image: np.ndarray) -> str:
        """Starts with this picture, or stops; returns what to say."""
        if self.recording is not None:
            return self.stop()
        path = free_name(self.folder, ".mp4")
        self.recording = Recording(path, image).__enter__()
        self.recording.add(frame, image)
        return f"recording {path}"

    def add(self, frame: AnyFrame, image: np.ndarray) -> None:
        """The next picture, if it records."""
        if self.recording is not None:
            self.recording.add(frame, image)

    def stop(self) -> str:
        """Closes the clip, if there is one."""
        recording, self.recording = self.recording, None
        if recording is None:
            return ""
        recording.__exit__(None, None, None)
        return "recorded"


def free_name(folder: Path, suffix: str) -> Path:
    """A file name in the folder that nothing has yet, with the time in it."""
    stem = time.strftime("hueglass-%Y%m%d-%H%M%S")
    names = (folder / f"{stem}{mark}{suffix}" for mark in ("", *(f"-{i}" for i in range(1, 1000))))
    return next(path for path in names if not path.exists())
