"""Training the segmenter, top to bottom.

It learns from labelled photographs and street frames in random light: crops, mirrored and stretched, under grades as
strong as those that the student is trained on, so that a sky is a sky at noon, at dusk and in fog.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN, camvid_known
from hueglass.datasets.photos import Photo, load_folders, split, street_photos
from hueglass.infer.errors import UsageError
from hueglass.train import loop
from hueglass.train.features import load_features
from hueglass.train.loop import LoopConfig
from hueglass.train.sampling import PhotoConfig

from .network import Segmenter, SegmenterConfig, load_segmenter, save_segmenter
from .samples import SegmentSampleConfig, SegmentSampler, labelled
from .scores import COUNT, name_pixels, painted, scores, selection

SHOWN = 12
"""Pictures of each kind on a contact sheet."""


class SegmentDataConfig(PhotoConfig):
    """Labelled pictures, and the weights to start from."""

    weights: str | None = None
    """SqueezeNet's ImageNet weights, from which the trunk starts, below the data folder; none: from chance."""


class SegmentConfig(LoopConfig):
    """One training of the segmenter: what `hueglass train CONFIG` reads."""

    network: Literal["segmenter"] = "segmenter"
    batch: int = Field(16, ge=2, le=256)
    learning_rate: float = Field(2e-3, gt=0)
    trunk_rate: float = Field(0.2, gt=0, le=1)
    """The trunk's share of the learning rate: what it knows already is not to be washed away."""
    weight_decay: float = Field(0.05, ge=0)
    overlap: float = Field(0.5, ge=0)
    """Weight of the loss of overlap beside cross entropy: it counts small regions as much as large ones."""
    average: float = Field(0.998, ge=0, lt=1)
    segmenter: SegmenterConfig = SegmenterConfig()
    samples: SegmentSampleConfig = SegmentSampleConfig()
    data: SegmentDataConfig = SegmentDataConfig()
    sheet_minutes: float = Field(5, gt=0)


@dataclass
class Training(loop.Training):
    """The segmenter, which is `network`, being trained."""

    sampler: SegmentSampler

    @property
    def segmenter(self) -> Segmenter:
        assert isinstance(self.network, Segmenter)
        return self.network

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
    found = street_photos(config.streets, config.side) + _load(config.photos, folder, config.side)
    training, watched = split(labelled(found))
    if config.watched:
        training += [p for p in watched if p.filmed]
        watched = [p for p in watched if not p.filmed] + _load(config.watched, folder, config.side)
    if not watched:  # names are drawn by checksum: of a few, all may be for training
        training, watched = training[:-1], training[-1:]
    if not training:
        raise UsageError("the configuration names too little labelled data, expected two pictures at least")
    return training, labelled(watched)


def _load(names: list[str], folder: Path | None, side: int) -> list[Photo]:
    return load_folders(names, folder, side, camvid_known)


def start(config: SegmentConfig, photos: list[Photo], data: Path | None, device: torch.device) -> Training:
    """A training at step 0."""
    torch.manual_seed(config.seed)
    segmenter = _at_first(config, data).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = torch.optim.swa_utils.AveragedModel(
        segmenter, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    trunk = list(segmenter.trunk.parameters())
    rest = [p for name, p in segmenter.named_parameters() if not name.startswith("trunk.")]
    groups = [{"params": rest, "share": 1.0}, {"params": trunk, "share": config.trunk_rate}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    sampler = SegmentSampler(config.samples, photos, config.segmenter.thumbnail, config.seed)
    return Training(segmenter, averaged, optimiser, sampler)


def _at_first(config: SegmentConfig, data: Path | None) -> Segmenter:
    """From `start_from`, or with the trunk of `data.weights`, or from chance. UsageError if it is of other sizes."""
    if config.start_from is not None:
        segmenter, _ = load_segmenter(Path(config.start_from))
        if segmenter.config != config.segmenter:
            raise UsageError(f"{config.start_from}: holds a segmenter of other sizes, expected the configuration's")
        return segmenter.train()
    segmenter = Segmenter(config.segmenter)
    if config.data.weights:
        segmenter.start_from(load_features("squeezenet", (data or Path()) / config.data.weights))
    return segmenter


def run(config: SegmentConfig, folder: Path, data: Path | None, report: Callable[[Training, dict], None]) -> Training:
    """Train until the steps or the minutes are used up, going on from a checkpoint in `folder` if it holds one.

    Writes checkpoints, TensorBoard events and contact sheets to `folder`; calls `report` after every step with
    the losses. UsageError if `folder` holds a training of another configuration.
    """
    device = loop.prepare(config, folder)
    seen, watched = load_data(config.data, data)
    training = start(config, seen, data, device)
    loop.resume(training, config, folder)
    task: loop.Task[Training] = loop.Task(
        learn=partial(train_step, config=config, device=device),
        measure=partial(watch, photos=watched),
        selection=selection,
        save=lambda training, folder, facts: save_segmenter(folder, training.saved(), facts),
    )
    return loop.run(training, task, config, folder, report)


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


def watch(training: Training, photos: list[Photo]) -> tuple[dict[str, float], np.ndarray]:
    """The scores on photographs and on frames of films, and a contact sheet of both."""
    groups = {"photos": [p for p in photos if not p.filmed], "films": [p for p in photos if p.filmed]}
    found: dict[str, float] = {}
    sheets = []
    for group, members in groups.items():
        if members:
            named = name_pixels(training.saved(), members)
            found |= scores(members, named, group)
            sheets.append(contact_sheet(members, named))
    return found, np.vstack(sheets)


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
