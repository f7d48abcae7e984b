"""Tuning a look: the codes of one reference, improved by what the student makes of many frames.

The networks stay as they are; only the few thousand numbers of the look are learned, so that the tuned look is a
`.look` file like any other and costs nothing at run time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.infer.model.look import Look, assign
from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.train.bilateral import render
from hueglass.train.matting_laplacian import laplacian_energy
from hueglass.train.schedule import progress

from .losses import LossWeights, out_of_range, sliced_wasserstein, smoothness
from .network import Student

SPREAD = 0.1
"""At least: codes of one picture may lie close together."""
DIAGONAL = (3, 5, 8)
"""Where in a code the diagonal of the Cholesky factor stands: it has to stay positive, at least LEAST."""
LEAST = 1e-2


class TuneConfig(BaseModel):
    """How long and how boldly."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    minutes: float = Field(3, gt=0)
    steps: int = Field(1000, gt=0)
    batch: int = Field(4, ge=1, le=64)
    learning_rate: float = Field(0.05, gt=0)
    """Of steps measured in the codes' own spread."""
    render_size: int = Field(128, ge=16)
    shown: float = Field(0.5, ge=0, le=1)
    """Share of frames that are shown with their regions; the others teach the tones."""
    losses: LossWeights = LossWeights(swd=1.0)


@dataclass(frozen=True)
class TuningFrame:
    """A frame's or the reference's thumbnail (T, T, 3) uint8 sRGB and its regions over half of it."""

    thumbnail: np.ndarray
    regions: Regions


@dataclass(frozen=True)
class Example:
    """Two frames as the student is given them (maps zero where regions are hidden), and which regions belong together.

    `content`, `style` (1, 3, T, T); `maps` (1, slots, T/2, T/2); `truth`, `style_truth` (1, R, T/2, T/2), the last
    region being what the reference lacks, to which all of it answers.
    """

    content: Tensor
    maps: Tensor
    names: tuple[str, ...]
    style: Tensor
    truth: Tensor
    style_truth: Tensor


class Codes(torch.nn.Module):
    """The look's numbers, learned as offsets from where they were, in units of how widely such numbers spread."""

    start: Tensor
    spread: Tensor
    floor: Tensor

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        start = torch.from_numpy(np.concatenate([look.codes, look.tones]))
        self.register_buffer("start", start)
        spread = start.std(0) if len(start) > 1 else torch.zeros(start.shape[1])
        self.register_buffer("spread", spread.clamp_min(SPREAD))
        floor = torch.full((start.shape[1],), -torch.inf)
        floor[list(DIAGONAL)] = LEAST
        self.register_buffer("floor", floor)
        self.offset = torch.nn.Parameter(torch.zeros_like(start))

    def forward(self) -> Tensor:
        return torch.maximum(self.start + self.offset * self.spread, self.floor)

    def tuned(self) -> Look:
        """The look with its codes as they are now."""
        codes = self().detach().cpu().numpy()
        count = len(self.look.codes)
        return replace(self.look, codes=codes[:count], tones=codes[count:])


def tune(
    student: Student,
    look: Look,
    reference: TuningFrame,
    frames: list[TuningFrame],
    config: TuneConfig,
    report: Callable[[float, float], None],
) -> Look:
    """The look, tuned on `frames`; calls `report` after every step with the progress, 0 to 1, and the loss."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    codes = Codes(look)
    student.requires_grad_(False)
    optimiser = torch.optim.Adam(codes.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    began = time.monotonic()
    for step in range(config.steps):
        done = progress(step, config.steps, time.monotonic() - began, config.minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - 0.9 * done)
        drawn = [frames[int(i)] for i in rng.integers(len(frames), size=config.batch)]
        examples = [
            example(frame, reference, look, student.config.slots, rng.random() < config.shown) for frame in drawn
        ]
        now = codes()
        loss = torch.stack([_loss(student, now, look, e, config) for e in examples]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        report(done, float(loss.detach()))
    return codes.tuned()


def example(frame: TuningFrame, reference: TuningFrame, look: Look, slots: int, shown: bool) -> Example:
    """A frame to learn from, its regions shown to the student or not."""
    ours, theirs = frame.regions, reference.regions
    shared = [n for n in ours.names if n in theirs.names and n in look.names][:slots]
    size = frame.thumbnail.shape[0] // 2
    maps = [ours.maps[ours.names.index(n)] for n in shared]
    style_maps = [theirs.maps[theirs.names.index(n)] for n in shared]
    rest = 1 - np.sum(maps, 0) if maps else np.ones((size, size), np.float32)
    seen = Regions(np.stack(maps), tuple(shared)) if shown and maps else no_regions(size)
    return Example(
        content=_picture(frame.thumbnail),
        maps=torch.from_numpy(assign(look, seen, slots).maps)[None],
        names=seen.names,
        style=_picture(reference.thumbnail),
        truth=_stacked([*maps, np.clip(rest, 0, 1)]),
        style_truth=_stacked([*style_maps, np.ones((size, size), np.float32)]),
    )


def look_codes(codes: Tensor, look: Look, names: tuple[str, ...], slots: int) -> Tensor:
    """What the student is given (1, slots + tones, code) of all codes (regions + tones, code): `assign` in torch."""
    own = codes[[look.names.index(n) for n in names]]
    empty = codes.new_zeros(slots - len(names), codes.shape[1])
    return torch.cat([own, empty, codes[len(look.names) :]])[None]


def _loss(student: Student, codes: Tensor, look: Look, e: Example, config: TuneConfig) -> Tensor:
    weights, size = config.losses, config.render_size
    grid = student(e.content, e.maps, look_codes(codes, look, e.names, student.config.slots))
    small, style, truth, style_truth = (
        F.interpolate(x, size=(size, size), mode="area") for x in (e.content, e.style, e.truth, e.style_truth)
    )
    output = render(grid, small)
    across, along = smoothness(grid)
    losses = {
        "swd": sliced_wasserstein(output, truth, style, style_truth),
        "laplacian": laplacian_energy(small, output),
        "smooth": across,
        "smooth_depth": along,
        "out_of_range": out_of_range(output),
    }
    return torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()


@torch.no_grad()
def distance(student: Student, look: Look, reference: TuningFrame, frames: list[TuningFrame], shown: bool) -> float:
    """Mean sliced Wasserstein distance in CIELAB units of stylized frames to the reference, region to region."""
    torch.manual_seed(0)
    codes, found = torch.from_numpy(np.concatenate([look.codes, look.tones])), []
    for frame in frames:
        e = example(frame, reference, look, student.config.slots, shown)
        grid = student(e.content, e.maps, look_codes(codes, look, e.names, student.config.slots))
        output = F.avg_pool2d(render(grid, e.content).clamp(0, 1), 2)
        found.append(100 * sliced_wasserstein(output, e.truth, F.avg_pool2d(e.style, 2), e.style_truth, 2048, 32))
    return float(torch.stack(found).mean())


def _picture(thumbnail: np.ndarray) -> Tensor:
    return torch.from_numpy(thumbnail).permute(2, 0, 1)[None].float() / 255


def _stacked(maps: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(maps).astype(np.float32))[None]
