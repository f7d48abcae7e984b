"""What the command `bench` does: every stage of a frame, side by side in one run."""

import json
import platform
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hueglass.infer import bilateral, native
from hueglass.infer.bundle import ModelBundle
from hueglass.infer.files import whole_file
from hueglass.infer.look import assign, embedded_looks, find_look
from hueglass.infer.region_smoother import RegionSmoother
from hueglass.infer.regions import believed
from hueglass.infer.scene_cut import CutDetector
from hueglass.infer.stylizer import Stylizer
from hueglass.infer.temporal import Smoother

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "2160p": (2160, 3840)}
SECONDS = 1.5
"""Each stage runs for about this long; the median of its runs counts."""


def run_bench(path: Path | None) -> None:
    """Print a table, and write it as JSON to `path`."""
    stages = _stages()
    results = {size: {name: _median_ms(stage) for name, stage in row.items()} for size, row in stages.items()}
    table = Table(title=f"milliseconds a frame, {_machine()}", title_justify="left")
    for column in ("", *results):
        table.add_column(column, justify="right" if column else "left")
    for name in next(iter(results.values())):
        table.add_row(name, *(f"{row[name]:.2f}" if name in row else "" for row in results.values()))
    Console().print(table)
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps({"machine": _machine(), "milliseconds": results}, indent=1))


def _stages() -> dict[str, dict[str, Callable[[], object]]]:
    """Per frame size, what is timed. The reference is timed at the smallest size only: it is slow."""
    bundle = ModelBundle()
    look = find_look(embedded_looks()[0], bundle.manifest)
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, Callable[[], object]]] = {}
    for size, shape in SIZES.items():
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        rows[size] = _stages_of(image, Stylizer(bundle, look))
        if len(rows) == 1:
            grid = bilateral.identity_grid()
            rows[size]["render, numpy reference"] = partial(bilateral.render, grid, image)
    return rows


def _stages_of(image: np.ndarray, stylizer: Stylizer) -> dict[str, Callable[[], object]]:
    bundle, out, clock = stylizer.bundle, np.empty_like(image), count()
    cuts, smoother, region_smoother = CutDetector(), Smoother(), RegionSmoother()
    thumbnail = bundle.thumbnail(image)
    maps, codes = assign(stylizer.look, stylizer.no_regions(), bundle.manifest.slots)
    grid = bundle.predict(thumbnail, maps, codes)
    segmenter = bundle.segmenter
    found: dict[str, Callable[[], object]] = {}
    if segmenter is not None:
        regions = believed(segmenter(thumbnail))
        found = {
            "segmenter": lambda: believed(segmenter(thumbnail)),
            "smoothing of regions": lambda: region_smoother.update(regions, next(clock) / 25),
        }
    return {
        "copy the frame": lambda: np.copyto(out, image),
        "thumbnail": lambda: bundle.thumbnail(image),
        **found,
        "network": lambda: bundle.predict(thumbnail, maps, codes),
        "cut score": lambda: cuts.update(thumbnail, 0.0),
        "smoothing": lambda: smoother.update(grid, next(clock) / 25),
        "render, 1 thread": lambda: native.render(grid, image, out, threads=1),
        "render, all threads": lambda: native.render(grid, image, out),
    }


def _median_ms(stage: Callable[[], object]) -> float:
    stage()
    times: list[float] = []
    while sum(times) < SECONDS and len(times) < 500:
        began = time.perf_counter()
        stage()
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


def _machine() -> str:
    return f"{platform.processor() or platform.machine()}, {native.cores()} cores, {platform.system()}"
