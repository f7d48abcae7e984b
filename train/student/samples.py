"""What one training step sees: batches drawn from photographs and teacher's targets in memory.

Every sample is a picture to be changed and a reference that shows the light it should be in, with the regions
that belong together. Three kinds:

    graded     two crops of one photograph under different grades; the first crop under the second grade is the
               target, known exactly
    taught     a pair of photographs and what the teacher made of it
    unpaired   two photographs; no target exists, only the reference's colours, region by region

In some samples the regions are hidden from the networks, which then have to find out by themselves what belongs
together; the losses still know.
"""

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo
from hueglass.datasets.targets import Target
from hueglass.infer.regions.regions import WHOLE
from hueglass.train.grades import GradeConfig, grade, grade_regions, random_grades
from hueglass.train.sampling import Chance, Crop, cut, label_maps, shares_of

from .losses import box_blur

MAP_SIZE = 96
"""Random regions are drawn at this size and enlarged."""
PRESENT = 0.005
"""Regions that cover less of either picture do not count as being in both."""
CANDIDATES = 8
"""The partner of a labelled photograph is the one among so many with which it shares most."""


class SampleConfig(BaseModel):
    """How batches are drawn. Shares are probabilities."""

    model_config = ConfigDict(extra="forbid")

    grades: GradeConfig = GradeConfig()
    local: float = Field(0.5, ge=0, le=1)
    """Graded samples whose regions have grades of their own."""
    shown: float = Field(0.5, ge=0, le=1)
    """Samples in which the networks are shown the regions."""
    labelled: float = Field(0.65, ge=0, le=1)
    """Unpaired samples drawn from labelled photographs."""
    taught_regions: float = Field(0.6, ge=0, le=1)
    """Taught samples with regions; the others were taught as a whole."""
    regraded: float = Field(0.3, ge=0, le=1)
    """Taught and unpaired pictures that are graded first: the reference's light does not depend on the old one."""
    soft: float = Field(0.5, ge=0, le=1)
    """Batches whose regions are shown with borders as soft as a segmenter's."""
    most_regions: int = Field(4, ge=2, le=8)
    smallest_crop: float = Field(0.45, gt=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, T, T) and, for both, two kinds of region maps over half their size, channel to channel.

    `content_maps`, `reference_maps` (B, slots, T/2, T/2) are what the networks are shown: nothing where hidden.
    `content_truth`, `reference_truth` (B, slots + 1, T/2, T/2) are what the losses know: the last channel is what
    the reference lacks, to which all of the reference answers. `semantic` (B) says that regions are things, not
    chance. `target` and `grid` (B, depth, cells, cells, 12) are known where somebody knows them; `grid_known` (B).
    """

    content: Tensor
    content_maps: Tensor
    content_truth: Tensor
    reference: Tensor
    reference_maps: Tensor
    reference_truth: Tensor
    semantic: Tensor
    target: Tensor | None = None
    grid: Tensor | None = None
    grid_known: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        moved = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: x.to(device) for name, x in moved.items()})


def joined(batches: list[Batch]) -> Batch:
    """One batch of several. The target that a sample lacks is its content, its grid zeros that count as unknown."""

    def all_of(name: str) -> Tensor:
        return torch.cat([getattr(b, name) for b in batches])

    plain = [f.name for f in fields(Batch) if f.name not in ("target", "grid", "grid_known")]
    target = torch.cat([b.content if b.target is None else b.target for b in batches])
    grids = [b.grid for b in batches if b.grid is not None]
    grid = known = None
    if grids:
        empty = grids[0].new_zeros(1, *grids[0].shape[1:])
        grid = torch.cat([empty.expand(len(b.content), -1, -1, -1, -1) if b.grid is None else b.grid for b in batches])
        unknown = [torch.zeros_like(b.semantic) for b in batches]
        pairs = zip(batches, unknown, strict=True)
        known = torch.cat([none if b.grid_known is None else b.grid_known for b, none in pairs])
    return Batch(**{name: all_of(name) for name in plain}, target=target, grid=grid, grid_known=known)


def random_crop(rng: np.random.Generator, config: SampleConfig) -> Crop:
    """A crop that keeps at least `smallest_crop` of either side."""
    width, height = rng.uniform(config.smallest_crop, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return Crop(left, top, width, height, bool(rng.random() < config.flip))


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


class Sampler(Chance):
    """Draws batches for the student."""

    def __init__(
        self,
        config: SampleConfig,
        photos: list[Photo],
        targets: list[Target],
        thumbnail: int,
        slots: int,
        seed: int,
    ) -> None:
        super().__init__(seed)
        self.config, self.photos, self.size, self.slots = config, photos, thumbnail, slots
        self.labelled = [p for p in photos if p.labels is not None]
        self.shares = np.array([shares_of(p.labels) for p in self.labelled if p.labels is not None])
        self.whole = [t for t in targets if t.names == (WHOLE,)]
        self.regional = [t for t in targets if t.names != (WHOLE,)]

    def graded(self, count: int, local: float | None = None, shown: float | None = None) -> Batch:
        """`count` samples with exact targets. `local` and `shown` override the shares of the configuration."""
        local = self.config.local if local is None else local
        pictures, maps, semantic = zip(*(self._two_crops() for _ in range(count)), strict=True)
        crops, divisions = _images(pictures), _whole_maps(_maps(maps, self.slots))
        dials = random_grades((2, count, self.slots), self.config.grades, self.torch_rng)
        one_tone = torch.rand(2, count, 1, 1, generator=self.torch_rng) >= local
        dials = torch.where(one_tone, dials[:, :, :1], dials)
        content = grade_regions(crops[:, 0], divisions[:, 0], dials[0])
        reference = grade_regions(crops[:, 1], divisions[:, 1], dials[1])
        target = grade_regions(crops[:, 0], divisions[:, 0], dials[1])
        return replace(self._batch(content, reference, divisions, torch.tensor(semantic), shown), target=target)

    def taught(self, count: int, shown: float | None = None, regional: float | None = None) -> Batch:
        """`count` of the teacher's targets. `shown` and `regional` override the shares of the configuration."""
        drawn = [self._target(self.config.taught_regions if regional is None else regional) for _ in range(count)]
        pictures, maps, semantic, grids, known = zip(*drawn, strict=True)
        images, divisions = _images(pictures), _maps(maps, self.slots)
        content, regraded = self._regrade(images[:, 0])
        grid, fits = torch.from_numpy(np.stack(grids)), torch.tensor(known) & ~regraded
        batch = self._batch(content, images[:, 1], divisions, torch.tensor(semantic), shown)
        return replace(batch, target=images[:, 2], grid=grid, grid_known=fits)

    def unpaired(self, count: int, shown: float | None = None, labelled: float | None = None) -> Batch:
        """`count` samples of two photographs each. `shown` and `labelled` override shares of the configuration."""
        labelled = self.config.labelled if labelled is None else labelled
        pictures, maps, semantic = zip(*(self._two_photos(labelled) for _ in range(count)), strict=True)
        crops, divisions = _images(pictures), _maps(maps, self.slots)
        (content, _), (reference, _) = (self._regrade(crops[:, i]) for i in range(2))
        return self._batch(content, reference, divisions, torch.tensor(semantic), shown)

    def _batch(
        self, content: Tensor, reference: Tensor, divisions: Tensor, semantic: Tensor, shown: float | None
    ) -> Batch:
        """Two pictures without a target, which of their regions lie in both, and which the networks are shown."""
        shares = divisions.mean((3, 4))
        both = (torch.minimum(shares[:, 0], shares[:, 1]) > PRESENT).float()[:, :, None, None]
        ours, theirs = divisions[:, 0] * both, divisions[:, 1] * both
        hidden = torch.rand(len(content), generator=self.torch_rng) >= (self.config.shown if shown is None else shown)
        nothing_known = (hidden & ~semantic)[:, None, None, None]  # a division by chance cannot be found out
        ours_known, theirs_known = (x.masked_fill(nothing_known, 0.0) for x in (ours, theirs))
        rest = 1 - ours_known.sum(1, keepdim=True)
        ours, theirs = (self._soften(x.masked_fill(hidden[:, None, None, None], 0.0)) for x in (ours, theirs))
        return Batch(
            content=content,
            content_maps=ours,
            content_truth=torch.cat([ours_known, rest.clamp_min(0)], 1),
            reference=reference,
            reference_maps=theirs,
            reference_truth=torch.cat([theirs_known, torch.ones_like(rest)], 1),
            semantic=semantic,
        )

    def _soften(self, maps: Tensor) -> Tensor:
        """The maps, or the maps with borders up to a tenth of the picture wide."""
        if self.rng.random() >= self.config.soft:
            return maps
        return box_blur(maps, int(self.rng.choice((3, 5, 9, 13))))

    def _regrade(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures, some of them graded, and which are (B)."""
        dials = random_grades((len(images),), self.config.grades, self.torch_rng)[..., None, None]
        chosen = torch.rand(len(images), generator=self.torch_rng) < self.config.regraded
        return torch.where(chosen[:, None, None, None], grade(images, dials), images), chosen

    def _pick(self, photos: list[Photo]) -> Photo:
        return photos[int(self.rng.integers(len(photos)))]

    def _two_crops(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """Two crops (2, T, T, 3) of one photograph and its division in both (2, T/2, T/2, n)."""
        photo = self._pick(self.photos)
        semantic = photo.labels is not None and self.rng.random() < 0.5
        if semantic and photo.labels is not None:
            maps = label_maps(photo.labels, self._classes(photo.labels, photo.labels))
        else:
            count = int(self.rng.integers(2, self.config.most_regions + 1))
            maps = divide(photo.image, random_rule(self.rng, count), self.rng)
        crops = [random_crop(self.rng, self.config) for _ in range(2)]
        pictures = np.stack([cut(photo.image, c, self.size) for c in crops])
        return pictures, np.stack([cut(maps, c, self.size // 2) for c in crops]), semantic

    def _two_photos(self, labelled: float) -> tuple[np.ndarray, np.ndarray, bool]:
        """Crops (2, T, T, 3) of two photographs and the regions they share (2, T/2, T/2, n)."""
        semantic = bool(self.labelled) and self.rng.random() < labelled
        if semantic:
            pair = self._alike()
            labels = [p.labels for p in pair if p.labels is not None]
            classes = self._classes(*labels)
            maps = [label_maps(x, classes) for x in labels]
        else:
            pair = [self._pick(self.photos) for _ in range(2)]
            rule = random_rule(self.rng, int(self.rng.integers(2, self.config.most_regions + 1)))
            maps = [divide(p.image, rule, self.rng) for p in pair]
        crops = [random_crop(self.rng, self.config) for _ in range(2)]
        pictures = np.stack([cut(p.image, c, self.size) for p, c in zip(pair, crops, strict=True)])
        return pictures, np.stack([cut(m, c, self.size // 2) for m, c in zip(maps, crops, strict=True)]), semantic

    def _alike(self) -> list[Photo]:
        """A labelled photograph and the one among a few others that shares most of its regions."""
        first, *others = self.rng.integers(len(self.labelled), size=1 + CANDIDATES)
        shared = np.minimum(self.shares[others], self.shares[first]).sum(1)
        return [self.labelled[first], self.labelled[others[int(shared.argmax())]]]

    def _target(self, regional: float) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray, bool]:
        """Content, style and target (3, T, T, 3), maps (2, T/2, T/2, n), the grid, and whether it still fits."""
        semantic = bool(self.regional) and (not self.whole or self.rng.random() < regional)
        pool = self.regional if semantic else self.whole
        target = pool[int(self.rng.integers(len(pool)))]
        assert target.grid is not None
        crops = [random_crop(self.rng, self.config) for _ in range(2)]
        if known := bool(self.rng.random() < 0.5):
            crops[0] = Crop(0, 0, 1, 1, crops[0].mirrored)
        wanted = [i for i, name in enumerate(target.names) if name not in target.unmatched][: self.slots]
        labels = (target.labels, target.style_labels)
        maps = [cut(label_maps(x, wanted), c, self.size // 2) for x, c in zip(labels, crops, strict=True)]
        sources = ((target.content, crops[0]), (target.style, crops[1]), (target.target, crops[0]))
        pictures = np.stack([cut(image, crop, self.size) for image, crop in sources])
        grid = target.grid[:, :, ::-1] if crops[0].mirrored else target.grid
        return pictures, np.stack(maps), semantic, grid, known

    def _classes(self, first: np.ndarray, second: np.ndarray) -> list[int]:
        """Labels that cover at least 1 % of both label images, at most one per slot."""
        both = np.minimum(*(np.bincount(x.ravel(), minlength=256) / x.size for x in (first, second)))
        return [int(n) for n in np.argsort(-both)[: self.slots] if both[n] > 0.01 and n != UNKNOWN] or [0]


def _images(pictures: tuple[np.ndarray, ...]) -> Tensor:
    """Groups of uint8 pictures as (B, n, 3, T, T) float in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 1, 4, 2, 3).float().div_(255)


def _maps(maps: tuple[np.ndarray, ...], slots: int) -> Tensor:
    """Pairs of divisions as (B, 2, slots, T/2, T/2), the slots beyond a division empty."""
    padded = [np.pad(m, ((0, 0),) * 3 + ((0, slots - m.shape[-1]),)) for m in maps]
    out = torch.from_numpy(np.stack(padded)).permute(0, 1, 4, 2, 3).contiguous().clamp_(0, 1)
    return out / out.sum(2, keepdim=True).clamp_min(1)


def _whole_maps(maps: Tensor) -> Tensor:
    """The maps with what none of them covers given to the first: every pixel has a grade."""
    first = maps[:, :, :1] + 1 - maps.sum(2, keepdim=True)
    return torch.cat([first, maps[:, :, 1:]], 2)
