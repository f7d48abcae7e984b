"""What the command `bench` does: every stage of a frame and its whole way, beside others' yardsticks, in one run."""

import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, cycle
from pathlib import Path

import av
import av.filter
import numpy as np
from rich.console import Console
from rich.table import Table

from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.grid.cpu import native
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign, embedded_looks, find_look
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import confident, no_regions
from hueglass.infer.scene.memory import Picture, SceneMemory
from hueglass.infer.scene.scene_cut import CutDetector
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.previews import street_picture

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
FRAMES = 8
"""Stages take turns over this many frames: from a decoder or a camera, none is in the cache yet."""
SECONDS = 1.2
"""Each stage runs for about this long."""
LUT_SIZE = 33

NAMES = {
    "copy": "copy the frame",
    "resize": "thumbnail",
    "segmenter": "segmenter",
    "network": "network",
    "network_1_thread": "network, 1 thread",
    "network_int8_1_thread": "network in 8-bit integers, 1 thread",
    "memory": "memory of the scene, of regions too",
    "smooth": "smoothing and cuts, of regions too",
    "render": "render",
    "render_1_thread": "render, 1 thread",
    "frame": "the whole frame",
    "frame_regions": "the whole frame with the segmenter",
    "resize_yuv": "thumbnail, of Y'CbCr 4:2:0",
    "render_yuv": "render, Y'CbCr 4:2:0",
    "frame_yuv": "the whole frame, Y'CbCr 4:2:0",
    "ffmpeg_lut3d": "ffmpeg's lut3d (33, tetrahedral), 2 threads",
}
"""The stages, by their names in the JSON file."""


@dataclass(frozen=True)
class Timing:
    """How long a stage took at a size, in milliseconds."""

    stage: str
    width: int
    height: int
    median_ms: float
    p95_ms: float


def run_bench(path: Path | None) -> None:
    """Print a table, and write it as JSON to `path`. UsageError, before anything is timed, for a place it cannot go."""
    if path is not None:
        writable_place(path, (".json",))
    console = Console()
    with console.status("timing") if console.is_terminal else nullcontext():
        timings = [timing for shape in SIZES.values() for timing in _time_size(*shape)]
    console.print(table(timings, _machine(), NAMES, SIZES))
    resident = megabytes(resource.getrusage(resource.RUSAGE_SELF))
    console.print(f"resident memory at its highest: {resident:.0f} MB", highlight=False)
    if path is not None:
        report = {"machine": _machine(), "results": [asdict(t) for t in timings], "rss_mb": round(resident, 1)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1))


def _time_size(height: int, width: int) -> Iterator[Timing]:
    for name, stage in _stages(height, width).items():
        times = _times(stage)
        yield Timing(name, width, height, float(np.median(times)), float(np.percentile(times, 95)))


