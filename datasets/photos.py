"""Photographs for training, held in memory at training size, with labels where somebody made some."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from zlib import crc32

import cv2
import numpy as np

from hueglass.datasets.street.film import LABELS, make_street, render_street
from hueglass.infer.errors import UsageError
from hueglass.infer.media.images import READ_SUFFIXES, read_image
from hueglass.infer.regions.masks import read_labels
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.resize import covering

from .masks import camvid_regions
from .region_labels import RegionLabel, read_region_labels

PHOTO_LABELS = Path(__file__).with_name("photo_labels.npz")
"""Labels of the Berkeley photographs, by superpixels: arrays (h, w) uint8 by "folder/name", smaller than the photos."""


@dataclass(frozen=True)
class Photo:
    """`image` HxWx3 uint8 sRGB; `labels` HxW uint8 into REGION_NAMES or masks.UNKNOWN, None where nobody labelled it.

    `filmed` ones are frames of a sequence: their neighbours look the same.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None = None
    filmed: bool = False


LAST_ANIMAL = 2655020
"""The highest number of an animal among ImageNet's thousand classes (WordNet's puffer): things come after."""
Relabel = Callable[[np.ndarray], np.ndarray]
"""From CamVid's numbers (H, W) uint8 to labels."""
NO_LABELS: Mapping[Path, RegionLabel] = MappingProxyType({})


def load_folders(
    names: list[str], folder: Path | None, side: int, camvid: Relabel = camvid_regions, labels: Path | None = None
) -> list[Photo]:
    """The pictures of folders below a data folder, with `labels` (a folder of what `hueglass label` wrote) of those
    that nobody labelled by hand. UsageError if there are any and nobody says where it is, or if a label is of another
    picture than the one there is."""
    if names and folder is None:
        raise UsageError(f"the configuration names photographs ({names[0]}): say where they are with --data DIR")
    root = Path(folder or ".")
    known = {} if labels is None else {root / label.name: label for label in read_region_labels(labels)}
    return [photo for name in names for photo in load_photos(root / name, side, camvid, known)]


def load_photos(
    folder: Path, side: int, camvid: Relabel = camvid_regions, known: Mapping[Path, RegionLabel] = NO_LABELS
) -> list[Photo]:
    """Every picture below `folder`, its shorter side at most `side` pixels, sorted by name.

    A folder with a neighbour of the same name and "_label" is a CamVid split: its labels come along, read by `camvid`,
    and so do those of `photo_labels.npz`; of others those that are `known`. UsageError if the folder is missing or
    holds no picture, or if a label is of another picture.
    """

    def load(path: Path) -> Photo:
        labels = drawn_labels(path, camvid)
        if labels is None and path in known:
            labels = known[path].likeliest(path)
        return _load(path, side, labels, is_filmed(path))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, picture_files(folder)))


def picture_files(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted. Errors as `files_below`."""
    return files_below(folder, READ_SUFFIXES, "photograph")


def files_below(folder: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    """Every file below a folder with one of those suffixes, sorted. UsageError if it is missing or holds none."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder, expected one with a {what}")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    if not files:
        raise UsageError(f"{folder}: holds no {what} ({', '.join(sorted(suffixes))})")
    return files


def drawn_labels(path: Path, camvid: Relabel = camvid_regions) -> np.ndarray | None:
    """What people named in the picture at `path`, uint8 at a size of its own; None where nobody did.

    Those of a frame of CamVid lie beside its folder; the others are `photo_labels.npz`.
    """
    if is_filmed(path):
        return camvid(read_labels(_label_folder(path) / f"{path.stem}.png"))
    return photo_labels().get(f"{path.parent.name}/{path.stem}")


def is_filmed(path: Path) -> bool:
    """Whether a picture is a frame of CamVid."""
    return _label_folder(path).is_dir()


def shows_animal(path: Path) -> bool:
    """Whether a picture of ImageNet is one of an animal: names are n02099601_golden_retriever."""
    number = path.name[1:].split("_")[0]
    return path.name.startswith("n") and number.isdigit() and int(number) <= LAST_ANIMAL


def _label_folder(path: Path) -> Path:
    return Path(f"{path.parent.resolve()}_label")


def _load(path: Path, side: int, labels: np.ndarray | None, filmed: bool) -> Photo:
    """The picture and its labels, of whatever size, at training size."""
    image = read_image(path)
    small = covering(image, side)
    if labels is not None:
        labels = cv2.resize(labels, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return Photo(path.stem, small, labels, filmed)


@cache
def photo_labels() -> dict[str, np.ndarray]:
    """The labels of `photo_labels.npz` by "folder/name"."""
    with np.load(PHOTO_LABELS, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def street_photos(count: int, side: int) -> list[Photo]:
    """`count` procedural street frames with their true labels: data where there is none."""
    return [_street_photo(seed, side) for seed in range(count)]


def _street_photo(seed: int, side: int) -> Photo:
    image, labels = render_street(make_street(seed), 0.7 * seed, side * 4 // 3, side)
    table = np.array([REGION_NAMES.index(name) for name in LABELS], np.uint8)
    return Photo(f"street-{seed}", image, table[labels], filmed=True)


def held_out(name: str, every: int = 10) -> bool:
    """Whether the photo is one in `every` that no training sees: chosen by its name, the same on every machine."""
    return crc32(name.encode()) % every == 0


def split(photos: list[Photo], every: int = 10) -> tuple[list[Photo], list[Photo]]:
    """(training, held out)."""
    held = [held_out(p.name, every) for p in photos]
    return [p for p, h in zip(photos, held, strict=True) if not h], [p for p, h in zip(photos, held, strict=True) if h]
