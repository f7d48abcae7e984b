"""Training the student, top to bottom.

Every batch has samples of three kinds (see `samples`): graded ones teach it to follow any reference exactly,
the teacher's targets what a photorealistic transfer looks like, unpaired ones to be faithful to every region.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from hueglass.datasets.photos import Photo, held_out, load_folders, split, street_photos
from hueglass.datasets.targets import Target, read_targets
from hueglass.infer.errors import UsageError
from hueglass.train import loop
from hueglass.train.bilateral import render
from hueglass.train.loop import LoopConfig
from hueglass.train.matting_laplacian import laplacian_energy
from hueglass.train.sampling import PhotoConfig
from hueglass.train.student.weights import load_weights, save_weights

from .held_out import HeldOut, selection
from .losses import (
    LossWeights,
    borders,
    correspondence,
    grid_distance,
    out_of_range,
    reconstruction,
    sliced_wasserstein,
    smoothness,
    unevenness,
)
from .network import LookEncoder, Sight, Student, StudentConfig, new_networks
from .samples import Batch, SampleConfig, Sampler, joined
from .scene import inconsistency, seen_again


class DataConfig(PhotoConfig):
    """Photographs and teacher's targets."""

    labels: str | None = None
    """A folder of labels (`hueglass label`) of the photographs that nobody labelled by hand, relative to where the
    command is run."""
    targets: list[str] = Field(default_factory=list)
    """Stores of teacher's targets, relative to where the command is run."""


class BatchConfig(BaseModel):
    """Samples of each kind in a batch."""

    model_config = ConfigDict(extra="forbid")

    graded: int = Field(3, ge=1, le=256)
    taught: int = Field(2, ge=0, le=256)
    unpaired: int = Field(3, ge=1, le=256)


class TrainConfig(LoopConfig):
    """One training of the student: what `hueglass train CONFIG` reads."""

    network: Literal["student"] = "student"
    batch: BatchConfig = BatchConfig()
    render_size: int = Field(128, ge=16)
    """Losses look at the output at this size; the grid does not know the size of what is sliced through it."""
    laplacian_size: int = Field(64, ge=8)
    """The Laplacian loss looks at a random square of this size of every output."""
    student: StudentConfig = StudentConfig()
    losses: LossWeights = LossWeights()
    samples: SampleConfig = SampleConfig()
    data: DataConfig = DataConfig()

    @model_validator(mode="after")
    def _slots_suffice(self) -> "TrainConfig":
        if self.samples.most_regions > self.student.slots:
            raise ValueError(f"samples.most_regions is {self.samples.most_regions}, expected at most student.slots")
        if bool(self.batch.taught) != bool(self.data.targets):
            raise ValueError("expected data.targets and batch.taught either both or neither")
        return self


@dataclass
class Training(loop.Training):
    """Student and encoder, which `network` holds both, being trained."""

    sampler: Sampler

    @property
    def student(self) -> Student:
        return _both(self.network)[0]

    @property
    def encoder(self) -> LookEncoder:
        return _both(self.network)[1]

    def saved(self) -> tuple[Student, LookEncoder]:
        """The networks that are measured, shown and saved: the averaged ones."""
        return _both(self.averaged.module)


def _both(network: torch.nn.Module) -> tuple[Student, LookEncoder]:
    student, encoder = network.children()
    assert isinstance(student, Student)
    assert isinstance(encoder, LookEncoder)
    return student, encoder


@dataclass(frozen=True)
class Data:
    """Photographs and teacher's targets."""

    photos: list[Photo]
    targets: list[Target]


def load_data(config: DataConfig, folder: Path | None) -> tuple[Data, Data]:
    """What to train on and what to watch.

    Where `watched` folders are given, filmed frames are not held out beside them: the next frame, which is trained
    on, looks the same. UsageError if there is too little of anything.
    """
    streets = street_photos(config.streets, config.side)
    labels = None if config.labels is None else Path(config.labels)
    training, held_out = split(streets + load_folders(config.photos, folder, config.side, labels=labels))
    if not held_out:  # names are drawn by checksum: of a few, all may be for training
        training, held_out = training[:-1], training[-1:]
    if not training:
        raise UsageError("the configuration names too little data, expected photos or streets, two at least")
    if config.watched:
        held_out = [p for p in held_out if not p.filmed] + load_folders(config.watched, folder, config.side)
    taught, watched = load_targets(config.targets)
    return Data(training, taught), Data(held_out, watched)


