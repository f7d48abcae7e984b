"""Training the segmenter, top to bottom.

It learns from labelled photographs and street frames in random light: crops, mirrored and stretched, under grades as
strong as those that the student is trained on, so that a sky is a sky at noon, at dusk and in fog.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN, camvid_known
from hueglass.datasets.photos import Photo, load_photos, split, street_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.files import disk_errors
from hueglass.infer.images import write_image
from hueglass.infer.regions import read_labels

from . import schedule
from .checkpoint import load_resume, save_resume
from .features import load_features
from .segment_samples import SegmentSampleConfig, SegmentSampler, labelled
from .segment_scores import COUNT, name_pixels, painted, scores, selection
from .segmenter import Segmenter, SegmenterConfig, save_segmenter

SHOWN = 12
"""Pictures of each kind on a contact sheet."""


class SegmentDataConfig(BaseModel):
    """Folders are relative to the data folder given on the command line."""

    model_config = ConfigDict(extra="forbid")

    photos: list[str] = []
    watched: list[str] = []
    """Folders never trained on, watched beside the photographs held out."""
    streets: int = Field(0, ge=0, le=1000)
    """Procedural street frames to train on as well."""
    side: int = Field(360, ge=64, le=1024)
    weights: str | None = None
    """SqueezeNet's ImageNet weights, from which the trunk starts; none: from chance."""


class SegmentConfig(BaseModel):
    """One training of the segmenter. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")

    network: Literal["segmenter"] = "segmenter"
    seed: int = 0
    steps: int = Field(gt=0)
    minutes: float | None = Field(None, gt=0)
    """Stop after this much training time even if steps are left; the learning rate follows whichever ends first."""
    batch: int = Field(16, ge=2, le=256)
    learning_rate: float = Field(2e-3, gt=0)
    trunk_rate: float = Field(0.2, gt=0, le=1)
    """The trunk's share of the learning rate: what it knows already is not to be washed away."""
    weight_decay: float = Field(0.05, ge=0)
    warmup: int = Field(200, ge=0)
    overlap: float = Field(0.5, ge=0)
    """Weight of the loss of overlap beside cross entropy: it counts small regions as much as large ones."""
    average: float = Field(0.998, ge=0, lt=1)
    """The saved weights are an exponential moving average of the trained ones."""
    bfloat16: bool = False
    """The network in bfloat16: faster where the processor has it. Losses and scores stay in single precision."""
    threads: int = Field(0, ge=0)
    """CPU threads, 0 for torch's own choice."""
    segmenter: SegmenterConfig = SegmenterConfig()
    samples: SegmentSampleConfig = SegmentSampleConfig()
    data: SegmentDataConfig = SegmentDataConfig()
    checkpoint_minutes: float = Field(5, gt=0)
    sheet_minutes: float = Field(5, gt=0)


