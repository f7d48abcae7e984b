"""Measuring on pairs: content, style, masks and the paper's own result, lying in a folder.

DIR/content/NN.jpg   DIR/style/NN.jpg   DIR/content_mask/NN.png   DIR/style_mask/NN.png   DIR/official/NN.jpg
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.bundle import ModelBundle
from hueglass.infer.errors import UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.images import read_image
from hueglass.infer.look import make_look
from hueglass.infer.regions import MINIMUM_PIXELS, Mask, read_mask, regions_of
from hueglass.infer.stylizer import Stylizer

from . import metrics
from .baselines import monge_kantorovich, per_region

METRICS = ("swd", "edge", "resid", "dE")


@dataclass(frozen=True)
class Pair:
    """Pictures uint8 sRGB; `maps` and `style_maps` boolean (R, H, W) of the regions that both sides have."""

    name: str
    content: np.ndarray
    style: np.ndarray
    official: np.ndarray
    mask: Mask
    style_mask: Mask
    maps: np.ndarray
    style_maps: np.ndarray


Method = Callable[[Pair], np.ndarray]
"""From a pair to an output uint8 of the content's size."""


def load_pairs(folder: Path) -> Iterator[Pair]:
    """The pairs of a folder, one at a time. UsageError if it is no such folder."""
    files = sorted((folder / "content").glob("*.jpg"))
    if not files:
        raise UsageError(f"{folder}: no pairs here, expected content/NN.jpg, style/NN.jpg and their masks")
    for file in files:
        yield _load_pair(folder, file.stem)


def _load_pair(folder: Path, name: str) -> Pair:
    content, style, official = (read_image(folder / kind / f"{name}.jpg") for kind in ("content", "style", "official"))
    mask = read_mask(folder / "content_mask" / f"{name}.png", content.shape[:2])
    style_mask = read_mask(folder / "style_mask" / f"{name}.png", style.shape[:2])
    official = cv2.resize(official, content.shape[1::-1], interpolation=cv2.INTER_AREA)
    counts = [np.bincount(m.labels.ravel(), minlength=len(m.names)) for m in (mask, style_mask)]
    both = [int(n) for n in np.flatnonzero(np.minimum(*counts) > MINIMUM_PIXELS)]
    maps, style_maps = (np.stack([m.labels == n for n in both]) for m in (mask, style_mask))
    return Pair(name, content, style, official, mask, style_mask, maps, style_maps)


def student_with_masks(bundle: ModelBundle) -> Method:
    """One forward pass with the masks of both sides."""

    def run(pair: Pair) -> np.ndarray:
        look = make_look(bundle, pair.name, pair.style, pair.style_mask)
        regions = regions_of(pair.mask, bundle.manifest.thumbnail // 2)
        return Stylizer(bundle, look)(Frame(pair.content, 0.0, 0), regions).image

    return run


def student_without_masks(bundle: ModelBundle) -> Method:
    """One forward pass on the bare photographs."""

    def run(pair: Pair) -> np.ndarray:
        return Stylizer(bundle, make_look(bundle, pair.name, pair.style))(Frame(pair.content, 0.0, 0)).image

    return run


def _identity(pair: Pair) -> np.ndarray:
    return pair.content


def _official(pair: Pair) -> np.ndarray:
    return pair.official


def _transfer(pair: Pair) -> np.ndarray:
    return _to_uint8(monge_kantorovich(_unit(pair.content), _unit(pair.style)))


def _transfer_per_region(pair: Pair) -> np.ndarray:
    return _to_uint8(per_region(_unit(pair.content), pair.maps, _unit(pair.style), pair.style_maps))


BASELINES: dict[str, Method] = {
    "untouched": _identity,
    "Monge-Kantorovich": _transfer,
    "Monge-Kantorovich per region": _transfer_per_region,
    "Luan et al. 2017": _official,
}


def measure(pair: Pair, output: np.ndarray) -> dict[str, float]:
    """All metrics of one output of a pair."""
    content, style, official, ours = (_unit(x) for x in (pair.content, pair.style, pair.official, output))
    return {
        "swd": metrics.swd(ours, pair.maps, style, pair.style_maps),
        "edge": metrics.edge(content, ours),
        "resid": metrics.resid(content, ours),
        "dE": metrics.delta_e(ours, official),
    }


def sheet_row(pair: Pair, outputs: list[np.ndarray], width: int = 320, height: int = 214) -> np.ndarray:
    """Content, style, the outputs and the paper's result, side by side."""
    pictures = [pair.content, pair.style, *outputs, pair.official]
    return np.hstack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures])


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return (image * 255 + 0.5).astype(np.uint8)
