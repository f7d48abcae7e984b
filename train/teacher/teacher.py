"""The teacher: Deep Photo Style Transfer (Luan et al. 2017), one photograph or a batch at a time.

Two configurations come along. `configs/teacher_paper.yaml` is the paper's setting: stage one is segmented neural
style, stage two adds photorealism regularisation, and a local affine reconstruction gives the output.
`configs/teacher.yaml` is ours. What differs from the paper is marked as a departure, here and in `style_energy`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.grid.renderer import host_renderer
from hueglass.infer.resize import reduced_size
from hueglass.train.baselines import monge_kantorovich, per_region
from hueglass.train.features import Features

from .config import TeacherConfig
from .energy import Item, StyleEnergy
from .finishing import local_affine_reconstruction, posterisation_repair
from .lbfgs import NO_START, minimise
from .projection import project_on_grid
from .regions import RegionPair, resized

MINIMUM_SIDE = 32
"""Smaller pictures leave nothing of the deeper layers."""
GREY = 0.45
"""About the mean of photographs, and of the networks' training pictures: where noise starts from."""
Report = Callable[[int, int], None]
"""Hears (evaluations made, evaluations in all)."""


@dataclass(frozen=True)
class Taught:
    """`image` (H, W, 3) uint8 sRGB of the content's size, `grid` (gd, gh, gw, 12) or None if the output needs none.

    `losses` are the terms of the energy at the end, weighted as they were minimised, at the size optimised at.
    """

    image: np.ndarray
    grid: np.ndarray | None
    losses: dict[str, float]


def teach(
    content: np.ndarray,
    style: np.ndarray,
    regions: RegionPair,
    config: TeacherConfig,
    features: Features,
    report: Report | None = None,
) -> Taught:
    """The content (H, W, 3) in the light of the style (h, w, 3), uint8 sRGB; `regions` of any size.

    UsageError if a picture is too small or a layer unknown, HueglassError if the optimisation fails.
    """
    (result,) = teach_batch([(content, style, regions)], config, features, report)
    if isinstance(result, HueglassError):
        raise result
    return result


def check_picture(image: np.ndarray, name: str, size: int) -> None:
    """UsageError with `name` if the picture, reduced to `size`, is too small for the networks' layers."""
    if min(reduced_size(image.shape, size)) < MINIMUM_SIDE:
        height, width = image.shape[:2]
        expected = f"at least {MINIMUM_SIDE} pixels a side when the longer one is reduced to {size}"
        raise UsageError(f"{name}: is {width}x{height}, expected {expected}")


def teach_batch(
    pictures: Sequence[tuple[np.ndarray, np.ndarray, RegionPair]],
    config: TeacherConfig,
    features: Features,
    report: Report | None = None,
) -> list[Taught | HueglassError]:
    """`teach` for several at once, on the device of `features`; reduced to `config.size`, contents are of one size.

    A picture that fails gets its error in place of a result; the others do not notice.
    """
    features.check([*config.content_weights(), *config.style_weights()])
    results: list[Taught | HueglassError | None] = [_refusal(c, s, config.size) for c, s, _ in pictures]
    sound = [i for i, refusal in enumerate(results) if refusal is None]
    if sound:
        items = [_small_item(*pictures[i], config.size) for i in sound]
        outputs = _optimise(items, config, features, report)
        for i, item, output in zip(sound, items, outputs, strict=True):
            results[i] = output if isinstance(output, HueglassError) else _finish(pictures[i][0], item, *output, config)
    return [result for result in results if result is not None]


def _refusal(content: np.ndarray, style: np.ndarray, size: int) -> UsageError | None:
    try:
        check_picture(content, "the content", size)
        check_picture(style, "the style", size)
    except UsageError as error:
        return error
    return None


def _optimise(
    items: list[Item], config: TeacherConfig, features: Features, report: Report | None
) -> list[tuple[np.ndarray, dict[str, float]] | HueglassError]:
    """Stage after stage from the start; the pixels (H, W, 3) and the terms of the energy, or what went wrong."""
    if len({content.shape for content, _, _ in items}) != 1:
        raise ValueError("contents of several sizes in one batch, expected one size")
    energy = StyleEnergy(items, config, features)
    x = torch.cat([_start(item, config) for item in items]).to(energy.device)
    alive, done, total = np.ones(len(items), bool), 0, sum(stage.evaluations for stage in config.stages)
    for stage in config.stages:
        heard = _continued(report, done, total)
        found = minimise(partial(energy, stage=stage), x, stage.evaluations, report=heard)
        x, alive = found.x, alive & found.alive.cpu().numpy()
        done += stage.evaluations
    with torch.no_grad():
        terms = {name: term.tolist() for name, term in energy.terms(x, config.stages[-1]).items()}
    pixels = x.permute(0, 2, 3, 1).cpu().numpy()
    return [
        (pixels[i], {name: values[i] for name, values in terms.items()}) if alive[i] else HueglassError(NO_START)
        for i in range(len(items))
    ]


def _continued(report: Report | None, done: int, total: int) -> Callable[[int], None] | None:
    return None if report is None else lambda n: report(done + n, total)


def _start(item: Item, config: TeacherConfig) -> torch.Tensor:
    """Where the optimisation starts, (1, 3, H, W)."""
    content, style, pair = item
    if config.start == "noise":
        rng = np.random.default_rng(config.seed)
        content = (GREY + 1e-4 * rng.normal(size=content.shape)).astype(np.float32)
    elif config.start == "transport":
        # Departure: colours that are right to second order save L-BFGS most of its way.
        content = per_region(monge_kantorovich, content, pair.maps, style, pair.style_maps)
    return torch.from_numpy(content).permute(2, 0, 1)[None].contiguous()


def _small_item(content: np.ndarray, style: np.ndarray, pair: RegionPair, size: int) -> Item:
    small, small_style = _small(content, size), _small(style, size)
    return small, small_style, resized(pair, small.shape[:2], small_style.shape[:2])


def _small(image: np.ndarray, size: int) -> np.ndarray:
    """float32 in [0, 1], reduced so that its longer side is at most `size`."""
    shape = reduced_size(image.shape, size)
    small = image if shape == image.shape[:2] else cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _finish(full: np.ndarray, item: Item, output: np.ndarray, terms: dict[str, float], config: TeacherConfig) -> Taught:
    """From the optimised pixels (H, W, 3) to the output at the content's full size."""
    content = item[0]
    if config.finish == "local_affine":
        output = local_affine_reconstruction(content, output)
    if config.repair:
        output = posterisation_repair(content, output)
    output = np.clip(output, 0, 1)
    if config.finish == "none" or (config.finish == "local_affine" and content.shape == full.shape):
        pixels = (output * 255 + 0.5).astype(np.uint8)
        return Taught(cv2.resize(pixels, full.shape[1::-1], interpolation=cv2.INTER_CUBIC), None, terms)
    # Departure: photorealistic outputs are lifted to the full size by the bilateral grid nearest to them.
    grid = project_on_grid(content, output, config.grid, config.grid_smoothness)
    return Taught(host_renderer().render(grid, full), grid, terms)
