"""Measuring methods on pairs: what each makes of a pair, by how much it is off, and what that is on average."""

from collections.abc import Callable
from functools import partial

import numpy as np

from hueglass.datasets.benchmark import OFFICIAL, Pair
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import make_look
from hueglass.infer.regions.masks import regions_of
from hueglass.infer.regions.regions import Regions
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.scene.stylizer import Stylizer

from . import metrics
from .baselines import CLASSICAL, Transfer, per_region

METRICS = ("swd", "edge", "resid", "dE", "halo")
HIGHER_IS_BETTER = {"edge"}
UNTOUCHED = "untouched"
STUDENT = ("student, masks", "student, auto regions", "student, no masks")

Method = Callable[[Pair], np.ndarray]
"""From a pair to an output uint8 of the content's size."""
Scores = dict[str, dict[str, float]]
"""What one method scored: metrics by pair."""


def student_methods(bundle: ModelBundle) -> dict[str, Method]:
    """The student, one forward pass each: with the masks of both sides, with its segmenter's regions (where it has
    one), and on the bare photographs."""
    methods: dict[str, Method] = dict(
        zip(STUDENT, (partial(m, bundle) for m in (_with_masks, _auto_regions, _without_masks)), strict=True)
    )
    if bundle.segmenter is None:
        del methods[STUDENT[1]]
    return methods


def _with_masks(bundle: ModelBundle, pair: Pair) -> np.ndarray:
    size = bundle.manifest.thumbnail // 2
    return _transferred(bundle, pair, regions_of(pair.mask, size), regions_of(pair.style_mask, size))


def _auto_regions(bundle: ModelBundle, pair: Pair) -> np.ndarray:
    assert bundle.segmenter is not None
    images = (pair.content, pair.style)
    ours, theirs = (find_regions(bundle.segmenter, bundle.thumbnail(image)) for image in images)
    return _transferred(bundle, pair, ours, theirs)


def _without_masks(bundle: ModelBundle, pair: Pair) -> np.ndarray:
    return _transferred(bundle, pair, None, None)


def _transferred(bundle: ModelBundle, pair: Pair, regions: Regions | None, style_regions: Regions | None) -> np.ndarray:
    look = make_look(bundle, pair.name, pair.style, style_regions)
    return Stylizer(bundle, look)(Frame(pair.content, 0.0, 0), regions).image


def _global(transfer: Transfer, pair: Pair) -> np.ndarray:
    return _to_uint8(transfer(_unit(pair.content), _unit(pair.style)))


def _per_region(transfer: Transfer, pair: Pair) -> np.ndarray:
    return _to_uint8(per_region(transfer, _unit(pair.content), pair.maps, _unit(pair.style), pair.style_maps))


def _untouched(pair: Pair) -> np.ndarray:
    return pair.content


def _official(pair: Pair) -> np.ndarray:
    return pair.official


BASELINES: dict[str, Method] = {
    UNTOUCHED: _untouched,
    **{name: partial(_global, transfer) for name, transfer in CLASSICAL.items()},
    **{f"{name} per region": partial(_per_region, transfer) for name, transfer in CLASSICAL.items()},
    OFFICIAL: _official,
}


def measure(pair: Pair, output: np.ndarray) -> dict[str, float]:
    """All metrics of one output of a pair."""
    content, style, official, ours = (_unit(x) for x in (pair.content, pair.style, pair.official, output))
    return {
        "swd": metrics.swd(ours, pair.maps, style, pair.style_maps),
        "edge": metrics.edge(content, ours),
        "resid": metrics.resid(content, ours),
        "dE": metrics.delta_e(ours, official),
        "halo": metrics.halo(content, ours, pair.maps),
    }


def means(scores: Scores) -> dict[str, float]:
    """The mean of each metric."""
    return {metric: float(np.mean([score[metric] for score in scores.values()])) for metric in METRICS}


def standard_errors(scores: Scores) -> dict[str, float | None]:
    """The standard error of each mean: how far other pairs like these would move it. None for a single pair."""
    if len(scores) < 2:
        return dict.fromkeys(METRICS)
    values = {metric: [score[metric] for score in scores.values()] for metric in METRICS}
    return {metric: float(np.std(v, ddof=1) / np.sqrt(len(v))) for metric, v in values.items()}


def best(means_of: dict[str, dict[str, float]]) -> dict[str, str]:
    """Which method has the best mean of each metric.

    What holds by definition does not compete: the untouched picture, and the paper's distance to itself.
    """
    winners = {}
    for metric in METRICS:
        sign = -1 if metric in HIGHER_IS_BETTER else 1
        barred = {UNTOUCHED, OFFICIAL} if metric == "dE" else {UNTOUCHED}
        competing = {name: sign * values[metric] for name, values in means_of.items() if name not in barred}
        if competing:
            winners[metric] = min(competing, key=lambda name: competing[name])
    return winners


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return (image * 255 + 0.5).astype(np.uint8)
