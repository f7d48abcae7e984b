"""What the command `evaluate known` does: methods on photographs whose answer is known."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hueglass.datasets.photos import load_photos, split
from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import make_look
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.progress import tracked
from hueglass.train.baselines import CLASSICAL, Transfer
from hueglass.train.grades import GradeConfig
from hueglass.train.known import METRICS, Known, known_pairs, measure

SIDE = 320
"""Of the shorter side of photographs."""


def evaluate_known(folder: Path, count: int, bundle: ModelBundle, path: Path | None) -> None:
    """Print the means over `count` photographs of a folder that no training sees; all scores as JSON to `path`."""
    if path is not None:
        writable_place(path, (".json",))
    _, held_out = split(load_photos(folder, SIDE))
    pairs = known_pairs(held_out[:count], GradeConfig())
    chosen = methods(bundle)
    scores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in chosen}
    for pair in tracked(pairs, "photographs", len(pairs)):
        for name, method in chosen.items():
            scores[name][pair.name] = measure(pair, method(pair))
    Console().print(_table(scores, len(pairs)))
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(scores, indent=1))


def methods(bundle: ModelBundle) -> dict[str, Callable[[Known], np.ndarray]]:
    """From a pair to an output (H, W, 3) uint8."""
    ours: dict[str, Callable[[Known], np.ndarray]] = {"hueglass, no regions": partial(_ours, bundle, False)}
    if bundle.segmenter is not None:
        ours["hueglass, regions"] = partial(_ours, bundle, True)
    classical = {name: partial(_classical, transfer) for name, transfer in CLASSICAL.items()}
    return {**ours, **classical, "untouched": lambda pair: pair.content}


def _ours(bundle: ModelBundle, regions: bool, pair: Known) -> np.ndarray:
    ours, theirs = None, None
    if regions and bundle.segmenter is not None:
        found = (find_regions(bundle.segmenter, bundle.thumbnail(image)) for image in (pair.content, pair.style))
        ours, theirs = found
    look = make_look(bundle, pair.name, pair.style, theirs)
    return Stylizer(bundle, look)(Frame(pair.content, 0.0, 0), ours).image


def _classical(transfer: Transfer, pair: Known) -> np.ndarray:
    content, style = (image.astype(np.float32) / 255 for image in (pair.content, pair.style))
    restyled: np.ndarray = np.rint(255 * transfer(content, style)).astype(np.uint8)
    return restyled


def _table(scores: dict[str, dict[str, dict[str, float]]], count: int) -> Table:
    table = Table(title=f"means over {count} photographs under two grades", title_justify="left")
    for column in ("", *METRICS):
        table.add_column(column, justify="right" if column else "left")
    for name, by_photo in scores.items():
        means = [np.mean([found[metric] for found in by_photo.values()]) for metric in METRICS]
        table.add_row(name, f"{means[0]:.2f}", *(f"{mean:.3f}" for mean in means[1:3]), f"{means[3]:.2f}")
    return table
