"""What the command `evaluate drift` does: does a thing keep its colour while a camera looks around?

In a scene that stands still, whose every point is known in every frame, a point has one colour, and its restyled colour
is compared with its own mean over time. In CIEDE2000:

    drift   mean over points and frames
    p95     of the same, what nineteen in twenty are below
    back    between the first frame and the last, where the camera is back
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.color import deltaE_ciede2000, rgb2lab

from hueglass.datasets.motions import FRAMES, RATE, glimpses
from hueglass.export.cube import apply_table, fit_table, sample_pixels
from hueglass.infer.files import make_folder, whole_file, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.media.images import write_image
from hueglass.infer.model.look import Look
from hueglass.infer.resize import fitted
from hueglass.progress import progress_bar

from .steadiness import Measuring

BLUR = 1.5
"""Pixels (sigma) over which colours are taken: a frame is resampled by parts of a pixel."""
MOMENTS = (0, FRAMES // 4, FRAMES // 2)
"""Frames of the strip: at rest, on the way, at the other end."""
MEASURED = (*range(0, FRAMES, 4), FRAMES - 1)
"""Frames in which colours are taken; all are restyled."""
STRIP = 320
"""Pixels of the longer side of its pictures."""

OURS, FROZEN, UNTOUCHED = "hueglass", "frozen table", "untouched"


@dataclass(frozen=True)
class Drift:
    """Of one scene in one look, by one method."""

    scene: str
    look: str
    method: str
    drift: float
    p95: float
    back: float


def evaluate_drift(
    scenes: Sequence[Path], looks: Sequence[Look], measuring: Measuring, path: Path | None, strips: Path | None
) -> None:
    """Print a table of scenes and looks, write it as JSON to `path`, and strips of three moments to a folder."""
    if path is not None:
        writable_place(path, (".json",))
    if strips is not None:
        make_folder(strips)
    found = []
    with progress_bar() as bar:
        task = bar.add_task("scenes", total=len(scenes) * len(looks))
        for number, scene in enumerate(scenes):
            for look in looks:
                drifts, strip = measure_scene(scene, look, measuring)
                found += drifts
                if strips is not None:
                    name = "".join(c if c.isalnum() else "_" for c in f"{number:02d} {scene.stem} {look.name}")
                    write_image(strips / f"{name}.png", strip)
                bar.advance(task)
    Console().print(_table(found))
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps([asdict(f) for f in found], indent=1))


def measure_scene(scene: Path, look: Look, measuring: Measuring) -> tuple[list[Drift], np.ndarray]:
    """The drift of a scene as it is, restyled, and by a table of colours that is fitted to the restyled scene; and a
    strip of MOMENTS, as they are above what they become."""
    seen = list(glimpses(scene))
    frames = [Frame(g.image, g.time, i, 1 / RATE) for i, g in enumerate(seen)]
    shown = [frame.image for frame in measuring.restyled(look, frames)]
    before = [glimpse.image for glimpse in seen]
    table = fit_table(*sample_pixels(zip(before, shown, strict=True), len(seen)))
    methods: dict[str, Callable[[int], np.ndarray]] = {
        OURS: lambda i: shown[i],
        FROZEN: lambda i: apply_table(table, before[i]),
        UNTOUCHED: lambda i: before[i],
    }
    found = []
    for method, image in methods.items():
        colours = np.stack([colours_at(image(i), seen[i].places) for i in MEASURED])
        found.append(Drift(scene.name, look.name, method, *drift_of(colours)))
    return found, _strip(before, shown)


def _strip(before: Sequence[np.ndarray], shown: Sequence[np.ndarray]) -> np.ndarray:
    return np.vstack([np.hstack([fitted(images[i], STRIP) for i in MOMENTS]) for images in (before, shown)])


def colours_at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """CIELAB colours (n, 3) of a picture (H, W, 3) uint8 sRGB at places (n, 2) in shares of its sides; NaN for NaN."""
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), BLUR)
    seen = ~np.isnan(places[:, 0])
    at = (places[seen] * (width, height) - 0.5).astype(np.float32)[None]
    found = np.full((len(places), 3), np.nan)
    if seen.any():
        found[seen] = rgb2lab(cv2.remap(smooth, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[0]
    return found


def drift_of(colours: np.ndarray) -> tuple[float, float, float]:
    """`drift`, `p95` and `back` of colours (frames, n, 3) in CIELAB, NaN where a point is not seen."""
    seen = ~np.isnan(colours[..., 0])
    mean = np.nansum(colours, 0) / np.maximum(seen.sum(0), 1)[:, None]
    away = deltaE_ciede2000(colours[seen], np.broadcast_to(mean, colours.shape)[seen])
    both = seen[0] & seen[-1]
    back = deltaE_ciede2000(colours[0][both], colours[-1][both])
    return float(away.mean()), float(np.percentile(away, 95)), float(back.mean())


def _table(found: Sequence[Drift]) -> Table:
    """Scenes and looks, then the mean of each method."""
    table = Table(title="CIEDE2000 between a thing's colour and its own mean over time")
    for column in ("scene", "look", "method", "drift", "p95", "back"):
        table.add_column(column, justify="right" if column in ("drift", "p95", "back") else "left")
    for f in found:
        table.add_row(f.scene, f.look, f.method, *(f"{x:.2f}" for x in (f.drift, f.p95, f.back)))
    table.add_section()
    for method in dict.fromkeys(f.method for f in found):
        own = np.mean([(f.drift, f.p95, f.back) for f in found if f.method == method], axis=0)
        table.add_row("mean", "", method, *(f"{x:.2f}" for x in own))
    return table
