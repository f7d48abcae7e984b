"""The loop of every training: steps until the time is up, checkpoints, contact sheets, and the best weights kept.

What is trained, on what and how it is measured stands in `distill` and `segment`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from hueglass.infer.errors import UsageError
from hueglass.infer.files import disk_errors
from hueglass.infer.media.images import write_image

from . import schedule
from .checkpoint import load_resume, save_resume


class LoopConfig(BaseModel):
    """What every training is told. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    start_from: str | None = None
    """A checkpoint folder whose weights are trained on, relative to where the command is run; none: from chance."""
    steps: int = Field(gt=0)
    minutes: float | None = Field(None, gt=0)
    """Stop after this much training time even if steps are left; the learning rate follows whichever ends first."""
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(200, ge=0)
    average: float = Field(0.999, ge=0, lt=1)
    """The saved weights are an exponential moving average of the trained ones."""
    bfloat16: bool = False
    """Convolutions in bfloat16: faster where the processor has it. Everything measured stays in single precision."""
    threads: int = Field(0, ge=0)
    """CPU threads, 0 for torch's own choice."""
    checkpoint_minutes: float = Field(5, gt=0)
    sheet_minutes: float = Field(15, gt=0)


class RandomState(Protocol):
    """What of a sampler a checkpoint keeps."""

    def state(self) -> dict: ...

    def restore(self, state: dict) -> None: ...


@dataclass
class Training:
    """Everything that changes while training. `averaged` holds the moving average of `network`."""

    network: torch.nn.Module
    averaged: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    sampler: RandomState
    step: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last measurement on what is held out."""
    best: float = -math.inf
    """The highest `Task.selection` so far: that of the weights that are kept."""


AnyTraining = TypeVar("AnyTraining", bound=Training)


@dataclass(frozen=True)
class Task(Generic[AnyTraining]):
    """What the loop leaves to whoever trains.

    `learn` takes one step and returns the losses; `measure` gives the scores on what is held out and a contact sheet
    (H, W, 3) uint8; of two `selection`s of scores the higher is better; `save` writes averaged weights and facts.
    """

    learn: Callable[[AnyTraining], dict[str, float]]
    measure: Callable[[AnyTraining], tuple[dict[str, float], np.ndarray]]
    selection: Callable[[dict[str, float]], float]
    save: Callable[[AnyTraining, Path, dict], None]


def prepare(config: LoopConfig, folder: Path) -> torch.device:
    """Make the folder of a training and choose the device. UsageError if a file is in the way."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the training")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if config.threads:
        torch.set_num_threads(config.threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run(
    training: AnyTraining,
    task: Task[AnyTraining],
    config: LoopConfig,
    folder: Path,
    report: Callable[[AnyTraining, dict[str, float]], None],
) -> AnyTraining:
    """Train until the steps or the minutes are used up; calls `report` after every step with the losses.

    Writes checkpoints, TensorBoard events and contact sheets to `folder`.
    """
    watch = Watch(task, config, folder)
    while progress(training, config) < 1:
        began = time.monotonic()
        set_learning_rate(training, config)
        losses = task.learn(training)
        training.seconds += time.monotonic() - began
        report(training, losses)
        watch.after_step(training, losses)
    watch.finish(training)
    return training


def progress(training: Training, config: LoopConfig) -> float:
    """How much of the training is done, 0 to 1."""
    return schedule.progress(training.step, config.steps, training.seconds, config.minutes)


def set_learning_rate(training: Training, config: LoopConfig) -> None:
    """The rate of every group of parameters, which may have a `share` of it."""
    rate = schedule.learning_rate(config.learning_rate, training.step, config.warmup, progress(training, config))
    for group in training.optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def keep_best(training: AnyTraining, task: Task[AnyTraining], config: LoopConfig, folder: Path) -> None:
    """Save the averaged weights if no earlier ones scored higher on what is held out."""
    score = task.selection(training.scores)
    if score <= training.best:
        return
    training.best = score
    facts = {
        "step": training.step,
        "seconds": round(training.seconds),
        "scores": training.scores,
        "config": config.model_dump(),
    }
    with disk_errors(folder):
        task.save(training, folder, facts)


def checkpoint(training: Training, config: LoopConfig, folder: Path) -> None:
    """Save what it takes to go on."""
    state = {
        "network": training.network.state_dict(),
        "averaged": training.averaged.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "sampler": training.sampler.state(),
        "torch": torch.get_rng_state(),
        "scores": training.scores,
        "best": training.best,
        "step": training.step,
        "seconds": training.seconds,
        "config": config.model_dump_json(),
    }
    with disk_errors(folder):
        save_resume(folder, state)


def resume(training: Training, config: LoopConfig, folder: Path) -> None:
    """Go on from the checkpoint in `folder`, if there is one. UsageError if it is of another configuration."""
    state = load_resume(folder)
    if state is None:
        return
    if state["config"] != config.model_dump_json():
        raise UsageError(f"{folder}: holds a training of another configuration, expected an empty or the same one")
    training.network.load_state_dict(state["network"])
    training.averaged.load_state_dict(state["averaged"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.sampler.restore(state["sampler"])
    torch.set_rng_state(state["torch"])
    training.step, training.seconds = state["step"], state["seconds"]
    training.scores, training.best = state["scores"], state["best"]


class Watch(Generic[AnyTraining]):
    """What is written while training: events after every few steps, checkpoints and contact sheets by the clock."""

    def __init__(self, task: Task[AnyTraining], config: LoopConfig, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.task, self.config, self.folder = task, config, folder
        with disk_errors(folder):
            (folder / "sheets").mkdir(exist_ok=True)
        self.events = SummaryWriter(str(folder / "events"))
        self.shown = self.saved = time.monotonic()

    def after_step(self, training: AnyTraining, losses: dict[str, float]) -> None:
        if training.step % 20 == 0:
            for name, value in losses.items():
                self.events.add_scalar(f"loss/{name}", value, training.step)
        now = time.monotonic()
        if now - self.shown > 60 * self.config.sheet_minutes:
            self.show(training)
        if now - self.saved > 60 * self.config.checkpoint_minutes:
            checkpoint(training, self.config, self.folder)
            self.saved = now

    def show(self, training: AnyTraining) -> None:
        """Measure on what is held out, keep the weights if they are the best, and write the contact sheet."""
        training.scores, sheet = self.task.measure(training)
        for name, value in training.scores.items():
            self.events.add_scalar(f"held_out/{name}", value, training.step)
        keep_best(training, self.task, self.config, self.folder)
        write_image(self.folder / "sheets" / f"{training.step:07d}.jpg", sheet)
        self.events.add_image("held_out", sheet, training.step, dataformats="HWC")
        self.events.flush()
        self.shown = time.monotonic()

    def finish(self, training: AnyTraining) -> None:
        self.show(training)
        checkpoint(training, self.config, self.folder)
        self.events.close()
