"""One pair's way through the teacher: from its files to the bytes of a training target."""

import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from hueglass import __version__
from hueglass.datasets.masks import camvid_regions
from hueglass.datasets.pairs import Pair
from hueglass.datasets.targets import Target, encode
from hueglass.infer.errors import HueglassError, failure
from hueglass.infer.media.images import read_image
from hueglass.infer.regions.masks import Mask, read_labels
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.resize import reduced_size
from hueglass.train.features import Features, load_features
from hueglass.train.grades import GradeConfig, grade, random_grades

from .config import TeacherConfig
from .regions import RegionPair, match_regions, whole_pair
from .teacher import Taught, teach_batch

BATCH = 16
"""Pairs that a GPU works on together."""
WAITING = 8 * BATCH
"""Pairs that wait at most for others of their size."""
GRADES = GradeConfig(exposure=0.35, balance=0.12, contrast=0.4, saturation=0.35, hue=0.08, tint=0.05)
"""Milder than those that students train under: a graded style is still to be a light that one would choose."""


_features = cache(load_features)


@dataclass(frozen=True)
class Work:
    """What all pairs have in common; it travels to other processes and machines, which must see the same files."""

    data: Path
    config: TeacherConfig
    weights: Path | None
    device: str = "cpu"

    def features(self) -> Features:
        """The network, loaded once in a process."""
        return _features(self.config.features, self.weights, self.device)

    def identity(self) -> dict[str, Any]:
        """What every target of a store was made with."""
        return {"version": 1, "teacher": self.config.model_dump(mode="json"), "weights": self.features().fingerprint}


Outcome = tuple[Pair, bytes | HueglassError]
"""A pair and its target, encoded, or the reason why there is none."""
Outcomes = Generator[Outcome, None, None]
"""As they come, in any order; closing it ends the work."""


@dataclass(frozen=True)
class LoadedPair:
    """A pair's pictures, uint8 sRGB, no side longer than the teacher's size, and their regions."""

    pair: Pair
    content: np.ndarray
    style: np.ndarray
    regions: RegionPair
    names: tuple[str, ...]
    style_labels: np.ndarray


def teach_pair(work: Work, pair: Pair) -> bytes | HueglassError:
    """The whole way. Whatever goes wrong with one pair is a reason: the run goes on."""
    ((_, outcome),) = teach_in_batches([pair], work)
    return outcome


def teach_in_batches(pairs: Iterable[Pair], work: Work) -> Outcomes:
    """In this process, BATCH contents of equal size at a time."""
    groups: dict[tuple[int, ...], list[LoadedPair]] = defaultdict(list)
    for pair in pairs:
        try:
            loaded = load_pair(pair, work)
        except Exception as error:
            yield pair, failure(error)
            continue
        groups[loaded.content.shape].append(loaded)
        fullest = max(groups, key=lambda shape: len(groups[shape]))
        if len(groups[fullest]) == BATCH or sum(map(len, groups.values())) == WAITING:
            yield from _taught(groups.pop(fullest), work)
    for group in groups.values():
        yield from _taught(group, work)


def _taught(group: list[LoadedPair], work: Work) -> Outcomes:
    """Pairs whose contents are of one size, together; where that fails as a whole, one by one."""
    began = time.monotonic()
    items = [(s.content, s.style, s.regions) for s in group]
    try:
        results: Sequence[Taught | Exception] = teach_batch(items, work.config, work.features())
    except Exception as error:
        if len(group) > 1:
            for loaded in group:
                yield from _taught([loaded], work)
            return
        results = [error]
    seconds = (time.monotonic() - began) / len(group)
    for loaded, taught in zip(group, results, strict=True):
        yield loaded.pair, _outcome(loaded, taught, work, seconds)


def _outcome(loaded: LoadedPair, taught: Taught | Exception, work: Work, seconds: float) -> bytes | HueglassError:
    try:
        return failure(taught) if isinstance(taught, Exception) else _encoded(loaded, taught, work, seconds)
    except Exception as error:
        return failure(error)


def load_pair(pair: Pair, work: Work) -> LoadedPair:
    """The pair's files at the teacher's size, the style graded. HueglassError if one cannot be used."""
    content, style = (read_image(work.data / name) for name in (pair.content, pair.style))
    sizes = [reduced_size(image.shape, work.config.size) for image in (content, style)]
    small, small_style = (_resize(x, size, cv2.INTER_AREA) for x, size in zip((content, style), sizes, strict=True))
    if pair.grade_seed is not None:
        small_style = graded(small_style, pair.grade_seed)
    if pair.content_labels is None or pair.style_labels is None:
        whole = whole_pair(small.shape[:2], small_style.shape[:2])
        return LoadedPair(pair, small, small_style, whole, whole.names, np.zeros(small_style.shape[:2], np.uint8))
    numbers = [_labels(work.data / pair.content_labels, content), _labels(work.data / pair.style_labels, style)]
    labels, style_labels = (_resize(x, size, cv2.INTER_NEAREST) for x, size in zip(numbers, sizes, strict=True))
    regions = match_regions(Mask(labels, REGION_NAMES), Mask(style_labels, REGION_NAMES))
    names, style_labels = _common_names(regions, style_labels)
    return LoadedPair(pair, small, small_style, regions, names, style_labels)


def _labels(path: Path, image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 into REGION_NAMES."""
    labels = camvid_regions(read_labels(path))
    if labels.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise HueglassError(f"{path}: is {labels.shape[1]}x{labels.shape[0]}, expected {width}x{height}: its picture's")
    return labels


def _common_names(regions: RegionPair, style_labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The content's names, then those that only the style has; and the style's labels as indices into them."""
    present = [REGION_NAMES[n] for n in np.unique(style_labels)]
    names = regions.names + tuple(name for name in present if name not in regions.names)
    table = np.zeros(256, np.uint8)
    for name in present:
        table[REGION_NAMES.index(name)] = names.index(name)
    return names, table[style_labels]


def _resize(image: np.ndarray, size: tuple[int, int], way: int) -> np.ndarray:
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=way)


def graded(image: np.ndarray, seed: int) -> np.ndarray:
    """A uint8 picture under the photographic grade that `seed` draws, the same on every machine."""
    dials = random_grades((1,), GRADES, torch.Generator().manual_seed(seed))
    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    out = grade(picture, dials[..., None, None])[0].permute(1, 2, 0)
    return (out * 255 + 0.5).to(torch.uint8).numpy()


def _encoded(loaded: LoadedPair, taught: Taught, work: Work, seconds: float) -> bytes:
    provenance = {
        "pair": loaded.pair.model_dump(exclude_none=True),
        **work.identity(),
        "config": sha256(work.config.model_dump_json().encode()).hexdigest()[:16],
        "hueglass": __version__,
        "torch": torch.__version__,
        "seconds": round(seconds, 2),
    }
    labels = loaded.regions.maps.argmax(0).astype(np.uint8)
    return encode(
        Target(
            name=loaded.pair.name,
            content=loaded.content,
            target=taught.image,
            style=loaded.style,
            grid=taught.grid,
            names=loaded.names,
            labels=labels,
            style_labels=loaded.style_labels,
            unmatched=loaded.regions.unmatched,
            losses={name: float(value) for name, value in taught.losses.items()},
            provenance=provenance,
        )
    )