@dataclass
class Training:
    """Everything that changes while training. `averaged` holds the moving average of `segmenter`."""

    segmenter: Segmenter
    averaged: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer
    sampler: SegmentSampler
    step: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last measurement on what is watched."""
    best: float = -math.inf
    """The highest `selection` so far: that of the weights that are kept."""

    def saved(self) -> Segmenter:
        """The network that is measured, shown and saved: the averaged one."""
        segmenter = self.averaged.module
        assert isinstance(segmenter, Segmenter)
        return segmenter.eval()


def load_data(config: SegmentDataConfig, folder: Path | None) -> tuple[list[Photo], list[Photo]]:
    """Labelled pictures to train on and to watch. UsageError if there is too little of either.

    Where `watched` folders are given, filmed frames are not held out beside them: the next frame, which is trained
    on, looks the same.
    """
    found = street_photos(config.streets, config.side) + _load(config.photos, config.side, folder)
    training, watched = split(labelled(found))
    if config.watched:
        training += [p for p in watched if p.filmed]
        watched = [p for p in watched if not p.filmed] + _load(config.watched, config.side, folder)
    if not watched:  # names are drawn by checksum: of a few, all may be for training
        training, watched = training[:-1], training[-1:]
    if not training:
        raise UsageError("the configuration names too little labelled data, expected two pictures at least")
    return training, labelled(watched)


def _load(names: list[str], side: int, folder: Path | None) -> list[Photo]:
    if not names:
        return []
    if folder is None:
        raise UsageError(f"the configuration names photographs ({names[0]}): say where they are with --data DIR")
    return [known(p, folder / name) for name in names for p in load_photos(folder / name, side)]


def known(photo: Photo, folder: Path) -> Photo:
    """The photograph; if it is a frame of CamVid, with what CamVid left unlabelled as unknown."""
    path = folder.with_name(f"{folder.name}_label") / f"{photo.name}.png"
    if not photo.filmed or not path.is_file():
        return photo
    known = camvid_known(read_labels(path))
    height, width = photo.image.shape[:2]
    return replace(photo, labels=cv2.resize(known, (width, height), interpolation=cv2.INTER_NEAREST))


def start(config: SegmentConfig, photos: list[Photo], data: Path | None, device: torch.device) -> Training:
    """A training at step 0."""
    torch.manual_seed(config.seed)
    segmenter = Segmenter(config.segmenter)
    if config.data.weights:
        segmenter.start_from(load_features("squeezenet", (data or Path()) / config.data.weights))
    segmenter = segmenter.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = torch.optim.swa_utils.AveragedModel(
        segmenter, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    trunk = list(segmenter.trunk.parameters())
    rest = [p for name, p in segmenter.named_parameters() if not name.startswith("trunk.")]
    groups = [{"params": rest, "share": 1.0}, {"params": trunk, "share": config.trunk_rate}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    sampler = SegmentSampler(config.samples, photos, config.segmenter.thumbnail, config.seed)
    return Training(segmenter, averaged, optimiser, sampler)


def run(config: SegmentConfig, folder: Path, data: Path | None, report: Callable[[Training, dict], None]) -> Training:
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
    seen, watched = load_data(config.data, data)
    training = start(config, seen, data, device)
    resume(training, config, folder)
    watch = Watch(watched, folder)
    while progress(training, config) < 1:
        began = time.monotonic()
        set_learning_rate(training, config)
        losses = train_step(training, config, device)
        training.seconds += time.monotonic() - began
        report(training, losses)
        watch.after_step(training, losses, config)
    watch.finish(training, config)
    return training


def progress(training: Training, config: SegmentConfig) -> float:
    """How much of the training is done, 0 to 1."""
    return schedule.progress(training.step, config.steps, training.seconds, config.minutes)


def set_learning_rate(training: Training, config: SegmentConfig) -> None:
    rate = schedule.learning_rate(config.learning_rate, training.step, config.warmup, progress(training, config))
    for group in training.optimiser.param_groups:
        group["lr"] = rate * group["share"]


def train_step(training: Training, config: SegmentConfig, device: torch.device) -> dict[str, float]:
    """One step of the optimiser; returns the losses."""
    images, labels, weights = (x.to(device) for x in training.sampler.draw(config.batch))
    training.segmenter.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
        logits = training.segmenter.logits(images.contiguous(memory_format=torch.channels_last))
    losses = measure(logits.float(), labels, weights, config)
    training.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(training.segmenter.parameters(), 1.0)
    training.optimiser.step()
    training.averaged.update_parameters(training.segmenter)
    training.step += 1
    return {name: float(value.detach()) for name, value in losses.items()}


def measure(logits: Tensor, labels: Tensor, weights: Tensor, config: SegmentConfig) -> dict[str, Tensor]:
    """Both losses of logits (B, 8, H, W) against labels (B, H, W) with weights (B, H, W), and their weighted total."""
    each = F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="none")
    losses = {
        "cross_entropy": (each * weights).sum() / weights.sum().clamp_min(1),
        "overlap": overlap_loss(logits, labels),
    }
    losses["total"] = losses["cross_entropy"] + config.overlap * losses["overlap"]
    return losses


def overlap_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One less the Dice coefficient of soft maps and truth over the batch, mean over the regions in the truth.

    Milletari et al. 2016 (V-Net). Unknown pixels do not count.
    """
    known = (labels != UNKNOWN)[:, None]
    truth = F.one_hot(labels.masked_fill(labels == UNKNOWN, 0), COUNT).permute(0, 3, 1, 2) * known
    maps = torch.softmax(logits, 1) * known
    both, either, true = ((maps * truth).sum((0, 2, 3)), (maps + truth).sum((0, 2, 3)), truth.sum((0, 2, 3)))
    return (1 - 2 * both / either.clamp_min(1))[true > 0].sum() / (true > 0).sum().clamp_min(1)


