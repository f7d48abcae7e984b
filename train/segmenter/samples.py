"""What one step of the segmenter's training sees: pairs of views of one picture, each in random light."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo
from hueglass.infer.resize import resized_square
from hueglass.train.grades import GradeConfig, grade, random_grades
from hueglass.train.sampling import Chance, Crop, cut, motion

from .lessons import Kind, Lesson


class SegmentSampleConfig(BaseModel):
    """How batches are drawn. Shares are probabilities."""

    model_config = ConfigDict(extra="forbid")

    shares: dict[Kind, float] = {"photograph": 0.55, "film": 0.25, "clip": 0.05, "panorama": 0.15}
    """Of samples, by what they are of; scaled to those kinds that there are."""
    rare: float = Field(0.5, ge=0, le=1)
    """Samples for which first a region is drawn, all alike, then a picture that shows much of it, then a crop there."""
    balance: float = Field(0.4, ge=0, le=1)
    """A pixel counts by the share of its region among pictures of its kind to minus this power: 0 all alike."""
    smallest_crop: float = Field(0.4, gt=0, le=1)
    """Of the picture's sides."""
    stretch: float = Field(0.2, ge=0, le=1)
    """Standard deviation of the logarithm of the crop's aspect: frames of any shape become square thumbnails."""
    turn: float = Field(0.4, ge=0, le=0.7)
    """How far the second view is moved at most, in sides of the first."""
    zoom: float = Field(0.25, ge=0, le=1)
    """How much larger or smaller it is at most, as a logarithm."""
    flip: float = Field(0.5, ge=0, le=1)
    graded: float = Field(0.8, ge=0, le=1)
    grades: GradeConfig = GradeConfig()
    blur: float = Field(0.2, ge=0, le=1)
    noise: float = Field(0.3, ge=0, le=1)
    strongest_noise: float = Field(0.05, ge=0, le=0.5)


@dataclass(frozen=True)
class Batch:
    """Pairs of views: two after another are of one picture.

    `images` (2 n, 3, T, T) sRGB in [0, 1]; `truth` (2 n, 8, T/2, T/2), probabilities that sum to less than 1 where
    nobody knows; `weights` (2 n, 8), how much a pixel of a region counts; `kinds` (2 n), numbers of the kinds of
    pictures; `motion` (n, 2, 3), from places in the second view to those in the first one, both in [-1, 1], as
    `affine_grid` takes it.
    """

    images: Tensor
    truth: Tensor
    weights: Tensor
    kinds: Tensor
    motion: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, part.name).to(device) for part in fields(self)))


