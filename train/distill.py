"""Training the student, top to bottom.

Half of every batch is self-supervised (an exact target exists), half unpaired (only the reference's colours
exist, region by region). All losses but the first hold for both halves.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from hueglass.datasets.photos import Photo, load_photos, split, street_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.files import disk_errors
from hueglass.infer.images import write_image

from .bilateral import render
from .checkpoint import load_resume, save_resume, save_weights
from .losses import LossWeights, out_of_range, reconstruction, sliced_wasserstein, smoothness
from .matting_laplacian import laplacian_energy
from .samples import Batch, SampleConfig, Sampler
from .scenes import Scenes
from .student import LookEncoder, Student, StudentConfig


class DataConfig(BaseModel):
    """Folders are relative to the data folder given on the command line."""

    model_config = ConfigDict(extra="forbid")

    photos: list[str] = []
    watched: list[str] = []
    """Folders never trained on, watched beside the photographs held out."""
    streets: int = Field(0, ge=0, le=1000)
    """Procedural street frames to train on as well."""
    side: int = Field(320, ge=64, le=1024)


class TrainConfig(BaseModel):
    """One training: what `hueglass train CONFIG` reads. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    steps: int = Field(gt=0)
    minutes: float | None = Field(None, gt=0)
    """Stop after this much training time even if steps are left; the learning rate follows whichever ends first."""
    batch: int = Field(8, ge=2, le=512, multiple_of=2)
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(200, ge=0)
    render_size: int = Field(128, ge=16)
    """Losses look at the output at this size; the grid does not know the size of what is sliced through it."""
    laplacian_size: int = Field(64, ge=8)
    """The Laplacian loss looks at a random square of this size of every output."""
    average: float = Field(0.999, ge=0, lt=1)
    """The saved weights are an exponential moving average of the trained ones."""
    bfloat16: bool = False
    """Convolutions in bfloat16: faster where the processor has it. Everything measured stays in single precision."""
    threads: int = Field(0, ge=0)
    """CPU threads, 0 for torch's own choice."""
    student: StudentConfig = StudentConfig()
    losses: LossWeights = LossWeights()
    samples: SampleConfig = SampleConfig()
    data: DataConfig = DataConfig()
    checkpoint_minutes: float = Field(5, gt=0)
    sheet_minutes: float = Field(15, gt=0)

    @model_validator(mode="after")
    def _slots_suffice(self) -> "TrainConfig":
        if self.samples.most_regions > self.student.slots:
            raise ValueError(f"samples.most_regions is {self.samples.most_regions}, expected at most student.slots")
        return self


