"""The pairs to measure on, and the pictures that methods made of them, lying in folders.

DIR/content/NN.jpg   DIR/style/NN.jpg   DIR/content_mask/NN.png   DIR/style_mask/NN.png   DIR/official/NN.jpg
OUTPUTS/NN.png       one method's pictures (.jpg, .jpeg and .webp as well); a pair may be missing
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.images import IMAGE_SUFFIXES, read_image
from hueglass.infer.regions.masks import MINIMUM_PIXELS, SIZE_TOLERANCE, Mask, read_mask

OFFICIAL = "Luan et al. 2017"
"""The name of the paper's own results among the methods."""
MINIMUM_SIDE = 16
"""Metrics look through windows of up to 9 pixels."""
MAX_NAME = 40
"""Letters in the name of a method: it heads the columns of tables."""


@dataclass(frozen=True)
class Pair:
    """Pictures uint8 sRGB; `official` is the paper's own result, at the content's size.

    `maps` and `style_maps`, boolean (R, H, W), are the regions that both sides have, `regions` their names.
    """

    name: str
    content: np.ndarray
    style: np.ndarray
    official: np.ndarray
    mask: Mask
    style_mask: Mask
    regions: tuple[str, ...]
    maps: np.ndarray
    style_maps: np.ndarray


def pair_names(folder: Path) -> list[str]:
    """Names of the pairs in a folder, sorted. UsageError if it is no such folder."""
    names = sorted(file.stem for file in (folder / "content").glob("*.jpg"))
    if not names:
        raise UsageError(f"{folder}: no pairs here, expected content/NN.jpg, style/NN.jpg and their masks")
    for name in names:
        if not name.isprintable():
            raise UsageError(f"{folder}: a pair is named {name!a}, expected letters that can be printed")
    return names


def load_pair(folder: Path, name: str) -> Pair:
    """One pair, with its masks. Errors as `read_image` and `read_mask`; HueglassError if no region is on both sides."""
    content, style, official = (read_image(folder / kind / f"{name}.jpg") for kind in ("content", "style", "official"))
    if min(content.shape[:2]) < MINIMUM_SIDE:
        found = f"{content.shape[1]}x{content.shape[0]}"
        raise HueglassError(f"{folder}: the content of pair {name} is {found}, expected {MINIMUM_SIDE} or more a side")
    mask = read_mask(folder / "content_mask" / f"{name}.png", content.shape[:2])
    style_mask = read_mask(folder / "style_mask" / f"{name}.png", style.shape[:2])
    official = cv2.resize(official, content.shape[1::-1], interpolation=cv2.INTER_AREA)
    parts, style_parts = _regions(mask), _regions(style_mask)
    both = tuple(region for region in parts if region in style_parts)
    if not both:
        raise HueglassError(f"{folder}: the masks of pair {name} have no region in common, expected at least one")
    maps, style_maps = (np.stack([p[region] for region in both]) for p in (parts, style_parts))
    return Pair(name, content, style, official, mask, style_mask, both, maps, style_maps)


def _regions(mask: Mask) -> dict[str, np.ndarray]:
    counts = np.bincount(mask.labels.ravel(), minlength=len(mask.names))
    return {name: mask.labels == n for n, name in enumerate(mask.names) if counts[n] > MINIMUM_PIXELS}


@dataclass(frozen=True)
class OutputFolder:
    """One method's pictures: its name, and the file for each pair that it has one of."""

    name: str
    files: dict[str, Path]

    def read(self, pair: str, size: tuple[int, int]) -> np.ndarray:
        """The output for a pair whose content is of (height, width) `size`: (H, W, 3) uint8 of that size.

        Outputs a pixel or two off are resized. UsageError for any other size, else errors as `read_image`.
        """
        image = read_image(self.files[pair])
        height, width = size
        if max(abs(image.shape[0] - height), abs(image.shape[1] - width)) > SIZE_TOLERANCE:
            found = f"{image.shape[1]}x{image.shape[0]}"
            raise UsageError(f"{self.files[pair]}: is {found}, expected {width}x{height} like its content")
        if image.shape[:2] == size:
            return image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def output_folders(arguments: Sequence[str], names: Sequence[str], taken: Sequence[str] = ()) -> list[OutputFolder]:
    """Folders of outputs, each given as FOLDER or NAME=FOLDER, for the pairs `names`.

    UsageError for a missing folder, one without a picture of any pair, or a name that is in use or in `taken`.
    """
    folders: list[OutputFolder] = []
    for argument in arguments:
        name, folder = _named(argument)
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise UsageError(f"{argument}: the method's name is {name!r}, expected 1 to {MAX_NAME} letters")
        if name in (*taken, *(f.name for f in folders)):
            raise UsageError(f"{argument}: there is a method named {name!r} already, expected another NAME=FOLDER")
        folders.append(OutputFolder(name, output_files(folder, names)))
        if not folders[-1].files:
            raise UsageError(f"{folder}: no picture is named like a pair, expected {names[0]}.png and so on")
    return folders


def _named(argument: str) -> tuple[str, Path]:
    """Name of the method and its folder; a folder whose own name has an equals sign is taken as it is."""
    name, equals, folder = argument.partition("=")
    if not equals or Path(argument).is_dir():
        name, folder = Path(argument).resolve().name, argument
    if not Path(folder).is_dir():
        raise UsageError(f"{folder}: no such folder, expected one with a method's pictures")
    return name.strip(), Path(folder)


def output_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The picture in `folder` of each pair that has one. UsageError if a pair has two."""
    found: dict[str, Path] = {}
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise HueglassError(f"{folder}: cannot be read: {error.strerror}") from None
    for file in files:
        if file.stem not in names or file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if file.stem in found:
            raise UsageError(f"{folder}: holds {found[file.stem].name} and {file.name}, expected one picture a pair")
        found[file.stem] = file
    return found
