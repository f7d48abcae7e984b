"""Cameras, devices and streams, through OpenCV."""

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame

from .info import CameraWishes, VideoInfo

CLOCK = Fraction(1, 90_000)
"""Of frames that come at their own time: a tick, in seconds."""


class CaptureSource:
    """The frames of a camera's number, a device or the address of a stream, as they come, until it fails.

    `Frame.time` is in seconds since it was opened. HueglassError if it cannot be opened, or is gone.
    """

    live = True
    lost = 0

    def __init__(self, name: str, wishes: CameraWishes) -> None:
        self._name, self._began = name, time.perf_counter()
        self._capture = cv2.VideoCapture(int(name) if name.isdigit() else name)
        if not self._capture.isOpened():
            self._capture.release()
            raise HueglassError(f"camera {name}: cannot be opened, expected one that is plugged in and not in use")
        self._ask(wishes)
        width, height = (int(self._get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        rate = self._get(cv2.CAP_PROP_FPS)
        self.info = VideoInfo(Path(name), width, height, CLOCK, Fraction(rate) if 0 < rate < 1000 else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame[np.ndarray]]:
        index = 0
        while True:
            good, image = self._capture.read()
            if not good:
                raise HueglassError(f"camera {self._name}: is gone")
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time.perf_counter() - self._began, index)
            index += 1

    def as_decoded(self) -> Iterator[Frame[np.ndarray]]:
        """The same: OpenCV gives RGB alone."""
        return iter(self)

    def _ask(self, wishes: CameraWishes) -> None:
        if wishes.width or wishes.height or wishes.rate:
            # Before the size: uncompressed, most USB cameras give 5 frames a second of a large one.
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        asked = {
            cv2.CAP_PROP_FRAME_WIDTH: wishes.width,
            cv2.CAP_PROP_FRAME_HEIGHT: wishes.height,
            cv2.CAP_PROP_FPS: wishes.rate,
            cv2.CAP_PROP_BUFFERSIZE: 1,  # a queue in the driver would be delay
        }
        for what, value in asked.items():
            if value is not None:
                self._capture.set(what, value)

    def _get(self, what: int) -> float:
        return float(self._capture.get(what))
