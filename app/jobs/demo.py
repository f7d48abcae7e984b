"""The demo: a generated street clip in the light of an embedded look, and what it took.

The street knows which pixel is sky and which is house, so the demo shows what regions do without a segmenter.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from hueglass.datasets.street.film import LABELS, make_street, render_street
from hueglass.infer.files import make_folder
from hueglass.infer.frame import Frame
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.images import write_image
from hueglass.infer.media.info import VideoInfo
from hueglass.infer.media.video_sink import VideoSink
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.masks import Mask, regions_of
from hueglass.infer.regions.regions import Regions
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.progress import progress_bar

WIDTH, HEIGHT, RATE = 1280, 720, 25
STRIP_FRAMES = 4


@dataclass
class Measured:
    """Seconds spent per stage, one entry a frame, and mean colour changes from frame to frame."""

    predict: list[float] = field(default_factory=list)
    render: list[float] = field(default_factory=list)
    flicker_in: list[float] = field(default_factory=list)
    flicker_out: list[float] = field(default_factory=list)


def run_demo(folder: Path, look_name: str, seconds: float, seed: int) -> None:
    """Write street.mp4, stylized.mp4, strip.jpg and looks.jpg to `folder`, and print what was measured."""
    bundle = ModelBundle()
    look = find_look(look_name, bundle.manifest)
    make_folder(folder)
    stylizer = Stylizer(bundle, look, smoother=Smoother())
    measured, pairs = _film(folder, stylizer, round(seconds * RATE), seed)
    write_image(folder / "strip.jpg", _strip(pairs))
    write_image(folder / "looks.jpg", _all_looks(bundle, seed))
    _report(folder, measured, look_name)


def street_frames(count: int, seed: int, size: int) -> Iterator[tuple[Frame[np.ndarray], Regions]]:
    """Frames of the generated street and their regions over half a thumbnail `size` pixels wide."""
    street = make_street(seed)
    for index in range(count):
        image, labels = render_street(street, index / RATE, WIDTH, HEIGHT)
        yield Frame(image, index / RATE, index, 1 / RATE), regions_of(Mask(labels, LABELS), size // 2)


def _film(
    folder: Path, stylizer: Stylizer, count: int, seed: int
) -> tuple[Measured, list[tuple[np.ndarray, np.ndarray]]]:
    """Both clips, frame by frame; returns the measurements and a few pairs of frames for the strip."""
    info = VideoInfo(Path("street"), WIDTH, HEIGHT, Fraction(1, RATE * 512), Fraction(RATE), count)
    measured = Measured()
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    before: list[np.ndarray] | None = None
    with (
        VideoSink(folder / "street.mp4", info) as plain,
        VideoSink(folder / "stylized.mp4", info) as styled,
        progress_bar() as progress,
    ):
        task = progress.add_task("street", total=count)
        for frame, regions in street_frames(count, seed, stylizer.bundle.manifest.thumbnail):
            out = _timed(stylizer, frame, regions, measured)
            plain.write(frame)
            styled.write(out)
            small = [
                cv2.resize(f.image, (160, 90), interpolation=cv2.INTER_AREA).astype(np.float32) for f in (frame, out)
            ]
            if before is not None:
                measured.flicker_in.append(float(np.abs(small[0] - before[0]).mean()))
                measured.flicker_out.append(float(np.abs(small[1] - before[1]).mean()))
            before = small
            if frame.index % max(1, count // STRIP_FRAMES) == 0 and len(pairs) < STRIP_FRAMES:
                pairs.append((frame.image, out.image))
            progress.advance(task)
    return measured, pairs


def _timed(stylizer: Stylizer, frame: Frame[np.ndarray], regions: Regions, measured: Measured) -> Frame[np.ndarray]:
    began = time.perf_counter()
    coefficients = stylizer.predict(frame, regions)
    between = time.perf_counter()
    out = stylizer.render(frame, coefficients)
    measured.predict.append(between - began)
    measured.render.append(time.perf_counter() - between)
    return out


def _strip(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Before above after, side by side through the clip."""
    small = [[cv2.resize(x, (480, 270), interpolation=cv2.INTER_AREA) for x in pair] for pair in pairs]
    return np.hstack([np.vstack(pair) for pair in small])


def _all_looks(bundle: ModelBundle, seed: int) -> np.ndarray:
    """The first frame as it is and in every embedded look, with their names."""
    frame, regions = next(street_frames(1, seed, bundle.manifest.thumbnail))
    tiles = [_named("as it is", frame.image)]
    for name in embedded_looks():
        out = Stylizer(bundle, find_look(name, bundle.manifest))(frame, regions)
        tiles.append(_named(name, out.image))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 3)
    return np.vstack([np.hstack(tiles[i : i + 3]) for i in range(0, len(tiles), 3)])


def _named(name: str, image: np.ndarray) -> np.ndarray:
    tile: np.ndarray = cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, name, (10, 258), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width, cv2.LINE_AA)
    return tile


def _report(folder: Path, measured: Measured, look_name: str) -> None:
    predict, render = (1000 * float(np.median(x)) for x in (measured.predict, measured.render))
    table = Table(title=f"{look_name}, {len(measured.predict)} frames of {WIDTH}x{HEIGHT}", title_justify="left")
    table.add_column("measured")
    table.add_column("", justify="right")
    table.add_row("network and smoothing", f"{predict:.1f} ms a frame")
    table.add_row(f"rendering ({'compiled' if native.available() else 'numpy'})", f"{render:.1f} ms a frame")
    table.add_row("speed without decoding and encoding", f"{1000 / (predict + render):.0f} frames a second")
    if measured.flicker_in:
        ratio = np.mean(measured.flicker_out) / max(float(np.mean(measured.flicker_in)), 1e-6)
        table.add_row("change from frame to frame, after / before", f"{ratio:.2f}")
    Console().print(table)
    for name in ("street.mp4", "stylized.mp4", "strip.jpg", "looks.jpg"):
        print(folder / name)
