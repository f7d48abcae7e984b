"""Video files as a stream of frames: every timestamp as it is, in constant memory, as far as the file goes."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import AnyImage, Frame, YuvImage

from .colour import ColorConverter, frame_color
from .containers import clock_origin, matroska_cut_short, open_container, picture_stream, read_packets
from .info import VideoInfo

SPARSE = 3.0
"""Of a first look: by how much further apart than wanted frames that can be decoded alone may lie."""


class VideoSource:
    """The frames of a video file, once, in order of display.

        with VideoSource("in.mp4") as source:
            for frame in source:
                ...
        if source.lost:
            ...

    Images are (H, W, 3) uint8 RGB, converted with the file's own matrix and range; 10 bits become 8. They are
    as stored: `Frame.orientation` is for whoever shows them. `Frame.time` is in seconds on the file's
    clock, exact to its tick, and may start above 0. A damaged or truncated file yields all that can be
    decoded; then `lost` is not 0.

    Raises UsageError for a missing file or a directory; HueglassError for content that is empty, not media,
    without a picture track, undecodable, HDR (PQ, HLG), or that changes its size midway.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str], every: float | None = None) -> None:
        """With `every`, only a first look: some frames, about so many seconds apart, for a small part of the work. How
        many of them are `lost` says nothing."""
        self._path, self._every = Path(path), every
        self._container = open_container(path)
        try:
            self._stream = self._picture_stream()
            self._origin = round(clock_origin(self._container) / self._stream.time_base)
            self._expected: int = self._stream.frames
            self._rate = self._stream.average_rate or Fraction(25)
            self._shown = self._skipped = self._errors = 0
            self._last_pts: int | None = None
            self._due = float("-inf")
            self._alone = every is not None and self._look_through(every)
            self._end = Fraction(0)
            self._stated_end = self._matroska_end()
            self._cut_short = matroska_cut_short(path)
            self._pictures = self._decode()
            self._first = next(self._pictures, None)
            if self._first is None:
                raise HueglassError(f"{path}: no frame can be decoded")
            self.info = self._read_info(self._first)
            self._converter = ColorConverter(self.info.color)
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "VideoSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pictures, self._first = iter(()), None  # the generator holds the decoder, and this object in a circle
        self._container.close()

    def __iter__(self) -> Iterator[Frame[np.ndarray]]:
        for picture in self._each():
            yield self._frame(self._converter.to_rgb(picture), picture)

    def as_decoded(self) -> Iterator[Frame[np.ndarray | YuvImage]]:
        """The same frames, those in 8-bit 4:2:0 left in Y'CbCr: for whoever needs no RGB, twice as fast."""
        for picture in self._each():
            planes = self._converter.to_planes(picture)
            image = self._converter.to_rgb(picture) if planes is None else planes
            yield self._frame(image, picture)

    def _each(self) -> Iterator[av.VideoFrame]:
        if self._first is not None:
            first, self._first = self._first, None
            self._is_due(float(first.time or 0))
            yield first
        for picture in self._pictures:
            if self._every is None or self._alone or self._is_due(float(picture.time or 0)):
                yield picture

    @property
    def lost(self) -> int:
        """How many frames the file should have and did not give; an estimate, right after the last frame.

        From the frame count of the container, where it has one (MP4, MOV, AVI); else the packets that failed
        to decode and, in Matroska and WebM, the time that is missing at the end.
        """
        if self._expected:
            return max(0, self._expected - self._skipped - self._shown)
        missing = self._stated_end - self._end
        at_end = round(missing * self._rate) if missing > max(2 / self._rate, Fraction(1, 10)) else 0
        return max(self._errors + at_end, int(self._cut_short))

    def _matroska_end(self) -> Fraction:
        """When the last track ends, in seconds, as Matroska states at its front; 0 for other formats.

        They work their duration out from what is there, and a truncated file looks whole.
        """
        if "matroska" not in self._container.format.name or not self._container.duration:
            return Fraction(0)
        return Fraction(self._container.duration, av.time_base)

    def _picture_stream(self) -> av.video.VideoStream:
        stream = picture_stream(self._container)
        if stream is None:
            raise HueglassError(f"{self._path}: has no video track, expected a video")
        if stream.codec_context is None:
            raise HueglassError(f"{self._path}: its video codec is unknown and cannot be decoded")
        stream.thread_type = "AUTO"
        return stream

    def _read_info(self, first: av.VideoFrame) -> VideoInfo:
        container, stream = self._container, self._stream
        duration = float(container.duration / av.time_base) if container.duration else None
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        count = stream.frames or None
        if count is None and duration and stream.average_rate:
            count = round(duration * stream.average_rate)
        try:
            color = frame_color(first)
        except HueglassError as error:
            raise HueglassError(f"{self._path}: {error}") from None
        # PyAV keeps a frame whose side data was read in a circle, megabytes until Python looks for such: a tiny one.
        matrix = first.reformat(width=16, height=16, format="gray").side_data.get("DISPLAYMATRIX")
        return VideoInfo(
            path=self._path,
            width=first.width,
            height=first.height,
            time_base=stream.time_base,
            rate=stream.average_rate,
            frame_count=count,
            duration=duration,
            rotation=first.rotation,
            display_matrix=tuple(memoryview(bytes(matrix)).cast("i")) if matrix is not None else None,
            pixel_aspect=stream.sample_aspect_ratio or None,
            color=color,
            codec=stream.codec_context.name,
            has_audio=bool(container.streams.audio),
        )

    def _look_through(self, every: float) -> bool:
        """Set the decoder for a first look; whether frames that can be decoded alone suffice, and no others are."""
        with open_container(self._path) as container:
            clock = [
                (float(packet.pts * packet.time_base), packet.is_keyframe)
                for packet in read_packets(container, lambda: None)
                if packet.stream_index == self._stream.index and packet.pts is not None
            ]
        ends = [time for time, is_key in clock if is_key] + [max((time for time, _ in clock), default=0.0)]
        alone = bool((np.diff(np.sort(ends)) <= SPARSE * every).all())
        context = self._stream.codec_context
        context.skip_frame = "NONKEY" if alone else "NONREF"
        context.options = {"skip_loop_filter": "all"}
        return alone

    def _is_due(self, time: float) -> bool:
        """Of a first look: whether so much time has passed that it is another frame's turn."""
        due = time >= self._due
        if due and self._every is not None:
            self._due = time + self._every
        return due

    def _count_error(self) -> None:
        self._errors += 1

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in read_packets(self._container, self._count_error):
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._end = max(self._end, end)
            if packet.stream_index == self._stream.index:
                self._skipped += packet.is_discard
                if self._alone and not (packet.is_keyframe and self._is_due(float(self._end))):
                    continue
                yield from self._decode_packet(packet)
        yield from self._decode_packet(None)

    def _decode_packet(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """The pictures that this packet completes (None: those still held); none if it cannot be decoded."""
        try:
            pictures = self._stream.decode(packet)
        except (av.FFmpegError, OSError):
            self._count_error()
            return []
        whole = [picture for picture in pictures if not picture.is_corrupt]
        self._errors += len(pictures) - len(whole)
        return whole

    def _frame(self, image: AnyImage, picture: av.VideoFrame) -> Frame[AnyImage]:  # type: ignore[misc]  # covariant
        """The image at its place in time."""
        info = self.info
        if (picture.width, picture.height) != (info.width, info.height):
            raise HueglassError(
                f"{self._path}: changes its size from {info.width}x{info.height} to "
                f"{picture.width}x{picture.height} midway, expected one size"
            )
        pts = self._pts(picture)
        index, self._shown = self._shown, self._shown + 1
        duration = float((picture.duration or 0) * info.time_base)
        return Frame(image, float(pts * info.time_base), index, duration, info.orientation)

    def _pts(self, picture: av.VideoFrame) -> int:
        """The picture's own timestamp in ticks; one that is missing or goes back follows the one before."""
        pts = None if picture.pts is None else picture.pts - self._origin
        if self._last_pts is not None and (pts is None or pts <= self._last_pts):
            pts = self._last_pts + max(1, picture.duration or round(1 / self._rate / self.info.time_base))
        self._last_pts = pts or 0
        return self._last_pts
