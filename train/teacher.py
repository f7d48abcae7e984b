"""The teacher: Deep Photo Style Transfer (Luan et al. 2017), one photograph or a batch at a time.

Two configurations come along. `configs/teacher_paper.yaml` is the paper's setting: stage one is segmented neural
style, stage two adds photorealism regularisation, and a local affine reconstruction gives the output.
`configs/teacher.yaml` is ours; what differs from the paper is marked here as a departure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from hueglass.infer.errors import HueglassError
from hueglass.infer.native import render

from . import style_losses as losses
from .baselines import monge_kantorovich, per_region
from .features import Features, Name
from .finishing import local_affine_reconstruction, posterisation_repair
from .grid_projection import project_on_grid
from .lbfgs import minimise
from .matting_laplacian import MattingLaplacian
from .region_pairs import RegionPair, resized

Report = Callable[[int, int], None]
"""Hears (evaluations made, evaluations in all)."""


STYLE_LAYERS = ("conv1", "fire2", "fire3", "fire4", "fire6", "fire8")


class Stage(BaseModel):
    """One run of L-BFGS from where the last one ended."""

    model_config = ConfigDict(extra="forbid")

    evaluations: int = Field(ge=1, le=100_000)
    laplacian: NonNegativeFloat


class TeacherConfig(BaseModel):
    """What is minimised, from where, and what becomes of it. The defaults are our setting."""

    model_config = ConfigDict(extra="forbid")

    features: Name = "squeezenet"
    size: int = Field(256, ge=16, le=4096)
    start: Literal["content", "transport", "noise"] = "content"
    stages: list[Stage] = Field([Stage(evaluations=50, laplacian=100)], min_length=1, max_length=8)
    content_layers: dict[str, NonNegativeFloat] = {"fire6": 0.1}
    style_layers: dict[str, NonNegativeFloat] = dict.fromkeys(
        ("conv1", "fire2", "fire3", "fire4", "fire6", "fire8"), 1.0
    )
    relative: bool = True
    colour: NonNegativeFloat = 300.0
    colour_pixels: int = Field(8192, ge=64, le=1 << 20)
    colour_directions: int = Field(16, ge=3, le=256)
    total_variation: NonNegativeFloat = 0.0
    out_of_range: NonNegativeFloat = 30.0
    laplacian_eps: PositiveFloat = 1e-5
    finish: Literal["grid", "local_affine", "none"] = "grid"
    grid: tuple[int, int, int] = (8, 16, 16)
    grid_smoothness: PositiveFloat = 0.01
    repair: bool = False
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Taught:
    """`image` (H, W, 3) uint8 sRGB of the content's size, `grid` (gd, gh, gw, 12) or None if the output needs none.

    `losses` are the terms of the energy at the end, weighted as they were minimised, at the size optimised at.
    """

    image: np.ndarray
    grid: np.ndarray | None
    losses: dict[str, float]


Item = tuple[np.ndarray, np.ndarray, RegionPair]
"""Content (H, W, 3) and style (h, w, 3), uint8 sRGB, and their regions."""


def teach(
    content: np.ndarray,
    style: np.ndarray,
    regions: RegionPair,
    config: TeacherConfig,
    features: Features,
    report: Report | None = None,
) -> Taught:
    """The content in the light of the style. HueglassError if the optimisation fails."""
    (result,) = teach_batch([(content, style, regions)], config, features, report)
    if isinstance(result, HueglassError):
        raise result
    return result


def teach_batch(
    items: Sequence[Item], config: TeacherConfig, features: Features, report: Report | None = None
) -> list[Taught | HueglassError]:
    """Several at once, on the device of `features`; their contents must be of one size where they are optimised.

    A picture whose optimisation fails gets its error in place of a result; the others do not notice.
    """
    features.check([*config.content_layers, *config.style_layers])
    contents = [_small(content, config.size) for content, _, _ in items]
    if len({c.shape for c in contents}) != 1:
        raise ValueError("contents of several sizes in one batch, expected one size")
    problem = Problem(items, contents, config, features)
    x, alive = problem.start(), np.ones(len(items), bool)
    done, total = 0, sum(stage.evaluations for stage in config.stages)
    for stage in config.stages:
        energy, heard = partial(problem.energy, stage=stage), _continued(report, done, total)
        found = minimise(energy, x, stage.evaluations, report=heard)
        x, alive = found.x, alive & found.alive.cpu().numpy()
        done += stage.evaluations
    terms = problem.terms(x, config.stages[-1])
    outputs = x.permute(0, 2, 3, 1).cpu().numpy()
    return [
        _finish(items[i][0], contents[i], outputs[i], {k: float(v[i]) for k, v in terms.items()}, config)
        if alive[i]
        else HueglassError("the optimisation met no finite energy: lower its weights or check the pictures")
        for i in range(len(items))
    ]


def _continued(report: Report | None, done: int, total: int) -> Callable[[int], None] | None:
    return None if report is None else lambda n: report(done + n, total)


class Problem:
    """What the content and the style ask of a batch of outputs x (B, 3, H, W), sRGB nominally in [0, 1]."""

    def __init__(
        self, items: Sequence[Item], contents: list[np.ndarray], config: TeacherConfig, features: Features
    ) -> None:
        self.config, self.features = config, features
        self.device = next(features.parameters()).device
        styles = [_small(style, config.size) for _, style, _ in items]
        pairs = [
            resized(pair, c.shape[:2], s.shape[:2]) for (_, _, pair), c, s in zip(items, contents, styles, strict=True)
        ]
        self.transported = [
            per_region(monge_kantorovich, c, pair.maps, s, pair.style_maps)
            for c, s, pair in zip(contents, styles, pairs, strict=True)
        ]
        most = max(len(pair.names) for pair in pairs)
        self.content = torch.cat([self._tensor(c) for c in contents])
        self.maps = torch.cat([self._maps(pair.maps, most) for pair in pairs])
        self.areas = self.maps.mean((2, 3))
        self.layers = list(dict.fromkeys([*config.content_layers, *config.style_layers]))
        self.generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            self._want_content()
            self._want_style([self._tensor(s) for s in styles], [self._maps(p.style_maps, most) for p in pairs])
        self.laplacian = MattingLaplacian(self.content, eps=config.laplacian_eps)

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].contiguous()

    def _maps(self, maps: np.ndarray, count: int) -> Tensor:
        """(1, count, H, W), empty beyond the regions that there are."""
        padded = np.concatenate([maps, np.zeros((count - len(maps), *maps.shape[1:]), bool)])
        return torch.from_numpy(padded).to(self.device).float()[None]

    def _want_content(self) -> None:
        config = self.config
        followed = self.features.follow(self.maps, list(config.style_layers))
        self.layer_regions = {name: losses.region_pixels(maps) for name, maps in followed.items()}
        found = self.features(self.content, list(config.content_layers)) if config.content_layers else {}
        self.wanted_content = found

    def _want_style(self, styles: list[Tensor], style_maps: list[Tensor]) -> None:
        """The Gram matrices and the colours of each region of each style."""
        config = self.config
        names = list(config.style_layers)
        grams: dict[str, list[Tensor]] = {name: [] for name in names}
        quantiles = []
        self.directions = losses.projections(config.colour_directions).to(self.device)
        count = max(1, config.colour_pixels // self.maps.shape[1])
        for style, maps in zip(styles, style_maps, strict=True):
            found, followed = self.features(style, names), self.features.follow(maps, names)
            for name in names:
                grams[name].append(losses.gram_matrices(found[name], losses.region_pixels(followed[name])))
            places = losses.draw_pixels(maps, count, self.generator)
            quantiles.append(losses.sorted_projections(losses.region_colours(style, places), self.directions))
        self.wanted_grams = {name: torch.cat(matrices) for name, matrices in grams.items()}
        self.wanted_colours = torch.cat(quantiles)
        self.places = losses.draw_pixels(self.maps, count, self.generator)

    def start(self) -> Tensor:
        if self.config.start == "content":
            return self.content
        if self.config.start == "transport":
            return torch.cat([self._tensor(t) for t in self.transported])
        noise = torch.randn(self.content.shape, generator=self.generator).to(self.device)
        return 0.45 + 1e-4 * noise

    def energy(self, x: Tensor, stage: Stage) -> Tensor:
        """(B,), what is minimised."""
        return torch.stack(list(self.terms(x, stage).values())).sum(0)

    def terms(self, x: Tensor, stage: Stage) -> dict[str, Tensor]:
        """The terms of the energy, weighted, (B,) each: Luan et al. 2017, equation 6, and our departures."""
        config = self.config
        found = self.features(x, self.layers)
        per_pixel = 1 / self.content[0, 0].numel() if config.relative else 1.0
        terms = {
            "content": self._content(found),
            "style": self._style(found),
            "laplacian": stage.laplacian * per_pixel * self.laplacian.energy(x),
        }
        if config.total_variation:
            terms["total_variation"] = config.total_variation * per_pixel * losses.total_variation(x)
        # Departures: colours are asked for outright, and values that clipping would destroy are kept away from.
        if config.colour:
            colours = losses.region_colours(x, self.places)
            gaps = losses.sliced_wasserstein(colours, self.wanted_colours, self.directions, self.areas)
            terms["colour"] = config.colour * gaps
        if config.out_of_range:
            terms["out_of_range"] = config.out_of_range * losses.out_of_range(x)
        return terms

    def _content(self, found: dict[str, Tensor]) -> Tensor:
        total = torch.zeros(len(self.content), device=self.device)
        for name, weight in self.config.content_layers.items():
            loss = losses.content_loss(found[name], self.wanted_content[name])
            if self.config.relative:
                loss = loss / self.wanted_content[name].square().mean((1, 2, 3)).clamp_min(1e-12)
            total = total + weight * loss
        return total

    def _style(self, found: dict[str, Tensor]) -> Tensor:
        total = torch.zeros(len(self.content), device=self.device)
        for name, weight in self.config.style_layers.items():
            regions, wanted = self.layer_regions[name], self.wanted_grams[name]
            total = total + weight * losses.gram_loss(found[name], regions, wanted, self.config.relative)
        return total


def _small(image: np.ndarray, size: int) -> np.ndarray:
    """float32 in [0, 1], reduced so that its longer side is at most `size`."""
    height, width = image.shape[:2]
    scale = min(1.0, size / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _finish(
    full: np.ndarray, content: np.ndarray, output: np.ndarray, terms: dict[str, float], config: TeacherConfig
) -> Taught:
    """From the optimised pixels (H, W, 3) to the output at the content's full size."""
    if config.finish == "local_affine":
        output = local_affine_reconstruction(content, output)
    if config.repair:
        output = posterisation_repair(content, output)
    if config.finish != "grid" and content.shape == full.shape:
        return Taught((np.clip(output, 0, 1) * 255 + 0.5).astype(np.uint8), None, terms)
    # Departure: the output is lifted to the full size, whatever it is, by the bilateral grid nearest to it.
    grid = project_on_grid(content, np.clip(output, 0, 1), config.grid, config.grid_smoothness)
    return Taught(render(grid, full), grid, terms)
