"""What one training step sees: batches drawn from photographs in memory.

Every sample is a picture to be changed and a reference that shows the light it should be in, with the regions
that belong together. Two kinds:

    self-supervised   two crops of one photograph under different grades; the first crop under the second grade
                      is the target, known exactly
    unpaired          two different photographs; no target exists, only the reference's colours, region by region
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.photos import Photo
from hueglass.infer.images import resized_square

from .grades import GradeConfig, grade_regions, random_grades

MAP_SIZE = 96
"""Random regions are drawn at this size and enlarged."""


class SampleConfig(BaseModel):
    """How batches are drawn. Shares are probabilities."""

    model_config = ConfigDict(extra="forbid")

    grades: GradeConfig = GradeConfig()
    local: float = Field(0.5, ge=0, le=1)
    """Self-supervised samples whose regions have grades of their own."""
    regions: float = Field(0.65, ge=0, le=1)
    """Samples in which the network is shown the regions."""
    labelled: float = Field(0.35, ge=0, le=1)
    """Unpaired samples drawn from labelled street frames."""
    most_regions: int = Field(4, ge=2, le=8)
    smallest_crop: float = Field(0.45, gt=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class Batch:
    """`content`, `reference`, `target` (B, 3, T, T), maps (B, slots, T/2, T/2); unpaired samples have no target."""

    content: Tensor
    content_maps: Tensor
    reference: Tensor
    reference_maps: Tensor
    target: Tensor | None = None


@dataclass(frozen=True)
class Crop:
    """A rectangle of a photograph in shares of its sides, and whether it is mirrored."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool


def random_crop(rng: np.random.Generator, config: SampleConfig) -> Crop:
    """A crop that keeps at least `smallest_crop` of either side."""
    width, height = rng.uniform(config.smallest_crop, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return Crop(left, top, width, height, bool(rng.random() < config.flip))


def cut(image: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The crop of an (H, W, C) array as (size, size, C)."""
    h, w = image.shape[:2]
    top, left = int(crop.top * h), int(crop.left * w)
    bottom, right = (
        max(top + 1, int((crop.top + crop.height) * h)),
        max(left + 1, int((crop.left + crop.width) * w)),
    )
    part = image[top:bottom, left:right]
    part = part[:, ::-1] if crop.mirrored else part
    if part.shape[2] == 3:
        return resized_square(np.ascontiguousarray(part), size)
    channels = [np.ascontiguousarray(part[..., i]) for i in range(part.shape[2])]  # cv2 resizes at most four at once
    return np.stack([resized_square(c, size) for c in channels], -1)


def random_rule(rng: np.random.Generator, count: int) -> np.ndarray:
    """Weights (count, 5) of a random division of pictures by place (x, y) and colour (r, g, b)."""
    return rng.normal(0, 1, (count, 5)) * (1, 1.6, 1.2, 1.2, 1.2)


def divide(image: np.ndarray, rule: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft maps (MAP_SIZE, MAP_SIZE, count) float32 by a rule: segments that follow place, colour and chance.

    The same rule divides two pictures alike: what is low and dark in one meets what is low and dark in the other.
    """
    small = cv2.resize(image, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2).astype(np.float32) / 255
    y, x = np.mgrid[0:MAP_SIZE, 0:MAP_SIZE].astype(np.float32) / MAP_SIZE - 0.5
    colour = (small - small.mean((0, 1))) / (small.std((0, 1)) + 0.1)
    features = np.concatenate([3.5 * np.stack([x, y], -1), colour], -1)
    noise = cv2.resize(
        rng.normal(0, 0.8, (6, 6, len(rule))).astype(np.float32),
        (MAP_SIZE, MAP_SIZE),
        interpolation=cv2.INTER_CUBIC,
    )
    scores = 12 * (features @ rule.T.astype(np.float32) + noise.reshape(MAP_SIZE, MAP_SIZE, -1))
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def label_maps(labels: np.ndarray, wanted: list[int]) -> np.ndarray:
    """Maps (H, W, len(wanted)) float32 of a label image; what is none of the wanted belongs to the last."""
    maps = np.stack([labels == n for n in wanted], -1).astype(np.float32)
    maps[..., -1] += 1 - maps.sum(-1)
    return maps


class Sampler:
    """Draws batches; all of its state is the two random generators, which `state` and `restore` carry."""

    def __init__(self, config: SampleConfig, photos: list[Photo], thumbnail: int, slots: int, seed: int) -> None:
        self.config, self.photos, self.size, self.slots = config, photos, thumbnail, slots
        self.labelled = [p for p in photos if p.labels is not None]
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)

    def state(self) -> dict:
        return {"numpy": self.rng.bit_generator.state, "torch": self.torch_rng.get_state()}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["numpy"]
        self.torch_rng.set_state(state["torch"])

    def self_supervised(self, count: int, local: float | None = None, shown: float | None = None) -> Batch:
        """`count` samples with exact targets. `local` and `shown` override the shares of the configuration."""
        local = self.config.local if local is None else local
        shown = self.config.regions if shown is None else shown
        pictures, maps = zip(*(self._two_crops() for _ in range(count)), strict=True)
        crops, divisions = _images(pictures), _maps(maps, self.slots)
        dials = random_grades((2, count, self.slots), self.config.grades, self.torch_rng)
        one_tone = torch.rand(2, count, 1, 1, generator=self.torch_rng) >= local
        dials = torch.where(one_tone, dials[:, :, :1], dials)
        first, second = crops[:, 0], crops[:, 1]
        hidden = torch.rand(count, generator=self.torch_rng) >= shown
        return Batch(
            content=grade_regions(first, divisions[:, 0], dials[0]),
            content_maps=_hide(divisions[:, 0], hidden),
            reference=grade_regions(second, divisions[:, 1], dials[1]),
            reference_maps=_hide(divisions[:, 1], hidden),
            target=grade_regions(first, divisions[:, 0], dials[1]),
        )

    def unpaired(self, count: int) -> Batch:
        """`count` samples of two photographs each."""
        pictures, maps = zip(*(self._two_photos() for _ in range(count)), strict=True)
        crops, divisions = _images(pictures), _maps(maps, self.slots)
        dials = random_grades((2, count, 1), self.config.grades, self.torch_rng).expand(-1, -1, self.slots, -1)
        plain = torch.rand(2, count, 1, 1, generator=self.torch_rng) < 0.5
        dials = torch.where(plain, torch.zeros(()), dials)
        hidden = torch.rand(count, generator=self.torch_rng) >= self.config.regions
        content_maps, reference_maps = _hide(divisions[:, 0], hidden), _hide(divisions[:, 1], hidden)
        content = grade_regions(crops[:, 0], divisions[:, 0], dials[0])
        reference = grade_regions(crops[:, 1], divisions[:, 1], dials[1])
        return Batch(content, content_maps, reference, reference_maps)

    def _pick(self, photos: list[Photo]) -> Photo:
        return photos[int(self.rng.integers(len(photos)))]

    def _two_crops(self) -> tuple[np.ndarray, np.ndarray]:
        """Two crops (2, T, T, 3) of one photograph and its division in both (2, T/2, T/2, n)."""
        photo = self._pick(self.photos)
        if photo.labels is not None and self.rng.random() < 0.5:
            maps = label_maps(photo.labels, self._classes(photo.labels, photo.labels))
        else:
            count = int(self.rng.integers(2, self.config.most_regions + 1))
            maps = divide(photo.image, random_rule(self.rng, count), self.rng)
        crops = [random_crop(self.rng, self.config) for _ in range(2)]
        pictures = np.stack([cut(photo.image, c, self.size) for c in crops])
        return pictures, np.stack([cut(maps, c, self.size // 2) for c in crops])

    def _two_photos(self) -> tuple[np.ndarray, np.ndarray]:
        """Crops (2, T, T, 3) of two photographs and the regions they share (2, T/2, T/2, n)."""
        if self.labelled and self.rng.random() < self.config.labelled:
            pair = [self._pick(self.labelled) for _ in range(2)]
            labels = [p.labels for p in pair if p.labels is not None]
            classes = self._classes(*labels)
            maps = [label_maps(x, classes) for x in labels]
        else:
            pair = [self._pick(self.photos) for _ in range(2)]
            rule = random_rule(self.rng, int(self.rng.integers(2, self.config.most_regions + 1)))
            maps = [divide(p.image, rule, self.rng) for p in pair]
        crops = [random_crop(self.rng, self.config) for _ in range(2)]
        pictures = np.stack([cut(p.image, c, self.size) for p, c in zip(pair, crops, strict=True)])
        return pictures, np.stack([cut(m, c, self.size // 2) for m, c in zip(maps, crops, strict=True)])

    def _classes(self, first: np.ndarray, second: np.ndarray) -> list[int]:
        """Labels that cover at least 1 % of both label images, at most one per slot."""
        shares = [np.bincount(x.ravel(), minlength=256) / x.size for x in (first, second)]
        both = np.minimum(*shares)
        return [int(n) for n in np.argsort(-both)[: self.slots] if both[n] > 0.01] or [0]


def _images(pictures: tuple[np.ndarray, ...]) -> Tensor:
    """Pairs of uint8 pictures as (B, 2, 3, T, T) float in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 1, 4, 2, 3).float().div_(255)


def _maps(maps: tuple[np.ndarray, ...], slots: int) -> Tensor:
    """Pairs of divisions as (B, 2, slots, T/2, T/2), the slots beyond a division empty."""
    padded = [np.pad(m, ((0, 0),) * 3 + ((0, slots - m.shape[-1]),)) for m in maps]
    out = torch.from_numpy(np.stack(padded)).permute(0, 1, 4, 2, 3).contiguous().clamp_(0, 1)
    return out / out.sum(2, keepdim=True).clamp_min(1e-6)


def _hide(maps: Tensor, hidden: Tensor) -> Tensor:
    """Where `hidden` (B) is set, one region in the first slot that covers everything."""
    one = F.pad(torch.ones_like(maps[:, :1]), (0, 0, 0, 0, 0, maps.shape[1] - 1))
    return torch.where(hidden[:, None, None, None], one, maps)