def load_targets(stores: list[str]) -> tuple[list[Target], list[Target]]:
    """Targets with grids to train on, and those to watch: one in twenty, by the name of the content."""
    targets = [t for store in stores for t in read_targets(Path(store)) if t.grid is not None]
    held = [held_out(str(t.provenance.get("pair", {}).get("content", t.name)), 20) for t in targets]
    training = [t for t, h in zip(targets, held, strict=True) if not h]
    if stores and not training:
        raise UsageError(f"{', '.join(stores)}: too few targets, expected two at least")
    return training, [t for t, h in zip(targets, held, strict=True) if h] or training[:1]


def start(config: TrainConfig, data: Data, device: torch.device) -> Training:
    """A training at step 0."""
    torch.manual_seed(config.seed)
    student, encoder = new_networks(config.student) if config.start_from is None else _trained(config)
    both = torch.nn.ModuleList([student, encoder]).to(device)
    averaged = torch.optim.swa_utils.AveragedModel(both, multi_avg_fn=partial(move_average, config.average))
    if config.bfloat16:
        for part in (student.trunk, student.conditioned):
            _in_bfloat16(part, device)
    optimiser = torch.optim.AdamW(both.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    sizes = (config.student.thumbnail, config.student.slots)
    sampler = Sampler(config.samples, data.photos, data.targets, *sizes, config.seed)
    return Training(both, averaged, optimiser, sampler)


def _trained(config: TrainConfig) -> tuple[Student, LookEncoder]:
    """The networks of `start_from`, of as many cells as are wanted. UsageError if they are of other sizes."""
    student, encoder, _ = load_weights(Path(config.start_from or ""), config.student.cells)
    if student.config != config.student:
        raise UsageError(f"{config.start_from}: holds networks of other sizes, expected those of the configuration")
    return student.train(), encoder.train()


@torch.no_grad()
def move_average(decay: float, averaged: list[Tensor], now: list[Tensor], count: Tensor) -> None:
    """One step of an exponential moving average that forgets the untrained weights soon: of few, nearly their mean."""
    weight = max(1 - decay, 9 / (10 + float(count)))
    for mean, value in zip(averaged, now, strict=True):
        mean.lerp_(value, weight)


def draw(sampler: Sampler, counts: BatchConfig) -> Batch:
    """The samples of one step: graded, then unpaired, then taught ones."""
    kinds = [sampler.graded(counts.graded), sampler.unpaired(counts.unpaired)]
    return joined(kinds + ([sampler.taught(counts.taught)] if counts.taught else []))


def run(config: TrainConfig, folder: Path, data: Path | None, report: Callable[[Training, dict], None]) -> Training:
    """Train until the steps or the minutes are used up, going on from a checkpoint in `folder` if it holds one.

    Writes checkpoints, TensorBoard events and contact sheets to `folder`; calls `report` after every step with
    the losses. UsageError if `folder` holds a training of another configuration.
    """
    device = loop.prepare(config, folder)
    seen, held_out = load_data(config.data, data)
    training = start(config, seen, device)
    loop.resume(training, config, folder)
    sizes = (config.student.thumbnail, config.student.slots)
    watched = HeldOut.draw(held_out.photos, held_out.targets, *sizes, config.samples)
    learn = partial(train_step, config=config, device=device)
    return loop.run(training, task(learn, watched), config, folder, report)


def task(learn: Callable[[Training], dict[str, float]], watched: HeldOut) -> loop.Task[Training]:
    """What the loop has to know of a training of the student; `watched` is what it is measured on."""
    return loop.Task(
        learn=learn,
        measure=lambda training: (watched.measure(*training.saved()), watched.sheet(*training.saved())),
        selection=selection,
        save=lambda training, folder, facts: save_weights(folder, *training.saved(), facts),
    )


def _in_bfloat16(part: torch.nn.Module, device: torch.device) -> None:
    plain = part.forward

    def forward(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        with torch.autocast(device.type, torch.bfloat16):
            out = plain(x)
        return out.float() if isinstance(out, Tensor) else tuple(y.float() for y in out)

    part.forward = forward


def train_step(training: Training, config: TrainConfig, device: torch.device) -> dict[str, float]:
    """One step of the optimiser; returns the losses."""
    batch = draw(training.sampler, config.batch).to(device)
    prediction = predict(training.student, training.encoder, batch)
    losses = measure(prediction, batch, config)
    losses["total"] = sum(getattr(config.losses, name) * value for name, value in losses.items())
    training.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
    training.optimiser.step()
    training.averaged.update_parameters(training.network)
    training.step += 1
    return {name: float(value.detach()) for name, value in losses.items()}


@dataclass(frozen=True)
class Prediction:
    """What the networks make of a batch: what the student sees of the content, what of the second view when it
    remembers the first, and where the reference's tones lie."""

    first: Sight
    again: Sight
    tones: Tensor


def predict(student: Student, encoder: LookEncoder, batch: Batch) -> Prediction:
    codes, tones = encoder.encode(batch.reference, batch.reference_maps)
    first = student.see(batch.content, batch.content_maps, codes)
    return Prediction(first, seen_again(student, first, batch.view, batch.view_maps, codes), tones)


def measure(prediction: Prediction, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The losses of a batch (in the order of `draw`)."""
    weights, size, counts = config.losses, config.render_size, config.batch
    graded, free = slice(0, counts.graded), slice(counts.graded, counts.graded + counts.unpaired)
    taught = slice(free.stop, None)
    small, style, view = (_fit(x, size) for x in (batch.content, batch.reference, batch.view))
    regions, style_regions = _fit(batch.content_truth, size), _fit(batch.reference_truth, size)
    grid = prediction.first.coefficients
    output, again = render(grid, small), render(prediction.again.coefficients, view)
    importance = 1 + weights.border * borders(regions)
    assert batch.target is not None
    assert batch.view_target is not None
    target, view_target = _fit(batch.target, size), _fit(batch.view_target, size)
    across, along = smoothness(grid)
    whole = reconstruction(output[graded], target[graded], importance[graded])
    losses = {
        "reconstruction": (whole + reconstruction(again[graded], view_target[graded])) / 2,
        "swd": sliced_wasserstein(output[free], regions[free], style[free], style_regions[free]),
        "consistency": inconsistency(small, output, view, again, batch.motion),
        "halo": unevenness(output[free], small[free], regions[free, :-1]),
        "correspondence": _correspondence(prediction, batch),
        "laplacian": laplacian_energy(*_window(small, output, config.laplacian_size)),
        "smooth": across,
        "smooth_depth": along,
        "out_of_range": out_of_range(output),
    }
    if counts.taught:
        losses["teacher"] = reconstruction(output[taught], target[taught], importance[taught])
        if weights.teacher_grid:  # a student with another grid than the teacher's cannot be held to it
            assert batch.grid is not None
            assert batch.grid_known is not None
            losses["teacher_grid"] = grid_distance(grid, batch.grid, small, batch.grid_known)
    return losses


def _correspondence(prediction: Prediction, batch: Batch) -> Tensor:
    """Of the regions that both sides have: the last channel of the truth is what the reference lacks."""
    attention = prediction.first.attention
    size = attention.shape[-1]
    ours, theirs = (_fit(truth[:, :-1], size) for truth in (batch.content_truth, batch.reference_truth))
    return correspondence(attention, ours, prediction.tones, theirs, batch.semantic)


def _window(image: Tensor, output: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same random square, at most `size` pixels wide, of both."""
    room = max(0, image.shape[-1] - size)
    top, left = (int(torch.randint(room + 1, ())) for _ in range(2))
    place = (..., slice(top, top + size), slice(left, left + size))
    return image[place], output[place]


def _fit(x: Tensor, size: int) -> Tensor:
    return x if x.shape[-1] == size else F.interpolate(x, size=(size, size), mode="area")
