"""Mask files: which part of a picture is what, as somebody has painted it.

Two kinds are read: the nine mask colours of Luan et al. 2017, and label images, whose numbers stand for themselves.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.images import picture_bytes
from hueglass.infer.resize import resized_square

from .regions import Regions, no_regions

MASK_COLOURS = {
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "grey": (128, 128, 128),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
MINIMUM_PIXELS = 10
"""A smaller region is a slip of the brush (the rule of Li et al. 2018, FastPhotoStyle)."""
SIZE_TOLERANCE = 2
"""Published masks are a pixel or two off their photographs."""


@dataclass(frozen=True)
class Mask:
    """A label image: `labels` HxW uint8 indexes `names`."""

    labels: np.ndarray
    names: tuple[str, ...]


def read_mask(path: Path, image_size: tuple[int, int]) -> Mask:
    """The mask file for a picture of (height, width) `image_size`, at that size.

    Colour masks and JPEG are read in the nine codes, grey and uncoloured palette files as label numbers. UsageError
    if the file is missing or its size is not the picture's, HueglassError if it cannot be read.
    """
    colours, numbers = _read_indexed(path)
    height, width = (colours if numbers is None else numbers).shape[:2]
    if max(abs(height - image_size[0]), abs(width - image_size[1])) > SIZE_TOLERANCE:
        expected = f"{image_size[1]}x{image_size[0]}"
        raise UsageError(f"{path}: the mask is {width}x{height}, expected {expected} like its picture")
    labels = _nearest_code(colours) if numbers is None else numbers
    names = tuple(MASK_COLOURS) if numbers is None else tuple(str(n) for n in range(256))
    if labels.shape != image_size:
        labels = cv2.resize(labels, image_size[::-1], interpolation=cv2.INTER_NEAREST)
    return Mask(labels, names)


def read_labels(path: Path) -> np.ndarray:
    """The numbers (H, W) uint8 of a label image: palette indices or grey values. Errors as `read_mask`."""
    frame, _ = _decode(path)
    return frame.to_ndarray()[0] if frame.format.name == "pal8" else _grey_numbers(frame)


def _read_indexed(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB colours (H, W, 3) and, where the file is a label image, its numbers (H, W)."""
    frame, kind = _decode(path)
    if frame.format.name == "pal8":
        numbers, palette = frame.to_ndarray()
        colours = palette[:, 1:4][numbers]  # libav keeps palettes as ARGB
        coloured = len(np.unique(palette[np.unique(numbers)], axis=0)) > 1
        return colours, None if coloured else numbers
    colours = frame.to_ndarray(format="rgb24")
    lossy = kind == "jpeg" or frame.format.name.startswith("yuv")
    if lossy or not (colours == colours[..., :1]).all():
        return colours, None
    numbers = _grey_numbers(frame)
    return colours, None if np.isin(np.unique(numbers), (0, 128, 255)).all() else numbers


def _grey_numbers(frame: av.VideoFrame) -> np.ndarray:
    """Grey values (H, W) uint8. 16-bit files hold either small numbers or 8-bit ones times 257."""
    if not frame.format.name.startswith("gray16"):
        grey: np.ndarray = frame.to_ndarray(format="gray")
        return grey
    numbers: np.ndarray = frame.to_ndarray()
    return (numbers if numbers.max() < 256 else numbers // 257).astype(np.uint8)


def _decode(path: Path) -> tuple[av.VideoFrame, str]:
    """The one frame of an image file, and the file's kind. (OpenCV would paint palettes over and lose the numbers.)"""
    data, header = picture_bytes(path)
    try:
        # The format is given and the content in memory: libav is not to guess, or to open what a file names.
        with av.open(io.BytesIO(data), format=f"{header.kind}_pipe") as container:
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            return next(container.decode(video=0)), header.kind
    except (av.FFmpegError, StopIteration, IndexError, ValueError):
        raise HueglassError(f"{path}: cannot be read as an image, expected a mask") from None


def _nearest_code(colours: np.ndarray) -> np.ndarray:
    codes = np.array(list(MASK_COLOURS.values()), np.float32)
    labels = np.empty(colours.shape[:2], np.uint8)
    for row, pixels in enumerate(colours):  # row by row: the distances take 36 bytes a pixel
        distance = (codes**2).sum(1) - 2 * pixels.astype(np.float32) @ codes.T  # |p - c|^2 less |p|^2
        labels[row] = distance.argmin(1)
    return labels


def regions_of(mask: Mask, size: int) -> Regions:
    """Soft maps over a thumbnail of the mask's labels, largest first. Slips of the brush join the largest."""
    counts = np.bincount(mask.labels.ravel(), minlength=len(mask.names))
    present = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i] > MINIMUM_PIXELS]
    if not present:
        return no_regions(size)
    labels = np.where(np.isin(mask.labels, present), mask.labels, present[0])
    maps = np.stack([resized_square((labels == i).astype(np.float32), size) for i in present])
    return Regions(maps / maps.sum(0), tuple(mask.names[i] for i in present))
