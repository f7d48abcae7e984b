"""Camera: the newest frame of a source and no other.

A thread reads as fast as frames come and keeps the last; whoever is slow misses frames instead of falling behind. A
camera that goes away is opened again until it is back; a recording plays as one, again and again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame, YuvImage

from .source import Source

Picture = Frame[np.ndarray | YuvImage]
RETRY_SECONDS = 1.0


class Camera:
    """The newest frame of what `open_it` opens, read in a thread of its own between enter and exit.

    `Frame.time` is when it came, in seconds since the start; `Frame.index` counts all that came. Frames of a recording
    come at their times, or at `rate` a second. If the source fails before its first frame, `newest` raises what it
    raised; if later, `lost` says what is wrong until frames come again.
    """

    def __init__(self, open_it: Callable[[], Source], rate: float | None = None, retry: float = RETRY_SECONDS) -> None:
        self._open, self._rate, self._retry = open_it, rate, retry
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._newest: Picture | None = None
        self._lost: str | None = None
        self._failure: HueglassError | None = None
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def __enter__(self) -> "Camera":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def lost(self) -> str | None:
        """What is wrong with the camera, None while it gives frames."""
        with self._changed:
            return self._lost

    @property
    def now(self) -> float:
        """Seconds since the start, on the clock of `Frame.time`."""
        return time.perf_counter() - self._began

    def newest(self, after: int = -1, timeout: float = 1.0) -> Picture | None:
        """The newest frame if its index is above `after`, waiting for one up to `timeout` seconds; else None."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._index > after, timeout)
            if self._failure is not None:
                raise self._failure
            return self._newest if self._index > after else None

    @property
    def _index(self) -> int:
        return -1 if self._newest is None else self._newest.index

    def _run(self) -> None:
        while not self._stop.is_set():
            problem = self._read()
            if problem is None:
                continue
            with self._changed:
                if self._newest is None:
                    self._failure = problem
                    self._changed.notify_all()
                    return
                self._lost = str(problem)
            self._stop.wait(self._retry)

    def _read(self) -> HueglassError | None:
        """Reads the source to its end, or ours; returns what is wrong with it."""
        try:
            with self._open() as source:
                frames = source.as_decoded()
                for frame in frames if source.live else played(frames, self._rate):
                    self._put(replace(frame, time=self.now, index=self._index + 1))
                    if self._stop.is_set():
                        return None
                return HueglassError("the camera gives no more pictures") if source.live else None
        except HueglassError as error:
            return error

    def _put(self, frame: Picture) -> None:
        with self._changed:
            self._newest, self._lost = frame, None
            self._changed.notify_all()


def played(frames: Iterator[Picture], rate: float | None = None) -> Iterator[Picture]:
    """The frames of a recording, each at its time, or at so many a second; ends when the last has been shown for as
    long as it stays."""
    began: float | None = None
    end = 0.0
    for number, frame in enumerate(frames):
        due = number / rate if rate else frame.time
        began = time.perf_counter() - due if began is None else began
        time.sleep(max(0.0, began + due - time.perf_counter()))
        yield frame
        end = began + due + (1 / rate if rate else frame.duration)
    time.sleep(max(0.0, end - time.perf_counter()))