class SegmentSampler(Chance):
    """Draws batches for the segmenter."""

    def __init__(self, config: SegmentSampleConfig, lessons: Sequence[Lesson], thumbnail: int, seed: int) -> None:
        super().__init__(seed)
        self.config, self.size = config, thumbnail
        kinds = dict.fromkeys(lesson.kind for lesson in lessons)
        self.pools = {kind: _Pool([one for one in lessons if one.kind == kind], config.balance) for kind in kinds}
        chances = np.array([config.shares.get(kind, 0.0) for kind in self.pools]) + 1e-9
        self.chances = chances / chances.sum()

    def draw(self, pairs: int) -> Batch:
        """That many pairs of views."""
        drawn = [self._pair() for _ in range(pairs)]
        pictures, maps, weights, kinds, motion = (np.stack(part) for part in zip(*drawn, strict=True))
        images = torch.from_numpy(pictures).flatten(0, 1).permute(0, 3, 1, 2).contiguous().float().div_(255)
        truth = torch.from_numpy(maps).flatten(0, 1).permute(0, 3, 1, 2).contiguous().float().div_(255)
        counts, kind = (torch.from_numpy(part).repeat_interleave(2, 0) for part in (weights, kinds))
        return Batch(self._other_light(images), truth, counts, kind, torch.from_numpy(motion))

    def _pair(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray]:
        kind = int(self.rng.choice(len(self.pools), p=self.chances))
        pool = list(self.pools.values())[kind]
        lesson, place = pool.pick(self.rng, self.config.rare)
        first = self._crop(*place)
        crops = (first, self._turned(first))
        pictures = [self._blurred(cut(lesson.image, crop, self.size)) for crop in crops]
        maps = [cut_maps(lesson.maps, crop, self.size // 2) for crop in crops]
        return np.stack(pictures), np.stack(maps), pool.weights, kind, motion(*crops)

    def _blurred(self, picture: np.ndarray) -> np.ndarray:
        if self.rng.random() >= self.config.blur:
            return picture
        blurred: np.ndarray = cv2.GaussianBlur(picture, (0, 0), self.rng.uniform(0.4, 1.6))
        return blurred

    def _crop(self, x: float, y: float) -> Crop:
        """A random crop that the place (x, y), in shares of the picture's sides, lies in."""
        side = self.rng.uniform(self.config.smallest_crop, 1)
        stretch = np.exp(self.config.stretch * self.rng.standard_normal() / 2)
        width, height = min(1.0, side * stretch), min(1.0, side / stretch)
        left = self.rng.uniform(max(0, x - width), min(x, 1 - width))
        top = self.rng.uniform(max(0, y - height), min(y, 1 - height))
        return Crop(left, top, width, height, self._flipped())

    def _turned(self, crop: Crop) -> Crop:
        """Another one, as a camera has it that has turned and zoomed a little."""
        size = np.exp(self.rng.uniform(-self.config.zoom, self.config.zoom))
        width, height = min(1.0, crop.width * size), min(1.0, crop.height * size)
        right, down = self.rng.uniform(-self.config.turn, self.config.turn, 2)
        left = crop.left + right * crop.width + (crop.width - width) / 2
        top = crop.top + down * crop.height + (crop.height - height) / 2
        return Crop(
            float(np.clip(left, 0, 1 - width)), float(np.clip(top, 0, 1 - height)), width, height, self._flipped()
        )

    def _flipped(self) -> bool:
        return bool(self.rng.random() < self.config.flip)

    def _other_light(self, images: Tensor) -> Tensor:
        """The pictures, most of them graded, some with a camera's noise."""
        c, generator = self.config, self.torch_rng
        chosen, noisy = torch.rand(2, len(images), generator=generator) < torch.tensor([[c.graded], [c.noise]])
        dials = random_grades((int(chosen.sum()),), c.grades, generator)[..., None, None]
        images[chosen] = grade(images[chosen], dials)
        strength = c.strongest_noise * torch.rand(int(noisy.sum()), 1, 1, 1, generator=generator)
        noise = torch.randn(len(strength), *images.shape[1:], generator=generator)
        images[noisy] = (images[noisy] + strength * noise).clamp(0, 1)
        return images


class _Pool:
    """Lessons of one kind."""

    def __init__(self, lessons: list[Lesson], balance: float) -> None:
        self.lessons = lessons
        shares = np.array([lesson.maps.mean((1, 2)) / 255 for lesson in lessons])
        shares[shares < 0.01] = 0
        # The root: a picture full of one region is no better an example than one half full.
        self.chances = (np.sqrt(shares) / np.sqrt(shares).sum(0).clip(1e-9)).T
        self.regions = np.flatnonzero(shares.any(0))
        share = shares.sum(0)[self.regions] / shares.sum()
        self.weights = np.zeros(shares.shape[1], np.float32)
        self.weights[self.regions] = share**-balance / (share ** (1 - balance)).sum()

    def pick(self, rng: np.random.Generator, rare: float) -> tuple[Lesson, tuple[float, float]]:
        """A lesson, and a place (x, y) in it that is to be seen, in shares of its sides."""
        if rng.random() >= rare:
            return self.lessons[int(rng.integers(len(self.lessons)))], (float(rng.random()), float(rng.random()))
        region = int(rng.choice(self.regions))
        lesson = self.lessons[int(rng.choice(len(self.lessons), p=self.chances[region]))]
        there = lesson.maps[region].ravel().astype(np.int64).cumsum()
        y, x = divmod(int(np.searchsorted(there, rng.integers(there[-1]), "right")), lesson.maps.shape[2])
        return lesson, ((x + 0.5) / lesson.maps.shape[2], (y + 0.5) / lesson.maps.shape[1])


def cut_maps(maps: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The crop of maps (8, M, M) uint8 as (size, size, 8), resampled bilinearly: its edges lie between pixels."""
    side = maps.shape[1]
    across, down = crop.width * side / size, crop.height * side / size
    left, top = crop.left * side, crop.top * side
    where = np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])
    if crop.mirrored:
        where[0] = (-across, 0, left + crop.width * side - across / 2 - 0.5)
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    halves = (np.ascontiguousarray(half.transpose(1, 2, 0)) for half in (maps[:4], maps[4:]))  # four at once at most
    seen = [cv2.warpAffine(h, where, (size, size), flags=way, borderMode=cv2.BORDER_REPLICATE) for h in halves]
    return np.concatenate(seen, -1)


def thumbnails(images: list[np.ndarray], size: int) -> Tensor:
    """Whole pictures as the segmenter will see them: (n, 3, size, size) sRGB in [0, 1]."""
    pictures = np.stack([resized_square(image, size) for image in images])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


def labelled(photos: list[Photo]) -> list[Photo]:
    """Those of which somebody named at least one pixel."""
    return [p for p in photos if p.labels is not None and (p.labels != UNKNOWN).any()]
