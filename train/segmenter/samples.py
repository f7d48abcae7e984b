"""What one step of the segmenter's training sees: crops of labelled photographs in random light."""

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo
from hueglass.infer.resize import resized_square
from hueglass.train.grades import GradeConfig, grade, random_grades
from hueglass.train.sampling import Chance, Crop, cut, shares_of


class SegmentSampleConfig(BaseModel):
    """How batches are drawn. Shares are probabilities."""

    model_config = ConfigDict(extra="forbid")

    photographs: float = Field(0.6, ge=0, le=1)
    """Samples that are photographs; the others are frames of films, of which there are many alike."""
    rare: float = Field(0.5, ge=0, le=1)
    """Samples for which first a region is drawn, all alike, then a picture that shows much of it, then a crop there."""
    balance: float = Field(0.4, ge=0, le=1)
    """A pixel counts by the share of its region among pictures of its kind to minus this power: 0 all alike."""
    smallest_crop: float = Field(0.4, gt=0, le=1)
    """Of the picture's sides."""
    stretch: float = Field(0.2, ge=0, le=1)
    """Standard deviation of the logarithm of the crop's aspect: frames of any shape become square thumbnails."""
    flip: float = Field(0.5, ge=0, le=1)
    graded: float = Field(0.8, ge=0, le=1)
    grades: GradeConfig = GradeConfig()
    blur: float = Field(0.2, ge=0, le=1)
    noise: float = Field(0.3, ge=0, le=1)
    strongest_noise: float = Field(0.05, ge=0, le=0.5)


class SegmentSampler(Chance):
    """Draws batches for the segmenter."""

    def __init__(self, config: SegmentSampleConfig, photos: list[Photo], thumbnail: int, seed: int) -> None:
        super().__init__(seed)
        self.config, self.size = config, thumbnail
        groups = ([p for p in photos if not p.filmed], [p for p in photos if p.filmed])
        self.pools = [_Pool(group, config.balance) for group in groups if group]
        self.chances = [config.photographs, 1 - config.photographs] if all(groups) else [1.0]

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (count, 3, T, T) sRGB in [0, 1]; labels (count, T/2, T/2) int64, UNKNOWN where nobody knows; and
        how much every pixel counts (count, T/2, T/2), 1 on average and 0 where unknown."""
        pictures, labels, weights = zip(*(self._sample() for _ in range(count)), strict=True)
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float().div_(255)
        return self._other_light(images), torch.from_numpy(np.stack(labels)).long(), torch.from_numpy(np.stack(weights))

    def _sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pool = self.pools[int(self.rng.choice(len(self.pools), p=self.chances))]
        photo, place = pool.pick(self.rng, self.config.rare)
        crop = self._crop(*place)
        picture = cut(photo.image, crop, self.size)
        if self.rng.random() < self.config.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.rng.uniform(0.4, 1.6))
        assert photo.labels is not None
        labels = cut_labels(photo.labels, crop, self.size // 2)
        return picture, labels, pool.weights[labels]

    def _crop(self, x: float, y: float) -> Crop:
        """A random crop that the place (x, y), in shares of the picture's sides, lies in."""
        side = self.rng.uniform(self.config.smallest_crop, 1)
        stretch = np.exp(self.config.stretch * self.rng.standard_normal() / 2)
        width, height = min(1.0, side * stretch), min(1.0, side / stretch)
        left = self.rng.uniform(max(0, x - width), min(x, 1 - width))
        top = self.rng.uniform(max(0, y - height), min(y, 1 - height))
        return Crop(left, top, width, height, bool(self.rng.random() < self.config.flip))

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
    """Labelled pictures of one kind."""

    def __init__(self, photos: list[Photo], balance: float) -> None:
        self.photos = photos
        shares = np.array([shares_of(p.labels) for p in photos if p.labels is not None])
        # The root: a picture full of one region is no better an example than one half full.
        self.chances = (np.sqrt(shares) / np.sqrt(shares).sum(0).clip(1e-9)).T
        self.regions = np.flatnonzero(shares.any(0))
        share = shares.sum(0)[self.regions] / shares.sum()
        self.weights = np.zeros(256, np.float32)
        self.weights[self.regions] = share**-balance / (share ** (1 - balance)).sum()

    def pick(self, rng: np.random.Generator, rare: float) -> tuple[Photo, tuple[float, float]]:
        """A photograph, and a place (x, y) in it that is to be seen, in shares of its sides."""
        if rng.random() >= rare:
            return self.photos[int(rng.integers(len(self.photos)))], (float(rng.random()), float(rng.random()))
        region = int(rng.choice(self.regions))
        photo = self.photos[int(rng.choice(len(self.photos), p=self.chances[region]))]
        assert photo.labels is not None
        y, x = divmod(int(rng.choice(np.flatnonzero(photo.labels == region))), photo.labels.shape[1])
        return photo, ((x + 0.5) / photo.labels.shape[1], (y + 0.5) / photo.labels.shape[0])


def cut_labels(labels: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The crop of a label image (H, W) uint8 as (size, size): of every cell the label at its centre."""
    h, w = labels.shape
    along = (np.arange(size) + 0.5) / size
    rows = ((crop.top + along * crop.height) * h).astype(int).clip(0, h - 1)
    columns = ((crop.left + along * crop.width) * w).astype(int).clip(0, w - 1)
    return labels[np.ix_(rows, columns[::-1] if crop.mirrored else columns)]


def thumbnails(photos: list[Photo], size: int) -> Tensor:
    """Whole pictures as the segmenter will see them: (n, 3, size, size) sRGB in [0, 1]."""
    pictures = np.stack([resized_square(p.image, size) for p in photos])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


def labelled(photos: list[Photo]) -> list[Photo]:
    """Those of which somebody named at least one pixel."""
    return [p for p in photos if p.labels is not None and (p.labels != UNKNOWN).any()]
