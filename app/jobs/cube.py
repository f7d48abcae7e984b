"""What the command `look cube` does: a look on a picture or clip as a `.cube` table, and what the table cannot say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.color import deltaE_ciede2000, rgb2lab

from hueglass.commands.look.cube import CubeOptions
from hueglass.export.cube import SUFFIX, apply_table, fit_table, sample_pixels, write_cube
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.media.source import open_source, spread_frames
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.regions.strength import Strength
from hueglass.infer.resize import fitted
from hueglass.infer.scene.stylizer import Stylizer

from .looks import look_of

FRAMES = 48
"""Of a clip, evenly spread, at most."""
SIDE = 1024
"""Frames are looked at with this longer side at most: a table does not see detail."""
SMALLEST = 0.005
"""Share of the picture from which on a region is reported."""
EVERYWHERE = "everywhere"


@dataclass(frozen=True)
class Gap:
    """How far the table is from the look in a region: share of the picture, CIEDE2000 on average and at its 95 %."""

    share: float
    mean: float
    p95: float


def make_cube(source: Path, out: Path, options: CubeOptions) -> None:
    """Fit a table to what the look makes of a picture or clip, write it, and print how far it is from it."""
    style, bundle = options.choice(), options.open_bundle()
    segmenter = options.find_segmenter(bundle)
    writable_place(out, (SUFFIX,))
    not_an_input(out, source, style)
    look = look_of(style, None, segmenter, bundle)
    stylizer = Stylizer(bundle, look, Strength(options.strength), segmenter=segmenter)
    frames = [fitted(image, SIDE) for image in _images(source)]
    pairs = [(image, stylizer(Frame(image, 0.0, 0)).image) for image in frames]
    table = fit_table(*sample_pixels(pairs, len(pairs)), options.size)
    write_cube(out, table, f"{look.name} on {source.name}")
    Console().print(_report(measure_gaps(pairs, table, segmenter or bundle.segmenter, bundle)))


def measure_gaps(
    pairs: list[tuple[np.ndarray, np.ndarray]], table: np.ndarray, segmenter: Segmenter | None, bundle: ModelBundle
) -> dict[str, Gap]:
    """Everywhere, and where the segmenter sees each region, over all pairs of a picture and what became of it."""
    distances: list[np.ndarray] = []
    named: list[np.ndarray] = []
    for image, wanted in pairs:
        colours = (rgb2lab(x) for x in (wanted, apply_table(table, image)))
        distances.append(deltaE_ciede2000(*colours).ravel())
        if segmenter is not None:
            maps = segmenter(bundle.thumbnail(image)).maps
            size = image.shape[1::-1]
            large = [cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR) for soft in maps]
            named.append(np.argmax(large, 0).ravel())
    every = np.concatenate(distances)
    found = {EVERYWHERE: _gap(every, np.ones(len(every), bool))}
    if segmenter is not None:
        where = np.concatenate(named)
        parts = {name: where == i for i, name in enumerate(segmenter.names)}
        found |= {name: _gap(every, part) for name, part in parts.items() if part.mean() > SMALLEST}
    return found


def _gap(distances: np.ndarray, where: np.ndarray) -> Gap:
    chosen = distances[where]
    return Gap(float(where.mean()), float(chosen.mean()), float(np.percentile(chosen, 95)))


def _images(source: Path) -> Iterator[np.ndarray]:
    """A picture, or frames of a clip, evenly spread."""
    with open_source(source) as clip:
        for frame in spread_frames(clip, FRAMES):
            yield frame.image


def _report(gaps: dict[str, Gap]) -> Table:
    table = Table(title="what one table cannot say: CIEDE2000 between the look and the table", title_justify="left")
    for column in ("", "of the picture", "mean", "95 % below"):
        table.add_column(column, justify="right" if column else "left")
    for name, gap in gaps.items():
        table.add_row(name, f"{100 * gap.share:.0f} %", f"{gap.mean:.1f}", f"{gap.p95:.1f}")
    return table
