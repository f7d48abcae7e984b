"""What a picture file says of itself before a pixel is decoded: size, orientation, and whether it is whole.

A decoder believes the header and allocates; it also tends to fill a truncated picture with grey and carry on.
So both questions are answered here first, from the bytes. Only structure is read, nothing is decompressed.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274


@dataclass(frozen=True)
class ImageHeader:
    """`kind` jpeg, png, webp, bmp or tiff; size in stored pixels; EXIF `orientation` 1 to 8."""

    kind: str
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader | None:
    """Header of the picture file `data`, or None if it is of no known kind.

    Raises ValueError, with the reason in a few words, for a file that is cut short or damaged.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:2] == b"BM":
            return _bmp(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            tags = _tiff_tags(data)
            return ImageHeader("tiff", tags[_WIDTH], tags[_HEIGHT], tags.get(_ORIENTATION, 1))
    except (struct.error, IndexError, KeyError):
        raise ValueError("is cut short or damaged") from None
    return None


def _jpeg(data: bytes) -> ImageHeader:
    width = height = components = 0
    orientation, adobe = 1, False
    for marker, start, end in _jpeg_segments(data):
        if marker in _START_OF_FRAME:
            height, width, components = struct.unpack_from(">HHB", data, start + 1)
        elif marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = _exif_orientation(data[start + 6 : end])
        elif marker == 0xEE and data[start : start + 5] == b"Adobe":
            adobe = True
        elif marker == 0xDA and data.find(b"\xff\xd9", end) < 0:
            raise ValueError("is cut short: the end-of-image marker is missing")
    if components == 4 and not adobe:
        # Without the marker, nothing says whether 0 means full ink or none.
        raise ValueError("is a CMYK JPEG without the Adobe marker, expected RGB")
    return ImageHeader("jpeg", width, height, orientation)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's content, up to and including the first start of scan.

    An embedded thumbnail has an end-of-image marker of its own: only after the segments does one count.
    """
    at = 2
    marker = 0
    while marker != 0xDA:
        at = data.find(b"\xff", at)
        if at < 0:
            raise ValueError("is cut short: no scan follows the headers")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _BARE_MARKERS or marker == 0:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        yield marker, at + 2, at + length
        at += length


def _png(data: bytes) -> ImageHeader:
    """Every chunk carries a CRC: checking them finds any damage, and the last chunk is IEND."""
    width, height = struct.unpack_from(">II", data, 16)
    orientation, at, name = 1, 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        body = memoryview(data)[at + 4 : at + 8 + length]
        if zlib.crc32(body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise ValueError("is damaged: a PNG checksum does not match")
        if name == b"eXIf":
            orientation = _exif_orientation(bytes(body[4:]))
        at += 12 + length
    return ImageHeader("png", width, height, orientation)


def _webp(data: bytes) -> ImageHeader:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if len(data) < end:
        raise ValueError("is cut short")
    width = height = 0
    orientation, at = 1, 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if name == b"VP8X":
            width = 1 + int.from_bytes(body[4:7], "little")
            height = 1 + int.from_bytes(body[7:10], "little")
        elif name == b"VP8 " and not width:
            width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", body, 6))
        elif name == b"VP8L" and not width:
            bits = struct.unpack_from("<I", body, 1)[0]
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif name == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return ImageHeader("webp", width, height, orientation)


def _bmp(data: bytes) -> ImageHeader:
    old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return ImageHeader("bmp", width, abs(height))


def _exif_orientation(tiff: bytes) -> int:
    """1 to 8. EXIF that cannot be read counts as upright: it is often badly written, and the picture fine."""
    try:
        orientation = _tiff_tags(tiff).get(_ORIENTATION, 1)
    except (struct.error, IndexError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_tags(tiff: bytes) -> dict[int, int]:
    """The single SHORT and LONG values of the first directory."""
    order = "<" if tiff[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    tags = {}
    for i in range(struct.unpack_from(order + "H", tiff, start)[0]):
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, start + 2 + 12 * i)
        if count == 1 and kind in (3, 4):
            tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, start + 10 + 12 * i)[0]
    return tags
