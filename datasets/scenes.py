"""Everything in a folder of data that shows something: photographs, views of panoramas, frames of clips, by name.

A photograph's name is its path below the folder; a view or a frame has that of its file and a number: what is said of
`panoramas/hill.hdr#07` can be found again without a copy of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hueglass.infer.media.images import READ_SUFFIXES, read_image
from hueglass.infer.media.source import open_source, spread_frames

from .panoramas import SUFFIX as PANORAMA_SUFFIX
from .panoramas import Camera, exposed, read_panorama, view
from .photos import files_below

CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
SHOWN_SUFFIXES = (*READ_SUFFIXES, PANORAMA_SUFFIX, *CLIP_SUFFIXES)
FRAMES = 24
"""Of a clip, evenly spread."""
SIDE = 480
"""Pixels of a view of a panorama, which is WIDE degrees wide and as high."""
WIDE = 90.0
CAMERAS = tuple(
    Camera(yaw, pitch, WIDE, SIDE, SIDE)
    for pitch, turns in ((0, 12), (35, 6), (-35, 6))
    for yaw in np.linspace(-180, 180, turns, endpoint=False)
)
STOPS = -1.0
"""The exposure at which views are shown: skies are not white any more, and rooms not yet dark."""


@dataclass(frozen=True)
class Shown:
    """A picture (H, W, 3) uint8 sRGB and its name."""

    name: str
    image: np.ndarray


def shown_files(folder: Path) -> list[Path]:
    """Every file below a folder that shows something, sorted. Errors as `files_below`."""
    return files_below(folder, SHOWN_SUFFIXES, "photograph, panorama or clip")


def names_in(path: Path, name: str) -> list[str]:
    """The names of all that a file called `name` shows; of a clip that is shorter some are not there."""
    suffix = path.suffix.lower()
    if suffix == PANORAMA_SUFFIX:
        return _numbered(name, len(CAMERAS))
    return _numbered(name, FRAMES) if suffix in CLIP_SUFFIXES else [name]


def shown_in(path: Path, name: str, stops: float = STOPS) -> Iterator[Shown]:
    """All that a file called `name` shows, panoramas at that exposure. HueglassError if it cannot be read."""
    suffix = path.suffix.lower()
    if suffix == PANORAMA_SUFFIX:
        yield from _views(path, name, stops)
    elif suffix in CLIP_SUFFIXES:
        with open_source(path) as source:
            for own, frame in zip(_numbered(name, FRAMES), spread_frames(source, FRAMES), strict=False):
                yield Shown(own, frame.image)
    else:
        yield Shown(name, read_image(path))


def _views(path: Path, name: str, stops: float) -> Iterator[Shown]:
    panorama = read_panorama(path)
    for own, camera in zip(_numbered(name, len(CAMERAS)), CAMERAS, strict=True):
        yield Shown(own, exposed(view(panorama, camera), panorama.middle, stops))


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}#{i:02d}" for i in range(count)]
