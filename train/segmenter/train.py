"""Training the segmenter, top to bottom.

It learns from pictures that people or its teachers have labelled, in random light: crops, mirrored and stretched, under
grades as strong as those that the student is trained on, so that a sky is a sky at noon, at dusk and in fog. It sees
every picture twice at once, and what both views show is to get the same name in both.
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

from hueglass.datasets.masks import camvid_known
from hueglass.datasets.photos import Photo, load_folders, split, street_photos
from hueglass.infer.errors import UsageError
from hueglass.train import loop
from hueglass.train.loop import LoopConfig
from hueglass.train.sampling import PhotoConfig

from .lessons import Lesson, lesson_of, load_lessons
from .network import Segmenter, SegmenterConfig, load_segmenter, save_segmenter
from .samples import Batch, SegmentSampleConfig, SegmentSampler, labelled
from .scores import maps_of, name_pixels, painted, scores, selection
from .steadiness import pan, steadiness
from .trunk import load_trunk

SHOWN = 12
"""Pictures of each kind on a contact sheet."""
TURNED = 40
"""Held-out photographs over which a camera pans at every measurement."""


class SegmentDataConfig(PhotoConfig):
    """What to learn from, and the weights to start from."""

    scenes: tuple[str, ...] = ()
    """Folders of panoramas and clips, which only teachers have labelled."""
    labels: str | None = None
    """The folder of labels that `hueglass label` made of the data; none: only what people drew."""
    weights: str | None = None
    """EfficientNet-Lite0's ImageNet weights, from which the trunk starts; none: from chance. Both are relative to where
    the command is run."""


class SegmentConfig(LoopConfig):
    """One training of the segmenter: what `hueglass train CONFIG` reads."""

    network: Literal["segmenter"] = "segmenter"
    batch: int = Field(16, ge=2, le=256, multiple_of=2)
    learning_rate: float = Field(2e-3, gt=0)
    trunk_rate: float = Field(0.2, gt=0, le=1)
    """The trunk's share of the learning rate: what it knows already is not to be washed away."""
    weight_decay: float = Field(0.05, ge=0)
    overlap: float = Field(0.5, ge=0)
    """Weight of the loss of overlap beside cross entropy: it counts small regions as much as large ones."""
    steady: float = Field(1.0, ge=0)
    """Weight of the loss of what two views of one picture do not name alike."""
    sharpness: float = Field(2.0, ge=1)
    """The power to which what both views say together is taken, before each is to say it."""
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


def load_data(config: SegmentDataConfig, folder: Path | None) -> tuple[list[Lesson], list[Photo]]:
    """What to train on, and pictures that people labelled to watch. UsageError if there is too little of either.

    Where `watched` folders are given, filmed frames are not held out beside them: the next frame, which is trained
    on, looks the same.
    """
    drawn = labelled(load_folders(config.photos, folder, config.side, camvid_known))
    streets, watched = split(street_photos(config.streets, config.side))
    watched += [photo for photo in split(drawn)[1] if not (photo.filmed and config.watched)]
    watched += labelled(load_folders(config.watched, folder, config.side, camvid_known))
    if not watched:  # names are drawn by checksum: of a few, all may be for training
        streets, watched = streets[:-1], streets[-1:]
    names = [*config.photos, *config.scenes]
    lessons = load_lessons(names, Path(folder or "."), config.side, Path(config.labels) if config.labels else None)
    lessons += [lesson for photo in streets if (lesson := lesson_of(photo))]
    if not lessons or not watched:
        raise UsageError("the configuration names too little labelled data, expected two pictures at least")
    return lessons, watched


