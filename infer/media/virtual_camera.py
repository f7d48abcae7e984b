"""The system's virtual camera: what a call sees."""

from types import TracebackType
from typing import Any, Self

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.orientation import upright
from hueglass.infer.ycbcr import to_levels, to_rgb

from .info import VideoInfo

RATE = 30.0
"""Frames a second that are announced where `info` does not say."""


class VirtualCamera:
    """Sends frames to the system's virtual camera, upright. It takes what is given when it is given: its clock is the
    caller's.

    HueglassError if pyvirtualcam or a virtual camera is missing, or for a frame of another size.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self.left_out: list[str] = []
        self._last: float | None = None

    def __enter__(self) -> Self:
        try:
            import pyvirtualcam
        except ImportError:
            raise HueglassError('virtual cameras need pyvirtualcam: pip install "hueglass[camera]"') from None
        width, height = self._info.upright_size
        try:
            self._device: Any = pyvirtualcam.Camera(width, height, float(self._info.rate or RATE))
        except RuntimeError as error:
            raise HueglassError(f"no virtual camera: {str(error).splitlines()[0]}") from None
        return self

    def write(self, frame: Frame[np.ndarray | YuvImage]) -> None:
        """Sends one frame; frames must come in order and have the size of `info`."""
        image = frame.image
        size = (self._info.height, self._info.width)
        if image.shape[:2] != size:
            raise HueglassError(f"virtual camera: frame is {image.shape}, expected {size}")
        if self._last is not None and frame.time <= self._last:
            raise HueglassError(f"virtual camera: frame {frame.index} at {frame.time} s is not after the one before")
        self._last = frame.time
        pixels = to_levels(255 * to_rgb(image)) if isinstance(image, YuvImage) else image
        self._device.send(np.ascontiguousarray(upright(pixels, frame.orientation)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.close()
