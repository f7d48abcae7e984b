"""Pictures on disk: read as uint8 sRGB the right way up, written whole or not at all."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file, whole_file, writable_place

from .image_header import ImageHeader, read_header

MAX_PIXELS = 1 << 28
"""Larger pictures are refused from the header alone: a small file can claim any size."""
MAX_FILE_BYTES = 1 << 31
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""What `write_image` writes."""
READ_SUFFIXES = (*IMAGE_SUFFIXES, ".bmp", ".tif", ".tiff")
"""What `read_image` reads."""

_QUALITY = {
    ".jpg": [
        *(cv2.IMWRITE_JPEG_QUALITY, 95),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ],
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}
_QUALITY[".jpeg"] = _QUALITY[".jpg"]
_stderr_lock = threading.Lock()


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture at `path`, (H, W, 3) uint8 RGB in sRGB: JPEG, PNG, WebP, BMP or TIFF.

    The EXIF orientation is applied. Grey becomes RGB, 16 bits are rounded to 8, Adobe CMYK is converted
    without its ink profile, and transparency is laid on white, as a page shows it. An embedded colour profile
    is not applied: the numbers are taken as sRGB.

    Raises UsageError for a missing file or a directory; HueglassError for content that is empty, cut short,
    damaged, too large (MAX_PIXELS) or no picture.
    """
    path = Path(path)
    data, header = picture_bytes(path)
    with _quiet_codec() as warnings:
        pixels = _decode(data, header)
    if pixels is None or any("premature end" in line for line in warnings):
        raise HueglassError(f"{path}: is cut short or damaged, expected a whole {header.kind} picture")
    if pixels.dtype == np.uint16:
        # 65535 / 257 is 255 exactly, and a multiple of 1 / 257 is never half-way: this rounds correctly.
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.dtype != np.uint8:
        raise HueglassError(f"{path}: has {pixels.dtype} samples, expected 8 or 16 bits")
    image: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return image


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes `image`, (H, W, 3) uint8 RGB in sRGB, as .jpg, .png or .webp by the extension of `path`.

    JPEG and WebP at quality 95, JPEG without chroma subsampling. The file appears whole or not at all.
    Raises UsageError for an unknown extension or a missing folder; HueglassError for an image of another
    shape, a size the format cannot hold, or a disk that is full.
    """
    suffix = Path(path).suffix.lower()
    writable_place(path, IMAGE_SUFFIXES)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise HueglassError(f"{path}: is to hold {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    try:
        with _quiet_codec():
            done, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY[suffix])
    except cv2.error:
        done = False
    if not done:
        raise HueglassError(f"{path}: {suffix} cannot hold {image.shape[1]}x{image.shape[0]} pixels")
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded)


def picture_bytes(path: str | os.PathLike[str]) -> tuple[bytes, ImageHeader]:
    """The file of a picture, not decoded, and its header. Errors as `read_image`."""
    path = existing_file(path)
    data = _read_bytes(path)
    return data, _checked_header(path, data)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise HueglassError(f"{path}: is over {MAX_FILE_BYTES >> 30} GiB, expected a picture")
        return path.read_bytes()
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror}") from error


def _checked_header(path: Path, data: bytes) -> ImageHeader:
    try:
        header = read_header(data)
    except ValueError as error:
        raise HueglassError(f"{path}: {error}") from error
    if header is None:
        raise HueglassError(f"{path}: is not a picture, expected JPEG, PNG, WebP, BMP or TIFF")
    if min(header.width, header.height) < 1 or header.width * header.height > MAX_PIXELS:
        raise HueglassError(f"{path}: claims {header.width}x{header.height} pixels, expected at most {MAX_PIXELS}")
    return header


def _decode(data: bytes, header: ImageHeader) -> np.ndarray | None:
    """(H, W, 3) BGR, uint8 or deeper, upright and opaque; None if it cannot be decoded."""
    raw = np.frombuffer(data, np.uint8)
    try:
        if header.kind not in ("png", "webp"):
            return cv2.imdecode(raw, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        pixels = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        return None
    if pixels is None:
        return None
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        pixels = _on_white(pixels)
    return _upright(pixels, header.orientation)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Straight alpha (H, W, 4) over white, (H, W, 3), same depth, rounded."""
    white = np.iinfo(pixels.dtype).max
    out = np.empty((*pixels.shape[:2], 3), pixels.dtype)
    for source, target in zip(pixels, out, strict=True):  # by rows: the products take four times the memory
        colour, alpha = source[:, :3].astype(np.uint32), source[:, 3:].astype(np.uint32)
        target[:] = (colour * alpha + white * (white - alpha) + white // 2) // white
    return out


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation, 1 to 8: OpenCV does not when it is asked to keep the alpha channel."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _quiet_codec() -> Iterator[list[str]]:
    """Keeps the C libraries off the terminal; fills the list with what they said.

    libjpeg and libpng write straight to file descriptor 2, and that text is the only sign that a JPEG was
    completed with grey. The descriptor belongs to the whole process, so it is borrowed under a lock.
    """
    lines: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as heard:
        terminal = os.dup(2)
        try:
            os.dup2(heard.fileno(), 2)
            yield lines
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
        heard.seek(0)
        lines += heard.read().decode(errors="replace").splitlines()
