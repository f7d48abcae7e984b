"""Cameras: the newest frame and no other. A camera, a stream or a file that plays as one.

A thread reads as fast as frames come and keeps the last; whoever is slow misses frames instead of falling behind. A
camera that goes away is opened again until it is back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame, YuvImage

from .video_source import VideoSource

Picture = np.ndarray | YuvImage
Reader = Callable[[], Iterator[Picture]]
"""Opens a source and gives its pictures, (H, W, 3) uint8 sRGB or Y'CbCr, as they come. HueglassError if it cannot be
opened."""
RETRY_SECONDS = 1.0


class Camera:
    """The newest frame of a `Reader`, read in a thread of its own between enter and exit.

    `Frame.time` is when it came, in seconds since the start; `Frame.index` counts all that came. If the reader fails
    before its first frame, `newest` raises what it raised; if later, `lost` says what is wrong until frames come again.
    """

    def __init__(self, read: Reader, retry: float = RETRY_SECONDS) -> None:
        self._read, self._retry = read, retry
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._newest: Frame[Picture] | None = None
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

    def newest(self, after: int = -1, timeout: float = 1.0) -> Frame[Picture] | None:
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
        count = 0
        while not self._stop.is_set():
            try:
                with closing(self._read()) as pictures:  # type: ignore[type-var]
                    for image in pictures:
                        self._put(Frame(image, self.now, count))
                        count += 1
                        if self._stop.is_set():
                            return
                problem = HueglassError("the camera gives no more pictures")
            except HueglassError as error:
                problem = error
            with self._changed:
                if count == 0:
                    self._failure = problem
                    self._changed.notify_all()
                    return
                self._lost = str(problem)
            self._stop.wait(self._retry)

    def _put(self, frame: Frame[Picture]) -> None:
        with self._changed:
            self._newest, self._lost = frame, None
            self._changed.notify_all()


def open_reader(source: str, width: int | None = None, height: int | None = None, rate: float | None = None) -> Reader:
    """The reader of a camera's number, a device, a URL, or a video file, which is played again and again.

    Size and rate are asked of a camera, which may give others; a file is played at `rate`, or its own. UsageError if
    `source` is none of these.
    """
    if source.isdigit() or source.startswith("/dev/") or "://" in source:
        return lambda: _capture(int(source) if source.isdigit() else source, width, height, rate)
    if not Path(source).is_file():
        raise UsageError(f"{source}: no such camera, expected a number (0, 1, ...), a URL or a video file")
    return lambda: _play(Path(source), rate)


def _capture(source: int | str, width: int | None, height: int | None, rate: float | None) -> Iterator[np.ndarray]:
    """Pictures of a camera or stream until it fails."""
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise HueglassError(f"camera {source}: cannot be opened, expected one that is plugged in and not in use")
        if width or height or rate:
            # Before the size: uncompressed, most USB cameras give 5 frames a second of a large one.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        wishes = ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height), (cv2.CAP_PROP_FPS, rate))
        for what, value in wishes:
            if value is not None:
                capture.set(what, value)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would be delay
        while True:
            good, image = capture.read()
            if not good:
                raise HueglassError(f"camera {source}: is gone")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _play(path: Path, rate: float | None) -> Iterator[Picture]:
    """Pictures of a file, each at its time, from the beginning again after the last."""
    while True:
        with VideoSource(path) as clip:
            began: float | None = None
            for frame in clip.as_decoded():
                due = frame.index / rate if rate else frame.time
                began = time.perf_counter() - due if began is None else began
                time.sleep(max(0.0, began + due - time.perf_counter()))
                yield frame.image