def start(config: SegmentConfig, lessons: list[Lesson], device: torch.device) -> Training:
    """A training at step 0."""
    torch.manual_seed(config.seed)
    segmenter = _at_first(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = torch.optim.swa_utils.AveragedModel(
        segmenter, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average), use_buffers=True
    )
    trunk = list(segmenter.trunk.parameters())
    rest = [p for name, p in segmenter.named_parameters() if not name.startswith("trunk.")]
    groups = [{"params": rest, "share": 1.0}, {"params": trunk, "share": config.trunk_rate}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    sampler = SegmentSampler(config.samples, lessons, config.segmenter.thumbnail, config.seed)
    return Training(segmenter, averaged, optimiser, sampler)


def _at_first(config: SegmentConfig) -> Segmenter:
    """From `start_from`, or with the trunk of `data.weights`, or from chance. UsageError if it is of other widths."""
    segmenter = Segmenter(config.segmenter)
    if config.start_from is not None:
        before, _ = load_segmenter(Path(config.start_from))
        if before.config.widths != config.segmenter.widths:
            raise UsageError(f"{config.start_from}: holds a segmenter of other widths, expected the configuration's")
        segmenter.load_state_dict(before.state_dict())
    elif config.data.weights:
        load_trunk(segmenter.trunk, Path(config.data.weights))
    return segmenter


def run(config: SegmentConfig, folder: Path, data: Path | None, report: Callable[[Training, dict], None]) -> Training:
    """Train until the steps or the minutes are used up, going on from a checkpoint in `folder` if it holds one.

    Writes checkpoints, TensorBoard events and contact sheets to `folder`; calls `report` after every step with
    the losses. UsageError if `folder` holds a training of another configuration.
    """
    device = loop.prepare(config, folder)
    seen, watched = load_data(config.data, data)
    training = start(config, seen, device)
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
    batch = training.sampler.draw(config.batch // 2).to(device)
    training.segmenter.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
        logits = training.segmenter.logits(batch.images.contiguous(memory_format=torch.channels_last))
    losses = measure(logits.float(), batch, config)
    training.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    torch.nn.utils.clip_grad_norm_(training.segmenter.parameters(), 1.0)
    training.optimiser.step()
    training.averaged.update_parameters(training.segmenter)
    training.step += 1
    return {name: float(value.detach()) for name, value in losses.items()}


def measure(logits: Tensor, batch: Batch, config: SegmentConfig) -> dict[str, Tensor]:
    """The losses of logits (2 n, 8, H, W) against the truth of a batch, and their weighted total."""
    maps = torch.softmax(logits, 1)
    losses = {
        "cross_entropy": cross_entropy(logits, batch.truth, batch.weights),
        "overlap": overlap_loss(maps, batch.truth, batch.kinds),
        "steady": steady_loss(maps, batch.motion, config.sharpness),
    }
    losses["total"] = losses["cross_entropy"] + config.overlap * losses["overlap"] + config.steady * losses["steady"]
    return losses


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Of probabilities `truth` (B, 8, H, W), a pixel of each region counting as `weights` (B, 8) say; the mean."""
    counted = truth * weights[..., None, None]
    return -(counted * torch.log_softmax(logits, 1)).sum() / counted.sum().clamp_min(1)


def overlap_loss(maps: Tensor, truth: Tensor, kinds: Tensor) -> Tensor:
    """One less the Dice coefficient of soft maps and truth (B, 8, H, W), mean over the regions that each kind has.

    Milletari et al. 2016 (V-Net). Unknown pixels do not count. By `kinds` (B), as it is measured: what photographs call
    other fills them, on streets it is poles and signs, which nobody would miss in one sum.
    """
    maps = maps * truth.sum(1, keepdim=True)
    parts = [part.sum((2, 3)) for part in (maps * truth, maps + truth, truth)]
    member = F.one_hot(kinds).T.to(maps.dtype)
    both, either, true = (member @ part for part in parts)
    return (1 - 2 * both / either.clamp_min(1))[true > 0].sum() / (true > 0).sum().clamp_min(1)


def steady_loss(maps: Tensor, motion: Tensor, sharpness: float) -> Tensor:
    """How far two views of one picture are from naming alike, and surely, what both see: the mean cross entropy of each
    to what both say together, to the power of `sharpness` (as Berthelot et al. 2019, MixMatch, sharpen a guess).

    `maps` (2 n, 8, H, W), two after another of one picture; `motion` (n, 2, 3) as in `Batch`. Views that are alike but
    undecided are not steady: of two names as likely, a little light decides.
    """
    first, second = maps[0::2], maps[1::2]
    places = F.affine_grid(motion, list(second.shape), align_corners=False)
    seen = (places.abs() < 1).all(-1)
    there = F.grid_sample(first, places, padding_mode="border", align_corners=False)
    together = ((there + second) / 2).detach() ** sharpness
    together = together / together.sum(1, keepdim=True).clamp_min(1e-6)
    apart = -(together * (there.clamp_min(1e-6).log() + second.clamp_min(1e-6).log())).sum(1) / 2
    return (apart * seen).sum() / seen.sum().clamp_min(1)


def watch(training: Training, photos: list[Photo]) -> tuple[dict[str, float], np.ndarray]:
    """The scores on photographs and on frames of films, how steady names are in the photographs, and a contact sheet
    of both."""
    groups = {"photos": [p for p in photos if not p.filmed], "films": [p for p in photos if p.filmed]}
    found: dict[str, float] = {}
    sheets = []
    for group, members in groups.items():
        if members:
            named = name_pixels(training.saved(), members)
            found |= scores(members, named, group)
            sheets.append(contact_sheet(members, named))
    turned = (groups["photos"] or groups["films"])[:TURNED]
    found["steady"] = float(
        np.mean([steadiness(partial(maps_of, training.saved()), photo.image, pan()) for photo in turned])
    )
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
