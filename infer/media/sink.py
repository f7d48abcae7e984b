"""What goes out: a sink of frames, and the one place that decides what a name is."""

import os
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from hueglass.infer.frame import Frame, YuvImage

from .info import VideoInfo

VIRTUAL_CAMERA = "virtual-camera"
"""The name of the system's virtual camera, which calls can see."""


class Sink(Protocol):
    """Takes frames in order between enter and exit, each at its own time and of the size of its `VideoInfo`.

    What is written is whole when the block ends without an error, and is not there otherwise. `left_out` names, once it
    is entered, what of its input it does not take. HueglassError for frames of another size or out of order.
    """

    @property
    def left_out(self) -> list[str]: ...

    def __enter__(self) -> Self: ...

    def write(self, frame: Frame[np.ndarray | YuvImage]) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_sink(name: str | os.PathLike[str], info: VideoInfo) -> Sink:
    """The sink of that name for frames as `info` says: VIRTUAL_CAMERA, or a video file, as its extension says.

    UsageError and HueglassError as the sinks have them. Who wants sound or a certain encoding asks for a `VideoSink`.
    """
    if os.fspath(name) == VIRTUAL_CAMERA:
        from .virtual_camera import VirtualCamera

        return VirtualCamera(info)
    from .video_sink import VideoSink

    return VideoSink(name, info)