def keep_best(training: Training, config: SegmentConfig, folder: Path) -> None:
    """Save the averaged weights if no earlier ones scored higher on what is watched."""
    score = selection(training.scores)
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
        save_segmenter(folder, training.saved(), facts)


def checkpoint(training: Training, config: SegmentConfig, folder: Path) -> None:
    """Save what it takes to go on."""
    state = {
        "segmenter": training.segmenter.state_dict(),
        "averaged": training.averaged.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "sampler": training.sampler.state(),
        "scores": training.scores,
        "best": training.best,
        "step": training.step,
        "seconds": training.seconds,
        "config": config.model_dump_json(),
    }
    with disk_errors(folder):
        save_resume(folder, state)


def resume(training: Training, config: SegmentConfig, folder: Path) -> None:
    """Go on from the checkpoint in `folder`, if there is one."""
    state = load_resume(folder)
    if state is None:
        return
    if state["config"] != config.model_dump_json():
        raise UsageError(f"{folder}: holds a training of another configuration, expected an empty or the same one")
    training.segmenter.load_state_dict(state["segmenter"])
    training.averaged.load_state_dict(state["averaged"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.sampler.restore(state["sampler"])
    training.step, training.seconds = state["step"], state["seconds"]
    training.scores, training.best = state["scores"], state["best"]


class Watch:
    """What is written while training: events after every few steps, checkpoints and contact sheets by the clock."""

    def __init__(self, watched: list[Photo], folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        with disk_errors(folder):
            (folder / "sheets").mkdir(exist_ok=True)
        groups = {"photos": [p for p in watched if not p.filmed], "films": [p for p in watched if p.filmed]}
        self.groups = {name: photos for name, photos in groups.items() if photos}
        self.events = SummaryWriter(str(folder / "events"))
        self.shown = self.saved = time.monotonic()

    def after_step(self, training: Training, losses: dict[str, float], config: SegmentConfig) -> None:
        if training.step % 20 == 0:
            for name, value in losses.items():
                self.events.add_scalar(f"loss/{name}", value, training.step)
        now = time.monotonic()
        if now - self.shown > 60 * config.sheet_minutes:
            self.show(training, config)
        if now - self.saved > 60 * config.checkpoint_minutes:
            checkpoint(training, config, self.folder)
            self.saved = now

    def show(self, training: Training, config: SegmentConfig) -> None:
        """Measure on what is watched, keep the weights if they are the best, and draw the contact sheet."""
        named = {group: name_pixels(training.saved(), photos) for group, photos in self.groups.items()}
        training.scores = {}
        for group, photos in self.groups.items():
            training.scores |= scores(photos, named[group], group)
        for name, value in training.scores.items():
            self.events.add_scalar(f"watched/{name}", value, training.step)
        keep_best(training, config, self.folder)
        sheet = np.vstack([contact_sheet(photos, named[group]) for group, photos in self.groups.items()])
        write_image(self.folder / "sheets" / f"{training.step:07d}.jpg", sheet)
        self.events.add_image("watched", sheet, training.step, dataformats="HWC")
        self.events.flush()
        self.shown = time.monotonic()

    def finish(self, training: Training, config: SegmentConfig) -> None:
        self.show(training, config)
        checkpoint(training, config, self.folder)
        self.events.close()


def contact_sheet(photos: list[Photo], named: list[np.ndarray], size: int = 160) -> np.ndarray:
    """Some of the photographs, evenly chosen: a row of pictures, one of truths, one of what was named, and again."""
    chosen = np.linspace(0, len(photos) - 1, SHOWN).astype(int)
    rows = [
        [cv2.resize(photos[i].image, (size, size), interpolation=cv2.INTER_AREA) for i in chosen],
        [_small(photos[i].labels, size) for i in chosen],
        [_small(named[i], size) for i in chosen],
    ]
    half = SHOWN // 2
    return np.vstack([np.hstack(row[part]) for part in (slice(half), slice(half, None)) for row in rows])


def _small(labels: np.ndarray | None, size: int) -> np.ndarray:
    assert labels is not None
    return cv2.resize(painted(labels), (size, size), interpolation=cv2.INTER_NEAREST)
