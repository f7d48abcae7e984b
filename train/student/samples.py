"""What one training step sees: batches drawn from photographs and teacher's targets in memory.

Every sample is a picture to be changed and a reference that shows the light it should be in, with the regions
that belong together. Three kinds:

    graded     two crops of one photograph under different grades; the first crop under the second grade is the
               target, known exactly
    taught     a pair of photographs and what the teacher made of it
    unpaired   two photographs; no target exists, only the reference's colours, region by region

Each comes with a second view of the same scene, as a camera has it that has turned and zoomed: what both show has to
get the same colours in both, once the scene is remembered.

In some samples the regions are hidden from the networks, which then have to find out by themselves what belongs
together; the losses still know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo
from hueglass.datasets.targets import Target
from hueglass.infer.regions.regions import WHOLE
from hueglass.train.grades import GradeConfig, grade, grade_regions, random_grades
from hueglass.train.sampling import Chance, Crop, cut, label_maps, motion, shares_of

from .divisions import divide, random_rule
from .losses import box_blur

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
    turn: float = Field(0.6, ge=0, le=1)
    """How far the second view is moved at most, in sides of the first."""
    zoom: float = Field(0.4, ge=0, le=1)
    """How much larger or smaller it is at most, as a logarithm."""
    noise: float = Field(0.02, ge=0, le=0.5)
    """Its noise, at most: a standard deviation in sRGB [0, 1]; a thumbnail has averaged most of a camera's away."""
    flat: float = Field(0.1, ge=0, le=1)
    """Unpaired contents of which one region is painted in one colour: backgrounds that have nothing to stretch."""
    most_regions: int = Field(4, ge=2, le=8)
    smallest_crop: float = Field(0.45, gt=0, le=1)
    flip: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, T, T) and, for both, two kinds of region maps over half their size, channel to channel.

    `content_maps`, `reference_maps` (B, slots, T/2, T/2) are what the networks are shown: nothing where hidden.
    `content_truth`, `reference_truth` (B, slots + 1, T/2, T/2) are what the losses know: the last channel is what
    the reference lacks, to which all of the reference answers. `semantic` (B) says that regions are things, not
    chance. `view` is another view of the content's scene, `view_maps` what the networks are shown of it, `view_target`
    what it should become, and `motion` (B, 2, 3) takes its places to the content's, both in [-1, 1], as `affine_grid`
    has it. `target`, `view_target` and `grid` (B, depth, cells, cells, 12) are known where somebody knows them;
    `grid_known` (B).
    """

    content: Tensor
    content_maps: Tensor
    content_truth: Tensor
    reference: Tensor
    reference_maps: Tensor
    reference_truth: Tensor
    semantic: Tensor
    view: Tensor
    view_maps: Tensor
    motion: Tensor
    target: Tensor | None = None
    view_target: Tensor | None = None
    grid: Tensor | None = None
    grid_known: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        moved = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: x.to(device) for name, x in moved.items()})


@dataclass(frozen=True)
class Scene:
    """One sample as it is drawn: `pictures` (n, T, T, 3) uint8 and, of its division, `maps` (3, T/2, T/2, regions):
    content, reference, and the second view of the content, from which `motion` (2, 3) leads to the first."""

    pictures: np.ndarray
    maps: np.ndarray
    motion: np.ndarray
    semantic: bool = False
    grid: np.ndarray | None = None
    grid_known: bool = False


def joined(batches: list[Batch]) -> Batch:
    """One batch of several. The target that a sample lacks is its content, its grid zeros that count as unknown."""

    def all_of(name: str) -> Tensor:
        return torch.cat([getattr(b, name) for b in batches])

    plain = [f.name for f in fields(Batch) if f.name not in ("target", "view_target", "grid", "grid_known")]
    target = torch.cat([b.content if b.target is None else b.target for b in batches])
    view_target = torch.cat([b.view if b.view_target is None else b.view_target for b in batches])
    grids = [b.grid for b in batches if b.grid is not None]
    grid = known = None
    if grids:
        empty = grids[0].new_zeros(1, *grids[0].shape[1:])
        grid = torch.cat([empty.expand(len(b.content), -1, -1, -1, -1) if b.grid is None else b.grid for b in batches])
        unknown = [torch.zeros_like(b.semantic) for b in batches]
        pairs = zip(batches, unknown, strict=True)
        known = torch.cat([none if b.grid_known is None else b.grid_known for b, none in pairs])
    own = {name: all_of(name) for name in plain}
    return Batch(**own, target=target, view_target=view_target, grid=grid, grid_known=known)


def random_crop(rng: np.random.Generator, config: SampleConfig) -> Crop:
    """A crop that keeps at least `smallest_crop` of either side."""
    width, height = rng.uniform(config.smallest_crop, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return Crop(left, top, width, height, bool(rng.random() < config.flip))


def turned(crop: Crop, rng: np.random.Generator, config: SampleConfig) -> Crop:
    """Another crop, as a camera has it that has turned and zoomed by at most `turn` and `zoom`."""
    size = np.exp(rng.uniform(-config.zoom, config.zoom))
    width, height = min(1.0, crop.width * size), min(1.0, crop.height * size)
    right, down = rng.uniform(-config.turn, config.turn, 2)
    left = crop.left + right * crop.width + (crop.width - width) / 2
    top = crop.top + down * crop.height + (crop.height - height) / 2
    return Crop(min(max(left, 0), 1 - width), min(max(top, 0), 1 - height), width, height, crop.mirrored)


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
        scenes = [self._one_photo() for _ in range(count)]
        pictures, divisions = (
            _images([s.pictures for s in scenes]),
            _whole_maps(_maps([s.maps for s in scenes], self.slots)),
        )
        dials = random_grades((2, count, self.slots), self.config.grades, self.torch_rng)
        one_tone = torch.rand(2, count, 1, 1, generator=self.torch_rng) >= local
        before, after = torch.where(one_tone, dials[:, :, :1], dials)
        lights = (before, after, before)
        given = [grade_regions(pictures[:, i], divisions[:, i], light) for i, light in enumerate(lights)]
        target, view_target = (grade_regions(pictures[:, i], divisions[:, i], after) for i in (0, 2))
        batch = self._batch(torch.stack(given, 1), divisions, scenes, shown)
        return replace(batch, target=target, view_target=view_target)

    def taught(self, count: int, shown: float | None = None, regional: float | None = None) -> Batch:
        """`count` of the teacher's targets. `shown` and `regional` override the shares of the configuration."""
        regional = self.config.taught_regions if regional is None else regional
        scenes = [self._target(regional) for _ in range(count)]
        images, divisions = _images([s.pictures for s in scenes]), _maps([s.maps for s in scenes], self.slots)
        (content, view), regraded = self._regrade(images[:, 0], images[:, 2])
        grid = torch.from_numpy(np.stack([s.grid for s in scenes if s.grid is not None]))
        fits = torch.tensor([s.grid_known for s in scenes]) & ~regraded
        batch = self._batch(torch.stack([content, images[:, 1], view], 1), divisions, scenes, shown)
        return replace(batch, target=images[:, 3], view_target=images[:, 4], grid=grid, grid_known=fits)

    def unpaired(self, count: int, shown: float | None = None, labelled: float | None = None) -> Batch:
        """`count` samples of two photographs each. `shown` and `labelled` override shares of the configuration."""
        labelled = self.config.labelled if labelled is None else labelled
        scenes = [self._two_photos(labelled) for _ in range(count)]
        images, divisions = _images([s.pictures for s in scenes]), _maps([s.maps for s in scenes], self.slots)
        (content, view), _ = self._regrade(images[:, 0], images[:, 2])
        (reference,), _ = self._regrade(images[:, 1])
        content, view = self._flatten(torch.stack([content, view], 1), divisions[:, ::2]).unbind(1)
        return self._batch(torch.stack([content, reference, view], 1), divisions, scenes, shown)

    def _batch(self, pictures: Tensor, divisions: Tensor, scenes: list[Scene], shown: float | None) -> Batch:
        """Contents, references and views (B, 3, 3, T, T) without a target, which of their regions (B, 3, slots, T/2,
        T/2) lie in both, and which the networks are shown."""
        semantic = torch.tensor([s.semantic for s in scenes])
        area = divisions.mean((3, 4))
        both = (torch.minimum(torch.maximum(area[:, 0], area[:, 2]), area[:, 1]) > PRESENT).float()[
            :, None, :, None, None
        ]
        divisions = divisions * both
        hidden = torch.rand(len(pictures), generator=self.torch_rng) >= (self.config.shown if shown is None else shown)
        nothing_known = (hidden & ~semantic)[:, None, None, None]  # a division by chance cannot be found out
        ours_known, theirs_known = (divisions[:, i].masked_fill(nothing_known, 0.0) for i in range(2))
        rest = 1 - ours_known.sum(1, keepdim=True)
        given = divisions.masked_fill(hidden[:, None, None, None, None], 0.0)
        ours, theirs, views = (self._soften(given[:, i]) for i in range(3))
        return Batch(
            content=pictures[:, 0],
            content_maps=ours,
            content_truth=torch.cat([ours_known, rest.clamp_min(0)], 1),
            reference=pictures[:, 1],
            reference_maps=theirs,
            reference_truth=torch.cat([theirs_known, torch.ones_like(rest)], 1),
            semantic=semantic,
            view=self._noisy(pictures[:, 2]),
            view_maps=views,
            motion=torch.from_numpy(np.stack([s.motion for s in scenes])),
        )

    def _noisy(self, pictures: Tensor) -> Tensor:
        """The pictures as a camera gives them, with noise of a random strength."""
        strength = self.config.noise * torch.rand(len(pictures), 1, 1, 1, generator=self.torch_rng)
        return (pictures + strength * torch.randn(pictures.shape, generator=self.torch_rng)).clamp(0, 1)

    def _flatten(self, pictures: Tensor, divisions: Tensor) -> Tensor:
        """Views (B, n, 3, T, T) of scenes, of some of which one region (B, n, slots, T/2, T/2) is painted flat."""
        for scene in (torch.rand(len(pictures), generator=self.torch_rng) < self.config.flat).nonzero()[:, 0]:
            areas = divisions[scene].mean((0, 2, 3))
            if areas.sum() <= 0:
                continue
            region = int(torch.multinomial(areas, 1, generator=self.torch_rng))
            colour = (self.rng.uniform(0, 1) + self.rng.normal(0, 0.1, 3)).clip(0, 1)
            painted = F.interpolate(divisions[scene, :, region : region + 1], scale_factor=2, mode="bilinear")
            paint = torch.tensor(colour, dtype=pictures.dtype)[:, None, None]
            pictures[scene] = torch.lerp(pictures[scene], paint.expand_as(pictures[scene]), painted)
        return pictures

    def _soften(self, maps: Tensor) -> Tensor:
        """The maps, or the maps with borders up to a tenth of the picture wide."""
        if self.rng.random() >= self.config.soft:
            return maps
        return box_blur(maps, int(self.rng.choice((3, 5, 9, 13))))

    def _regrade(self, *images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The pictures (B, 3, T, T), those of a sample some of them graded, and which are (B)."""
        count = len(images[0])
        dials = random_grades((count,), self.config.grades, self.torch_rng)[..., None, None]
        chosen = torch.rand(count, generator=self.torch_rng) < self.config.regraded
        return [torch.where(chosen[:, None, None, None], grade(x, dials), x) for x in images], chosen

    def _pick(self, photos: list[Photo]) -> Photo:
        return photos[int(self.rng.integers(len(photos)))]

    def _crops(self) -> tuple[Crop, Crop, Crop]:
        """Of a content, a reference, and of the content's second view."""
        content, reference = (random_crop(self.rng, self.config) for _ in range(2))
        return content, reference, turned(content, self.rng, self.config)

    def _cut(self, of: Sequence[Crop], images: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> Scene:
        """What crops show of content, reference and content again."""
        order = (0, 1, 0)
        pictures = np.stack([cut(images[i], c, self.size) for i, c in zip(order, of, strict=True)])
        divisions = np.stack([cut(maps[i], c, self.size // 2) for i, c in zip(order, of, strict=True)])
        return Scene(pictures, divisions, motion(of[0], of[2]))

    def _one_photo(self) -> Scene:
        """A photograph as content and as reference, and its division."""
        photo = self._pick(self.photos)
        semantic = photo.labels is not None and bool(self.rng.random() < 0.5)
        if semantic and photo.labels is not None:
            maps = label_maps(photo.labels, self._classes(photo.labels, photo.labels))
        else:
            count = int(self.rng.integers(2, self.config.most_regions + 1))
            maps = divide(photo.image, random_rule(self.rng, count), self.rng)
        return replace(self._cut(self._crops(), [photo.image] * 2, [maps] * 2), semantic=semantic)

    def _two_photos(self, labelled: float) -> Scene:
        """Two photographs and the regions they share."""
        semantic = bool(self.labelled) and bool(self.rng.random() < labelled)
        if semantic:
            pair = self._alike()
            labels = [p.labels for p in pair if p.labels is not None]
            classes = self._classes(*labels)
            maps = [label_maps(x, classes) for x in labels]
        else:
            pair = [self._pick(self.photos) for _ in range(2)]
            rule = random_rule(self.rng, int(self.rng.integers(2, self.config.most_regions + 1)))
            maps = [divide(p.image, rule, self.rng) for p in pair]
        return replace(self._cut(self._crops(), [p.image for p in pair], maps), semantic=semantic)

    def _alike(self) -> list[Photo]:
        """A labelled photograph and the one among a few others that shares most of its regions."""
        first, *others = self.rng.integers(len(self.labelled), size=1 + CANDIDATES)
        shared = np.minimum(self.shares[others], self.shares[first]).sum(1)
        return [self.labelled[first], self.labelled[others[int(shared.argmax())]]]

    def _target(self, regional: float) -> Scene:
        """A pair and what the teacher made of it: the pictures of its target come last, in both views."""
        semantic = bool(self.regional) and (not self.whole or bool(self.rng.random() < regional))
        pool = self.regional if semantic else self.whole
        target = pool[int(self.rng.integers(len(pool)))]
        assert target.grid is not None
        content, reference, view = self._crops()
        if known := bool(self.rng.random() < 0.5):
            content = Crop(0, 0, 1, 1, content.mirrored)
            view = turned(content, self.rng, self.config)
        wanted = [i for i, name in enumerate(target.names) if name not in target.unmatched][: self.slots]
        maps = [label_maps(x, wanted) for x in (target.labels, target.style_labels)]
        scene = self._cut((content, reference, view), (target.content, target.style), maps)
        results = np.stack([cut(target.target, crop, self.size) for crop in (content, view)])
        grid = target.grid[:, :, ::-1] if content.mirrored else target.grid
        pictures = np.concatenate([scene.pictures, results])
        return replace(scene, pictures=pictures, semantic=semantic, grid=grid, grid_known=known)

    def _classes(self, first: np.ndarray, second: np.ndarray) -> list[int]:
        """Labels that cover at least 1 % of both label images, at most one per slot."""
        both = np.minimum(*(np.bincount(x.ravel(), minlength=256) / x.size for x in (first, second)))
        return [int(n) for n in np.argsort(-both)[: self.slots] if both[n] > 0.01 and n != UNKNOWN] or [0]


def _images(pictures: Sequence[np.ndarray]) -> Tensor:
    """Groups of uint8 pictures as (B, n, 3, T, T) float in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 1, 4, 2, 3).float().div_(255)


def _maps(maps: Sequence[np.ndarray], slots: int) -> Tensor:
    """Groups of divisions as (B, n, slots, T/2, T/2), the slots beyond a division empty."""
    padded = [np.pad(m, ((0, 0),) * 3 + ((0, slots - m.shape[-1]),)) for m in maps]
    out = torch.from_numpy(np.stack(padded)).permute(0, 1, 4, 2, 3).contiguous().clamp_(0, 1)
    return out / out.sum(2, keepdim=True).clamp_min(1)


def _whole_maps(maps: Tensor) -> Tensor:
    """The maps with what none of them covers given to the first: every pixel has a grade."""
    first = maps[:, :, :1] + 1 - maps.sum(2, keepdim=True)
    return torch.cat([first, maps[:, :, 1:]], 2)