@dataclass
class Training:
    """Everything that changes while training. `averaged` holds the moving average of `both`."""

    student: Student
    encoder: LookEncoder
    both: torch.nn.ModuleList
    averaged: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    sampler: Sampler
    step: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last measurement on held-out scenes."""

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.both.parameters())

    def saved(self) -> tuple[Student, LookEncoder]:
        """The networks that are measured, shown and saved: the averaged ones."""
        student, encoder = self.averaged.module.children()
        assert isinstance(student, Student)
        assert isinstance(encoder, LookEncoder)
        return student, encoder


def load_data(config: DataConfig, folder: Path | None) -> tuple[list[Photo], list[Photo]]:
    """Photographs to train on and photographs to watch.

    Where `watched` folders are given, labelled frames are not held out beside them: in a filmed sequence the
    next frame, which is trained on, looks the same.
    """
    streets = street_photos(config.streets, config.side)
    training, held_out = split(streets + _load(config.photos, config.side, folder))
    if not held_out:  # names are drawn by checksum: of a few, all may be for training
        training, held_out = training[:-1], training[-1:]
    if not training:
        raise UsageError("the configuration names too little data, expected photos or streets, two at least")
    if config.watched:
        held_out = [p for p in held_out if p.labels is None] + _load(config.watched, config.side, folder)
    return training, held_out


def _load(names: list[str], side: int, folder: Path | None) -> list[Photo]:
    if names and folder is None:
        raise UsageError(f"the configuration names photographs ({names[0]}): say where they are with --data DIR")
    return [photo for name in names for photo in load_photos(Path(folder or ".") / name, side)]


def start(config: TrainConfig, photos: list[Photo], device: torch.device) -> Training:
    """A training at step 0."""
    torch.manual_seed(config.seed)
    student, encoder = Student(config.student).to(device), LookEncoder(config.student).to(device)
    both = torch.nn.ModuleList([student, encoder])
    averaged = torch.optim.swa_utils.AveragedModel(
        both, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average)
    )
    if config.bfloat16:
        for part in (student.trunk, student.conditioned, encoder.trunk):
            _in_bfloat16(part, device)
    optimiser = torch.optim.AdamW(both.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    sampler = Sampler(config.samples, photos, config.student.thumbnail, config.student.slots, config.seed)
    return Training(student, encoder, both, averaged, optimiser, sampler)


def run(config: TrainConfig, folder: Path, data: Path | None, report: Callable[[Training, dict], None]) -> Training:
    """Train until the steps or the minutes are used up, going on from a checkpoint in `folder` if it holds one.

    Writes checkpoints, TensorBoard events and contact sheets to `folder`; calls `report` after every step with
    the losses. UsageError if `folder` holds a training of another configuration.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the training")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.threads:
        torch.set_num_threads(config.threads)
    photos, held_out = load_data(config.data, data)
    training = start(config, photos, device)
    resume(training, config, folder)
    watch = Watch(config, held_out, folder)
    while progress(training, config) < 1:
        began = time.monotonic()
        set_learning_rate(training, config)
        losses = train_step(training, config, device)
        training.seconds += time.monotonic() - began
        report(training, losses)
        watch.after_step(training, losses, config)
    watch.finish(training, config)
    return training


def progress(training: Training, config: TrainConfig) -> float:
    """How much of the training is done, 0 to 1: by steps or by minutes, whichever is further."""
    by_time = training.seconds / (60 * config.minutes) if config.minutes else 0.0
    return min(1.0, max(training.step / config.steps, by_time))


def set_learning_rate(training: Training, config: TrainConfig) -> None:
    """A linear warm-up, then half a cosine down to a hundredth."""
    warm = min(1.0, (training.step + 1) / (config.warmup + 1))
    fall = 0.505 + 0.495 * math.cos(math.pi * progress(training, config))
    for group in training.optimiser.param_groups:
        group["lr"] = config.learning_rate * warm * fall


def checkpoint(training: Training, config: TrainConfig, folder: Path) -> None:
    student, encoder = training.saved()
    facts = {
        "step": training.step,
        "seconds": round(training.seconds),
        "scores": training.scores,
        "config": config.model_dump(),
    }
    state = {
        "both": training.both.state_dict(),
        "averaged": training.averaged.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "sampler": training.sampler.state(),
        "torch": torch.get_rng_state(),
        "scores": training.scores,
        "step": training.step,
        "seconds": training.seconds,
        "config": config.model_dump_json(),
    }
    with disk_errors(folder):
        save_weights(folder, student, encoder, facts)
        save_resume(folder, state)


