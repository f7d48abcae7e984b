"""What `bench --device cuda|tensorrt` does: every stage of a frame on a GPU, beside a copy of the frame on it.

Frames lie on the device and stay there. Times are those of the device, between two events on its stream, after a
warm-up; medians. What copies a frame reads and writes as many bytes as the renderer, which has to read and write them
too: the share that it reaches of the copy's speed says how near it is to what the memory allows.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.network.engine_cache import current_gpu, import_cupy
from hueglass.infer.scene.device import DeviceStylizer

from .stages import Timing, table

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840), "8K": (4320, 7680)}
FRAMES = 4
"""Stages take turns over this many frames, so that none is in the cache: at 1080p they are 25 MB, in and out 50."""
WARM_UP, ROUNDS = 20, 200
NAMES = {
    "copy": "copy the frame",
    "resize": "thumbnail",
    "network": "network",
    "smooth": "smoothing and cuts",
    "render": "render",
    "frame": "the whole frame",
}


def run_cuda_bench(device: str, precision: str, path: Path | None) -> None:
    """Print a table, and write it as JSON to `path`. HueglassError where there is no GPU, or what it needs."""
    if path is not None:
        writable_place(path, (".json",))
    cupy, gpu = import_cupy(), current_gpu()
    bundle = ModelBundle(device=device, precision=precision)
    timings = [timing for shape in SIZES.values() for timing in time_size(cupy, bundle, *shape)]
    machine = f"{gpu.name}, network by {bundle.student.device} in {precision}"
    Console().print(table(timings, machine, NAMES, SIZES, digits=3))
    for name, shape in SIZES.items():
        copy, render = (_median(timings, stage, shape) for stage in ("copy", "render"))
        Console().print(f"{name}: the renderer reaches {copy / render:.0%} of a copy's speed", highlight=False)
    if path is not None:
        report = {"machine": machine, "results": [asdict(t) for t in timings]}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1))


def time_size(cupy: Any, bundle: ModelBundle, height: int, width: int) -> Iterator[Timing]:
    """Every stage at one size."""
    for name, stage in _stages(cupy, bundle, height, width).items():
        times = _times(cupy, stage)
        yield Timing(name, width, height, float(np.median(times)), float(np.percentile(times, 95)))


def _stages(cupy: Any, bundle: ModelBundle, height: int, width: int) -> dict[str, Callable[[], object]]:
    rng, clock = np.random.default_rng(0), count()
    frames = cycle([cupy.asarray(rng.integers(0, 256, (height, width, 3), np.uint8)) for _ in range(FRAMES)])
    out = cupy.empty((height, width, 3), np.uint8)
    stylizer = DeviceStylizer(bundle, find_look(embedded_looks()[0], bundle.manifest), cupy)
    thumbnail = stylizer.thumbnail(next(frames))
    grid = stylizer.network(thumbnail).copy()

    def frame() -> object:
        image = next(frames)
        return cuda.render(stylizer.predict(image, next(clock) / 30), image, out)

    return {
        "copy": lambda: cupy.copyto(out, next(frames)),
        "resize": lambda: stylizer.thumbnail(next(frames)),
        "network": lambda: stylizer.network(thumbnail),
        "smooth": lambda: stylizer.smoother.update(grid, next(clock) / 30, stylizer.cuts.update(thumbnail)),
        "render": lambda: cuda.render(grid, next(frames), out),
        "frame": frame,
    }


def _times(cupy: Any, stage: Callable[[], object]) -> list[float]:
    """Milliseconds of each run on the device, after some that do not count."""
    for _ in range(WARM_UP):
        stage()
    cupy.cuda.get_current_stream().synchronize()
    times = []
    for _ in range(ROUNDS):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        stage()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end))
    return times


def _median(timings: list[Timing], stage: str, shape: tuple[int, int]) -> float:
    return next(t.median_ms for t in timings if t.stage == stage and (t.height, t.width) == shape)
