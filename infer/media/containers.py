"""Opening video files, the one way that all of hueglass opens them."""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import av.container
import av.video

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file

# Only these, so that a text file, a still picture or a playlist that names other files is not taken for a video.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,gif,mxf,nut,ivf,h264,hevc,m4v,mpegvideo,yuv4mpegpipe"

_MAX_READ_ERRORS = 64
"""Reading goes on after an error this many times: past that, the rest of the file is given up."""


def open_container(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """The media file at `path`, opened for reading.

    UsageError for a missing file or a directory, HueglassError for one that is empty, damaged or not media.
    """
    path = existing_file(path)
    try:
        # "file:" keeps a colon in the name from being read as a protocol.
        return av.open(f"file:{path}", options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise HueglassError(f"{path}: is not a video that can be read, or its index is missing") from error


def picture_stream(container: av.container.InputContainer) -> av.video.VideoStream | None:
    """The first video track that moves: cover art is a picture and not a video."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def read_packets(container: av.container.InputContainer, on_error: Callable[[], None]) -> Iterator[av.Packet]:
    """Every packet up to the end of the file, past what cannot be read; `on_error` hears of each such place."""
    for _ in range(_MAX_READ_ERRORS):
        try:
            for packet in container.demux():
                if packet.size:
                    yield packet
            return
        except (av.FFmpegError, OSError):
            on_error()


def clock_origin(container: av.container.InputContainer) -> Fraction:
    """Seconds on the file's clock that count as 0, for every track alike.

    0, so that every timestamp is kept; except in broadcast formats, whose clock starts anywhere.
    """
    if not container.format.flags & av.format.Flags.ts_discont.value or container.start_time is None:
        return Fraction(0)
    return Fraction(container.start_time, av.time_base)


def matroska_cut_short(path: str | os.PathLike[str]) -> bool:
    """Whether a Matroska or WebM file is shorter than its segment says; False for any other file."""
    with open(path, "rb") as file:
        head = file.read(256)
    try:
        size, start = _ebml_size(head, 4)  # the header that names the format, then the segment: all the rest
        segment = start + size
        size, start = _ebml_size(head, segment + 4)
    except IndexError:
        return False
    if head[:4] != b"\x1a\x45\xdf\xa3" or head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return False
    return os.path.getsize(path) < start + size


def _ebml_size(head: bytes, at: int) -> tuple[int, int]:
    """The size of the element whose size field is at `at`, 0 if left open; and where its content starts.

    RFC 8794: the zero bits at the front say how many bytes follow; all other bits set means unknown.
    """
    extra = 8 - head[at].bit_length()
    bits = 7 + 7 * extra
    size = int.from_bytes(head[at : at + 1 + extra], "big") & ((1 << bits) - 1)
    return (0 if size == (1 << bits) - 1 else size), at + 1 + extra