def _stages(height: int, width: int) -> dict[str, Callable[[], object]]:
    """What is timed at one size."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(FRAMES)]
    planar = [in_yuv(image) for image in images]
    bundle, clock = ModelBundle(), count()
    look = find_look(embedded_looks()[0], bundle.manifest)
    thumbnail = bundle.thumbnail(images[0])
    task = assign(look, no_regions(bundle.manifest.thumbnail // 2), bundle.manifest.slots)
    grid = bundle.predict(thumbnail, task).coefficients
    out, turns, yuv_turns = np.empty_like(images[0]), cycle(images), cycle(planar)
    plain = StylizerSettings(region_period=0).stylizer(bundle, look)
    regional = StylizerSettings(bundle.segmenter, region_period=0).stylizer(bundle, look)

    def frame(stylizer: Stylizer, image: np.ndarray | YuvImage) -> object:
        return stylizer(Frame(image, next(clock) / 25, 0))

    return {
        "copy": lambda: np.copyto(out, next(turns)),
        "resize": lambda: bundle.thumbnail(next(turns)),
        **_segmenter_stages(bundle, thumbnail),
        "network": lambda: bundle.predict(thumbnail, task),
        **{name: partial(other.predict, thumbnail, task) for name, other in _on_one_thread().items()},
        "memory": _remembering(bundle, look),
        "smooth": _smoothing(bundle, thumbnail, grid),
        "render": lambda: native.render(grid, next(turns), out),
        "render_1_thread": lambda: native.render(grid, next(turns), out, threads=1),
        "frame": lambda: frame(plain, next(turns)),
        "frame_regions": lambda: frame(regional, next(turns)),
        "resize_yuv": lambda: bundle.thumbnail(next(yuv_turns)),
        "render_yuv": lambda: native.render_yuv(grid, next(yuv_turns)),
        "frame_yuv": lambda: frame(plain, next(yuv_turns)),
        **_ffmpeg_stage(images),
    }


def _on_one_thread() -> dict[str, ModelBundle]:
    """As `video` and `live` run the network, whose other cores have other things to do."""
    names = {"fp32": "network_1_thread", "int8": "network_int8_1_thread"}
    return {name: ModelBundle(threads=1, precision=precision) for precision, name in names.items()}


def in_yuv(image: np.ndarray) -> YuvImage:
    """Planes of the size of a frame; what they show does not matter."""
    luma, cb, cr = (np.ascontiguousarray(x) for x in (image[..., 0], image[::2, ::2, 1], image[::2, ::2, 2]))
    return YuvImage((luma, cb, cr))


def _segmenter_stages(bundle: ModelBundle, thumbnail: np.ndarray) -> dict[str, Callable[[], object]]:
    segmenter = bundle.segmenter
    return {} if segmenter is None else {"segmenter": lambda: confident(segmenter(thumbnail))}


def _remembering(bundle: ModelBundle, look: Look) -> Callable[[], object]:
    """Of a camera that turns, regions found anew in every frame."""
    pictures = cycle([np.roll(bundle.thumbnail(street_picture()), 2 * i, 1) for i in range(64)])
    memory, clock, thumbnail = SceneMemory(bundle.manifest.slots), count(), next(pictures)
    regions = no_regions(bundle.manifest.thumbnail // 2) if bundle.segmenter is None else bundle.segmenter(thumbnail)
    task = assign(look, confident(regions), bundle.manifest.slots)
    sums = bundle.predict(thumbnail, task).sums

    def remember() -> object:
        picture, now = next(pictures), next(clock) / 25
        memory.follow(picture)
        if regions.names:
            memory.named(regions, picture, now)
        memory.remember(sums, Picture(picture, regions, memory.gain), task.names, now)
        return memory.recall(task.names)

    return remember


def _smoothing(bundle: ModelBundle, thumbnail: np.ndarray, grid: np.ndarray) -> Callable[[], object]:
    cuts, smoother, region_smoother, clock = CutDetector(), Smoother(), RegionSmoother(), count()
    regions = None if bundle.segmenter is None else confident(bundle.segmenter(thumbnail))

    def smooth() -> object:
        now = next(clock) / 25
        fresh = cuts.update(thumbnail, now)
        if regions is not None:
            region_smoother.update(regions, now, fresh)
        return smoother.update(grid, now, fresh)

    return smooth


def _ffmpeg_stage(images: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    """The static table that others render with, by the libavfilter that comes with PyAV; none where it lacks it."""
    if "lut3d" not in av.filter.filters_available:
        return {}
    height, width = images[0].shape[:2]
    folder = Path(tempfile.mkdtemp(prefix="hueglass-bench-"))
    steps = [f"{i / (LUT_SIZE - 1):.6f}" for i in range(LUT_SIZE)]
    rows = (f"{r} {g} {b}" for b in steps for g in steps for r in steps)
    (folder / "identity.cube").write_text(f"LUT_3D_SIZE {LUT_SIZE}\n" + "\n".join(rows) + "\n")
    graph = av.filter.Graph()
    graph.threads = 2
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=1)
    lut = graph.add("lut3d", f"file={folder / 'identity.cube'}:interp=tetrahedral")
    graph.link_nodes(source, lut, graph.add("buffersink")).configure()
    for file in (folder / "identity.cube", folder):
        file.unlink() if file.is_file() else file.rmdir()
    frames = cycle([av.VideoFrame.from_ndarray(image, format="rgb24") for image in images])

    def through_the_table() -> object:
        graph.vpush(next(frames))
        return graph.vpull()

    return {"ffmpeg_lut3d": through_the_table}


def _times(stage: Callable[[], object]) -> list[float]:
    """Milliseconds of each run, after two that do not count."""
    for _ in range(2):
        stage()
    times: list[float] = []
    while sum(times) < 1000 * SECONDS and len(times) < 500:
        began = time.perf_counter()
        stage()
        times.append(1000 * (time.perf_counter() - began))
    return times


def table(
    timings: list[Timing],
    machine: str,
    names: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
    digits: int = 2,
) -> Table:
    """Medians, and what 95 % are below, of the stages `names` (what they are called in words) at `sizes`."""
    made = Table(title=f"milliseconds a frame (95 % are below), {machine}", title_justify="left")
    for column in ("", *sizes):
        made.add_column(column, justify="right" if column else "left")
    found = {(t.stage, (t.height, t.width)): t for t in timings}
    for stage, name in names.items():
        row = [found.get((stage, shape)) for shape in sizes.values()]
        made.add_row(name, *(f"{t.median_ms:.{digits}f} ({t.p95_ms:.{digits}f})" if t else "" for t in row))
    return made


def _machine() -> str:
    path = native.paths()[0] if native.available() else "numpy"
    return f"{platform.processor() or platform.machine()} ({path}), {native.cores()} cores, {platform.system()}"


def megabytes(usage: resource.struct_rusage) -> float:
    """The highest resident memory of a process, in MB: Linux counts in KiB, macOS in bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
