"""Video files written whole: each frame at its own timestamp, the sound beside it untouched."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import av
import av.container
import numpy as np
from av.codec.context import Flags

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, temporary_beside, writable_place
from hueglass.infer.frame import Frame, YuvImage

from .codecs import Codec
from .colour import ColorConverter
from .info import VideoInfo
from .tracks import CopiedTracks

# SVT-AV1 tells its life to stderr, past everybody, and calls it an error when a failure stops it: unless the user wants
# it, nothing, since what goes wrong is said by libav too.
os.environ.setdefault("SVT_LOG", "0")
# No B-frames: MP4 keeps durations in coding order, so reordering would lose the last frame's where the rate
# varies. At this quality and speed they save nothing. VP9 has none, and SVT-AV1 hides its own.
_CODECS = {
    Codec.H264: ("libx264", {"crf": "18", "preset": "veryfast", "bf": "0"}),
    Codec.H265: ("libx265", {"crf": "20", "preset": "fast", "bf": "0", "x265-params": "log-level=error"}),
    Codec.VP9: ("libvpx-vp9", {"crf": "24", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),
    Codec.AV1: ("libsvtav1", {"crf": "28", "preset": "9"}),
}
# By extension: the container, and the codecs that it holds, the first unless told otherwise.
_FORMATS = {
    ".mp4": ("mp4", (Codec.H264, Codec.H265, Codec.AV1)),
    ".m4v": ("mp4", (Codec.H264, Codec.H265, Codec.AV1)),
    ".mov": ("mov", (Codec.H264, Codec.H265)),
    ".mkv": ("matroska", (Codec.H264, Codec.H265, Codec.VP9, Codec.AV1)),
    ".webm": ("webm", (Codec.VP9, Codec.AV1)),
}
VIDEO_SUFFIXES = tuple(_FORMATS)
"""What `VideoSink` writes."""


@dataclass(frozen=True)
class Encoding:
    """How pictures are compressed: a codec, None for the container's own; a constant rate factor, lower is
    better and larger; a preset of the encoder. What is None is as the codec's defaults here."""

    codec: Codec | None = None
    crf: int | None = None
    preset: str | None = None

    def options(self, suffix: str) -> tuple[str, dict[str, str]]:
        """The encoder and its options for a file of this extension. UsageError if it cannot hold the codec."""
        _, held = _FORMATS[suffix]
        codec = self.codec or held[0]
        if codec not in held:
            raise UsageError(f"{suffix} cannot hold {codec}, expected one of {', '.join(held)}")
        encoder, options = _CODECS[codec]
        if encoder not in av.codecs_available:
            raise HueglassError(f"this PyAV has no encoder {encoder}, expected another codec")
        if self.preset is not None and codec == Codec.VP9:
            raise UsageError("VP9 has no presets, expected a rate factor alone or another codec")
        chosen = {"crf": self.crf, "preset": self.preset}
        return encoder, options | {k: str(v) for k, v in chosen.items() if v is not None}


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turns any error of writing into one HueglassError line that names `path`."""
    try:
        with disk_errors(path):
            yield
    except av.FFmpegError as error:
        raise HueglassError(f"{path}: cannot be encoded: {error.strerror}") from error


@contextmanager
def _own_priority() -> Iterator[None]:
    """Threads that are started meanwhile, and the one that starts them, keep the caller's scheduling.

    Run by root, SVT-AV1 makes its threads, the one that opens it and so all that this one starts later, other
    programs among them, real-time ones of the highest priority: nothing else on the machine has its turn before them.
    """
    threads = Path("/proc/self/task")
    if not threads.is_dir():  # another system than Linux, where it does no such thing
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = {thread.name for thread in threads.iterdir()}
    try:
        yield
    finally:
        started = {int(thread.name) for thread in threads.iterdir() if thread.name not in before}
        for thread in (0, *started):
            with suppress(OSError):  # it has ended, or the system does not let us: then it did not let SVT-AV1 either
                os.sched_setscheduler(thread, policy, parameters)


class VideoSink:
    """Writes frames to a video file: H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm, or as `encoding` says.

        with VideoSource(inp) as source, VideoSink(out, source.info, audio_from=inp) as sink:
            for frame in source:
                sink.write(frame)

    Size, timestamps, rotation, pixel aspect, colour matrix and range are those of `info`. The sound and
    subtitle tracks of `audio_from` are copied packet for packet; `left_out` names the other tracks that the
    output does not get.

    Timestamps are exact in MP4 and MOV. Matroska and WebM count whole milliseconds and have none below 0:
    sound that starts before it moves the pictures later by as much, in step. H.264 is 4:2:0 for even sizes;
    an odd size needs 4:4:4, which desktop players show and many browsers do not.

    The file appears under `path` when the block ends without an error, and not otherwise.
    Raises UsageError for an unsupported extension or codec, a missing folder, or an output that is the input;
    HueglassError for a full disk, sound that the format cannot hold, or frames of another size or out of order.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        audio_from: str | os.PathLike[str] | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        self._path = Path(path)
        self._info = info
        self._audio_from = audio_from
        place = writable_place(path, VIDEO_SUFFIXES)
        for source in (info.path, audio_from):
            if source is not None and place.exists() and Path(source).exists() and place.samefile(source):
                raise UsageError(f"{path}: is the input as well, expected another output")
        self._encoder, self._options = (encoding or Encoding()).options(place.suffix.lower())
        self._last_pts: int | None = None
        self.left_out: list[str] = []

    def __enter__(self) -> "VideoSink":
        with ExitStack() as stack, _one_line(self._path):
            temporary = stack.enter_context(temporary_beside(self._path))
            self._container = self._open(temporary)
            stack.callback(self._abandon)
            self._stream = self._add_video()
            self._converter = ColorConverter(self._info.color)
            self._tracks: CopiedTracks | None = None
            if self._audio_from is not None:
                self._tracks = CopiedTracks(self._audio_from, self._container, self._path)
                stack.callback(self._tracks.close)
                self.left_out = self._tracks.left_out
            self._open_things = stack.pop_all()
        return self

    def write(self, frame: Frame[np.ndarray | YuvImage]) -> None:
        """Encodes one frame at its own time; frames must come in order and have the size of `info`."""
        picture = self._picture(frame.image)
        picture.time_base = self._info.time_base
        # Exact: a time is a whole number of ticks, and a float holds it to far less than half a tick.
        picture.pts = round(frame.time / self._info.time_base)
        picture.duration = round(frame.duration / self._info.time_base)
        if self._last_pts is not None and picture.pts <= self._last_pts:
            raise HueglassError(f"{self._path}: frame {frame.index} at {frame.time} s is not after the one before")
        if self._last_pts is None:
            self._set_clock(picture.pts)
        self._last_pts = picture.pts
        with _one_line(self._path):
            self._container.mux(self._stream.encode(picture))
            if self._tracks is not None:
                self._tracks.copy_until(frame.time)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._open_things.__exit__(kind, error, trace)
            return
        with _one_line(self._path), self._open_things:
            self._finish()

    def _finish(self) -> None:
        if self._last_pts is None:
            raise HueglassError(f"{self._path}: not one frame was written, expected at least one")
        self._container.mux(self._stream.encode(None))
        if self._tracks is not None:
            self._tracks.copy_until(None)
        self._container.close()

    def _abandon(self) -> None:
        """Closes what is still open. After a failure the end of the file may fail too: it is removed anyway."""
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()

    def _open(self, temporary: Path) -> av.container.OutputContainer:
        name, _ = _FORMATS[self._path.suffix.lower()]
        # The index goes to the front of an MP4, so that it plays while it loads.
        options = {"movflags": "faststart"} if name in ("mp4", "mov") else {}
        return av.open(f"file:{temporary}", "w", format=name, container_options=options)

    def _set_clock(self, first_pts: int) -> None:
        """Gives an MP4 a clock fine enough for the tracks that start late: its own counts milliseconds."""
        clocks = self._tracks.late_clocks() if self._tracks is not None else []
        if first_pts > 0:
            clocks.append(self._info.time_base.denominator)
        clock = math.lcm(*clocks)
        if clocks and "movflags" in self._container.container_options and clock < 1 << 31:
            self._container.container_options["movie_timescale"] = str(clock)

    def _add_video(self) -> av.video.VideoStream:
        info = self._info
        odd = info.width % 2 or info.height % 2
        stream = self._container.add_stream(
            self._encoder,
            rate=info.rate,
            options=dict(self._options),
            width=info.width,
            height=info.height,
            time_base=info.time_base,
        )
        context = stream.codec_context
        context.pix_fmt = "yuv444p" if odd and self._encoder in ("libx264", "libx265") else "yuv420p"
        if self._encoder == "libx265" and "movflags" in self._container.container_options:
            context.codec_tag = "hvc1"  # else Apple's players do not know it
        context.thread_type = "AUTO"
        context.flags |= Flags.frame_duration  # else the last frame's is lost
        context.colorspace, context.color_range = info.color.matrix, info.color.range
        context.color_primaries, context.color_trc = info.color.primaries, info.color.transfer
        if info.pixel_aspect:
            context.sample_aspect_ratio = info.pixel_aspect
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        with _own_priority():
            context.open()
        return stream

    def _picture(self, image: np.ndarray | YuvImage) -> av.VideoFrame:
        size, pixel_format = (self._info.height, self._info.width), self._stream.codec_context.pix_fmt
        if isinstance(image, YuvImage) and image.shape == size and pixel_format == "yuv420p":
            return self._converter.from_planes(image)
        if not isinstance(image, np.ndarray) or image.shape != (*size, 3) or image.dtype != np.uint8:
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"Y'CbCr {image.shape}"
            raise HueglassError(f"{self._path}: frame is {found}, expected uint8 {(*size, 3)}")
        return self._converter.from_rgb(image, pixel_format)
