"""What the segmenter learns from: pictures with soft maps of their regions, drawn by people or said by its teachers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hueglass.datasets import panoramas
from hueglass.datasets.masks import UNKNOWN, camvid_known
from hueglass.datasets.photos import Photo, drawn_labels, held_out, is_filmed, shows_animal
from hueglass.datasets.region_labels import RegionLabel, in_bytes, read_region_labels
from hueglass.datasets.scenes import CLIP_SUFFIXES, STOPS, shown_files, shown_in
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.resize import covering, resized_square

Kind = Literal["photograph", "film", "clip", "panorama"]
EXPOSURES = (-3.0, STOPS, 0.0, 1.0)
"""Stops at which a panorama is seen: light does not change what a thing is."""
MAP = 128
"""Pixels of a side of the maps of what people drew."""


@dataclass(frozen=True)
class Lesson:
    """`image` (H, W, 3) uint8 sRGB and, over it, `maps` (8, M, M) uint8, probabilities of REGION_NAMES in 255ths.

    Together they are less than 1 where nobody knows. Of films, whose frames people labelled, of clips and of panoramas
    many are alike.
    """

    name: str
    image: np.ndarray
    maps: np.ndarray
    kind: Kind = "photograph"


def load_lessons(folders: list[str], data: Path, side: int, labels: Path | None) -> list[Lesson]:
    """Of all that the folders below `data` show, what is labelled and not held out; shorter sides at most `side`.

    What people drew counts where there is no folder of `labels`, which holds it already. Panoramas come at all
    EXPOSURES. UsageError for a folder that shows nothing, or if a label is of another picture than the one there is.
    """
    known = {} if labels is None else {label.name: label for label in read_region_labels(labels)}
    files = [path for folder in folders for path in shown_files(data / folder) if not _held_out(path)]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda path: list(_lessons(path, path.relative_to(data).as_posix(), side, known)), files)
        return [lesson for lessons in found for lesson in lessons]


def _held_out(path: Path) -> bool:
    """Frames of films are not: the next frame, which is trained on, looks the same."""
    kind = _kind(path)
    return path.stem in panoramas.HELD_OUT if kind == "panorama" else kind == "photograph" and held_out(path.stem)


def _kind(path: Path) -> Kind:
    if path.suffix.lower() == panoramas.SUFFIX:
        return "panorama"
    if path.suffix.lower() in CLIP_SUFFIXES:
        return "clip"
    return "film" if is_filmed(path) else "photograph"


def _lessons(path: Path, name: str, side: int, known: dict[str, RegionLabel]) -> Iterator[Lesson]:
    kind = _kind(path)
    for stops in EXPOSURES if kind == "panorama" else (STOPS,):
        for shown in shown_in(path, name, stops):
            maps = _maps(path, known.get(shown.name))
            if maps is not None and maps.any():
                yield Lesson(shown.name, covering(shown.image, side), maps, kind)


def _maps(path: Path, label: RegionLabel | None) -> np.ndarray | None:
    if label is not None:
        label.check(path)
        return without_people(label.maps) if shows_animal(path) else label.maps
    drawn = drawn_labels(path, camvid_known)
    return None if drawn is None else drawn_maps(drawn)


def without_people(maps: np.ndarray) -> np.ndarray:
    """The maps with nobody knowing what is there where teachers say person: they take dogs and storks for people."""
    doubted = maps.copy()
    doubted[REGION_NAMES.index("person")] = 0
    return doubted


def drawn_maps(labels: np.ndarray) -> np.ndarray:
    """A label image (H, W) uint8 as (8, MAP, MAP) uint8."""
    maps = [resized_square((labels == region).astype(np.float32), MAP) for region in range(len(REGION_NAMES))]
    return in_bytes(np.stack(maps))


def lesson_of(photo: Photo) -> Lesson | None:
    """A photograph and what people drew of it; None where they drew nothing."""
    if photo.labels is None or (photo.labels == UNKNOWN).all():
        return None
    return Lesson(photo.name, photo.image, drawn_maps(photo.labels), "film" if photo.filmed else "photograph")
