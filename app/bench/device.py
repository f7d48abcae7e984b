"""What `bench` does on another device than the CPU: a frame's way as `video` and `live` have it, beside plain copies.

Frames begin and end in the host's memory, as a decoder gives them and an encoder takes them. Times are of the wall
clock, after a warm-up; medians. Where frames are rendered on the GPU, copying one there and back is timed beside it:
what the renderer takes beyond the two is its own work, and what the memory of the host allows is seen.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import assign, embedded_looks, find_look
from hueglass.infer.network.devices import Device
from hueglass.infer.network.gpu import current_gpu, import_cupy
from hueglass.infer.regions.regions import no_regions
from hueglass.infer.scene.scene_cut import CutDetector
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer

from .stages import Timing, in_yuv, table

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840), "8K": (4320, 7680)}
FRAMES = 4
"""Stages take turns over this many frames, so that none is in the cache: at 1080p they are 25 MB, in and out 50."""
WARM_UP, ROUNDS = 10, 100
NAMES = {
    "upload": "copy the frame to the GPU",
    "download": "copy the frame from the GPU",
    "resize": "thumbnail",
    "network": "network",
    "smooth": "smoothing and cuts",
    "render": "render",
    "frame": "the whole frame",
    "render_yuv": "render, Y'CbCr 4:2:0",
    "frame_yuv": "the whole frame, Y'CbCr 4:2:0",
}


def run_device_bench(device: str, precision: str, path: Path | None) -> None:
    """Print a table, and write it as JSON to `path`. HueglassError where the device is not, or what it needs."""
    if path is not None:
        writable_place(path, (".json",))
    bundle = ModelBundle(device=device, precision=precision)
    cupy = import_cupy() if Device(bundle.device).row.renders_on == "cuda" else None
    timings = [timing for shape in SIZES.values() for timing in time_size(cupy, bundle, *shape)]
    place = "" if cupy is None else f"{current_gpu().name}, "
    machine = f"{place}network by {bundle.device} in {precision}"
    Console().print(table(timings, machine, NAMES, SIZES, digits=3))
    if path is not None:
        report = {"machine": machine, "results": [asdict(t) for t in timings]}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1))


def time_size(cupy: Any, bundle: ModelBundle, height: int, width: int) -> Iterator[Timing]:
    """Every stage at one size; `cupy` is None where frames are not rendered on a GPU."""
    stages = ({} if cupy is None else _copies(cupy, height, width)) | _stages(bundle, height, width)
    for name, stage in stages.items():
        times = _times(stage)
        yield Timing(name, width, height, float(np.median(times)), float(np.percentile(times, 95)))


def _stages(bundle: ModelBundle, height: int, width: int) -> dict[str, Callable[[], object]]:
    images = _images(height, width)
    frames, clock = cycle(images), count()
    yuv_frames = cycle([in_yuv(image) for image in images])
    look = find_look(embedded_looks()[0], bundle.manifest)
    stylizer, still = Stylizer(bundle, look, smoother=Smoother()), Stylizer(bundle, look)
    cuts, smoother = CutDetector(), Smoother()
    thumbnail = still.renderer.thumbnail(images[0], bundle.manifest.thumbnail)
    task = assign(look, no_regions(bundle.manifest.thumbnail // 2), bundle.manifest.slots)
    grid = bundle.predict(thumbnail, task).coefficients

    def smooth() -> object:
        now = next(clock) / 30
        return smoother.update(grid, now, cuts.update(thumbnail, now))

    return {
        "resize": lambda: still.renderer.thumbnail(next(frames), bundle.manifest.thumbnail),
        "network": lambda: bundle.predict(thumbnail, task),
        "smooth": smooth,
        "render": lambda: still.render(Frame(next(frames), 0.0, 0), grid),
        "frame": lambda: stylizer(Frame(next(frames), next(clock) / 30, 0)),
        "render_yuv": lambda: still.render(Frame(next(yuv_frames), 0.0, 0), grid),
        "frame_yuv": lambda: stylizer(Frame(next(yuv_frames), next(clock) / 30, 0)),
    }


def _copies(cupy: Any, height: int, width: int) -> dict[str, Callable[[], object]]:
    """Yardsticks. As many bytes go to the GPU and come back as for a frame in RGB."""
    images = _images(height, width)
    frames, out, on_gpu = cycle(images), np.empty_like(images[0]), cupy.asarray(images[0])

    def upload() -> object:
        copy = cupy.asarray(next(frames))
        cupy.cuda.get_current_stream().synchronize()
        return copy

    return {"upload": upload, "download": lambda: cupy.asnumpy(on_gpu, out=out)}


def _images(height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(FRAMES)]


def _times(stage: Callable[[], object]) -> list[float]:
    """Milliseconds of each run, after some that do not count. Each ends when its result is in the host's memory."""
    times = []
    for _ in range(WARM_UP + ROUNDS):
        began = time.perf_counter()
        stage()
        times.append(1000 * (time.perf_counter() - began))
    return times[WARM_UP:]
