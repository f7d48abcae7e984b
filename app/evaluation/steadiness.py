"""What the command `evaluate video` does: how steady restyled clips are, beside a frozen table of colours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hueglass.export.cube import apply_table, fit_table, sample_pixels
from hueglass.infer.errors import UsageError
from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.media.source import open_source
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, embedded_looks, find_look
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.resize import fitted
from hueglass.infer.scene.clip import GLANCES, stylize_clip, survey
from hueglass.infer.scene.stability import SIDE, WarpMeter, settle
from hueglass.infer.scene.stylizer import REGION_PERIOD, Stylizer, StylizerSettings
from hueglass.infer.smoothing import Steadying
from hueglass.infer.thumbnail import upright_frame
from hueglass.progress import progress_bar

LOOKS = 3
"""As many of the embedded looks are measured where none is named."""


@dataclass(frozen=True)
class Steadiness:
    """Of one clip in one look: see `infer.scene.stability`. `table` is the warping error of the frozen table, `still`
    that of the clip as it is; `settle` in seconds."""

    clip: str
    look: str
    frames: int
    warp: float
    table: float
    still: float
    warp_ratio: float
    settle: float


@dataclass(frozen=True)
class Measuring:
    """With what clips are restyled, and how much of them; `offline` as `hueglass video` does it, else as a camera's."""

    bundle: ModelBundle
    segmenter: Segmenter | None
    steady: Steadying
    frames: int = 250
    rate: float = 30.0
    offline: bool = False

    def stylizer(self, look: Look) -> Stylizer:
        """A new one, at the start of a clip."""
        period = 0.0 if self.offline else REGION_PERIOD
        settings = StylizerSettings(self.segmenter, steady=self.steady, region_period=period)
        return settings.stylizer(self.bundle, look)

    def restyled(self, look: Look, frames: Sequence[Frame[np.ndarray]]) -> Iterator[Frame[np.ndarray]]:
        """Frames that are all there already."""
        stylizer = self.stylizer(look)
        if not self.offline:
            return map(stylizer, frames)
        stylizer.survey = survey(stylizer, (f for i, f in enumerate(frames) if i % round(GLANCES * self.rate) == 0))
        return (out for _, out in stylize_clip(stylizer, frames))


def evaluate_videos(clips: Sequence[Path], looks: Sequence[str], measuring: Measuring, path: Path | None) -> None:
    """Print a table of clips and looks, and write it as JSON to `path`."""
    if path is not None:
        writable_place(path, (".json",))
    chosen = [find_look(name, measuring.bundle.manifest) for name in looks or embedded_looks()[:LOOKS]]
    found = []
    with progress_bar() as bar:
        task = bar.add_task("clips", total=len(clips) * len(chosen))
        for clip in clips:
            for look in chosen:
                found.append(measure_clip(clip, look, measuring))
                bar.advance(task)
    Console().print(_table(found))
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps([asdict(f) for f in found], indent=1))


def measure_clip(clip: Path, look: Look, measuring: Measuring) -> Steadiness:
    """A clip, or a folder of pictures in the order of their names, in one look. UsageError if it has under two frames.

    Frames are restyled at their full size, and kept small for the flow and for the table.
    """
    stylizer = measuring.stylizer(look)
    kept = []
    frames = islice(_frames(clip, measuring.rate), measuring.frames)
    if measuring.offline:
        with open_source(clip, rate=measuring.rate, every=GLANCES) as source:
            stylizer.survey = survey(stylizer, source)
    restyled = stylize_clip(stylizer, frames) if measuring.offline else ((f, stylizer(f)) for f in frames)
    for frame, out in restyled:
        kept.append((frame.time, fitted(frame.image, SIDE), fitted(out.image, SIDE)))
    if len(kept) < 2:
        raise UsageError(f"{clip}: has {len(kept)} frames, expected two at least")
    table = fit_table(*sample_pixels(((a, b) for _, a, b in kept), len(kept)))
    meter = WarpMeter()
    for time, before, after in kept:
        meter.update(before, [after, apply_table(table, before), before], time)
    ours, frozen, still = meter.errors or (0.0, 0.0, 0.0)
    new = measuring.stylizer(look)
    seconds = settle(lambda image, time: new.predict(Frame(image, time, 0)), kept[0][1])
    ratio = ours / max(frozen, 1e-9)
    return Steadiness(clip.name, look.name, len(kept), ours, frozen, still, ratio, seconds)


def _frames(clip: Path, rate: float) -> Iterator[Frame[np.ndarray]]:
    """Upright."""
    with open_source(clip, rate=rate) as source:
        for frame in source:
            yield upright_frame(frame)


def _table(found: Sequence[Steadiness]) -> Table:
    table = Table(title="steadiness: warp and table are mean squared differences along the flow, in 1/1000")
    for column in ("clip", "look", "frames", "warp", "table", "as it is", "warp_ratio", "settle (s)"):
        table.add_column(column, justify="left" if column in ("clip", "look") else "right")
    for f in found:
        errors = (f"{1000 * x:.3f}" for x in (f.warp, f.table, f.still))
        table.add_row(f.clip, f.look, str(f.frames), *errors, f"{f.warp_ratio:.3f}", f"{f.settle:.2f}")
    return table