def resume(training: Training, config: TrainConfig, folder: Path) -> None:
    """Go on from the checkpoint in `folder`, if there is one."""
    state = load_resume(folder)
    if state is None:
        return
    if state["config"] != config.model_dump_json():
        raise UsageError(f"{folder}: holds a training of another configuration, expected an empty or the same one")
    training.both.load_state_dict(state["both"])
    training.averaged.load_state_dict(state["averaged"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.sampler.restore(state["sampler"])
    torch.set_rng_state(state["torch"])
    training.step, training.seconds, training.scores = state["step"], state["seconds"], state["scores"]


class Watch:
    """What is written while training: events after every few steps, checkpoints and contact sheets by the clock."""

    def __init__(self, config: TrainConfig, held_out: list[Photo], folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.scenes = Scenes.draw(held_out, config.student.thumbnail, config.student.slots, config.samples)
        self.events = SummaryWriter(str(folder / "events"))
        (folder / "sheets").mkdir(parents=True, exist_ok=True)
        self.saved = self.shown = time.monotonic()

    def after_step(self, training: Training, losses: dict[str, float], config: TrainConfig) -> None:
        if training.step % 20 == 0:
            for name, value in losses.items():
                self.events.add_scalar(f"loss/{name}", value, training.step)
        now = time.monotonic()
        if now - self.shown > 60 * config.sheet_minutes:
            self.show(training)
        if now - self.saved > 60 * config.checkpoint_minutes:
            checkpoint(training, config, self.folder)
            self.saved = now

    def show(self, training: Training) -> None:
        """Measure on the held-out scenes and draw the contact sheet."""
        student, encoder = training.saved()
        training.scores = self.scenes.measure(student, encoder)
        for name, value in training.scores.items():
            self.events.add_scalar(f"held_out/{name}", value, training.step)
        sheet = self.scenes.sheet(student, encoder)
        write_image(self.folder / "sheets" / f"{training.step:07d}.jpg", sheet)
        self.events.add_image("held_out", sheet, training.step, dataformats="HWC")
        self.events.flush()
        self.shown = time.monotonic()

    def finish(self, training: Training, config: TrainConfig) -> None:
        self.show(training)
        checkpoint(training, config, self.folder)
        self.events.close()


def _in_bfloat16(part: torch.nn.Module, device: torch.device) -> None:
    plain = part.forward

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return plain(x).float()

    part.forward = forward


def train_step(training: Training, config: TrainConfig, device: torch.device) -> dict[str, float]:
    """One step of the optimiser; returns the losses."""
    half = config.batch // 2
    taught = _to(training.sampler.self_supervised(half), device)
    free = _to(training.sampler.unpaired(half), device)
    content, maps = (
        torch.cat([taught.content, free.content]),
        torch.cat([taught.content_maps, free.content_maps]),
    )
    reference = torch.cat([taught.reference, free.reference])
    codes = training.encoder(reference, torch.cat([taught.reference_maps, free.reference_maps]))
    grid = training.student(content, maps, codes)
    losses = measure(grid, content, maps, reference, taught, free, config)
    training.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(training.parameters(), 1.0)
    training.optimiser.step()
    training.averaged.update_parameters(training.both)
    training.step += 1
    return {name: float(value.detach()) for name, value in losses.items()}


def measure(
    grid: Tensor,
    content: Tensor,
    maps: Tensor,
    reference: Tensor,
    taught: Batch,
    free: Batch,
    config: TrainConfig,
) -> dict[str, Tensor]:
    """All losses of a batch whose first half is `taught` and second half `free`, and their weighted total."""
    size, half, weights = config.render_size, len(taught.content), config.losses
    small = F.interpolate(content, size=(size, size), mode="area")
    output = render(grid, small)
    assert taught.target is not None
    target = F.interpolate(taught.target, size=(size, size), mode="area")
    style = F.interpolate(free.reference, size=(size, size), mode="area")
    across, along = smoothness(grid)
    losses = {
        "reconstruction": reconstruction(output[:half], target),
        "swd": sliced_wasserstein(output[half:], _fit(free.content_maps, size), style, _fit(free.reference_maps, size)),
        "laplacian": laplacian_energy(*_window(small, output, config.laplacian_size)),
        "smooth": across,
        "smooth_depth": along,
        "out_of_range": out_of_range(output),
    }
    losses["total"] = sum(getattr(weights, name) * value for name, value in losses.items())
    return losses


def _window(image: Tensor, output: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same random square, at most `size` pixels wide, of both."""
    room = max(0, image.shape[-1] - size)
    top, left = (int(torch.randint(room + 1, ())) for _ in range(2))
    place = (..., slice(top, top + size), slice(left, left + size))
    return image[place], output[place]


def _fit(maps: Tensor, size: int) -> Tensor:
    return maps if maps.shape[-1] == size else F.interpolate(maps, size=(size, size), mode="area")


def _to(batch: Batch, device: torch.device) -> Batch:
    target = None if batch.target is None else batch.target.to(device)
    content, content_maps = batch.content.to(device), batch.content_maps.to(device)
    return Batch(content, content_maps, batch.reference.to(device), batch.reference_maps.to(device), target)
