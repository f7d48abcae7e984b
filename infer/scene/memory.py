"""SceneMemory: what has been seen of a scene, so that a thing keeps its colour while a camera looks around.

What the student has to know of a region, a tone or the whole picture follows from a row of sums over it: mass, colours,
their products, a histogram, features (train/student/sums.py). Told those of the scene beside the frame's own, it treats
a thing as it did before, whatever else has come into the picture or left it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hueglass.infer.regions.regions import Regions
from hueglass.infer.smoothing import MEMORY

from .light import LightFollower, relit
from .places import Places

GROWTH = 0.1
"""Of the time over which a thing may change: over so long more of it than was ever seen comes to count."""
WEIGHT = 1000.0
"""Frames that a memory counts for, beside the one at hand."""
SLIVER = 0.002
"""Of a picture: what has been seen no larger is hardly known."""
NOTHING = 1e-12
"""A mass that is none."""
FAINT = 0.01
"""Logarithm of a gain that cannot be told from none."""
PICTURES = 4
"""Of a scene that are kept, at most, to tell another look of it."""
NEW = 0.15
"""Share of a picture that no other one shows, for it to be kept."""


@dataclass(frozen=True)
class Picture:
    """A thumbnail (T, T, 3) uint8 of the scene and its regions, and the light it was seen in (see `SceneMemory`)."""

    thumbnail: np.ndarray
    regions: Regions
    gain: np.ndarray


Tell = Callable[[Picture], tuple[np.ndarray, Sequence[str]]]
"""The sums of a picture by another look, and the names of the regions in its first slots."""


@dataclass
class SceneMemory:
    """First come, first kept: a row is taken as it is first seen, and moves so slowly afterwards that nobody sees it.

    Its whole state is the fields below: rows of sums (S) float64 of regions by their names, those of the tones and of
    the whole picture (tones + 1, S), all in the light of the first frame; that of now, as sRGB's `gain` (3) since then,
    and what it is found by; what was found where, and when last; in seconds, when the scene began and when it was last
    seen; and a few pictures of it, with the largest mass that each row has in them. `complete`: all of the scene was
    seen beforehand, and only what is met for the first time is taken in. `gathered`: of how many frames, all worth the
    same, it is the mean; None for first come, first kept. `slots` is how many regions the student takes; over `seconds`
    what is seen comes to count as much as what was seen in its place.
    """

    slots: int
    seconds: float = MEMORY
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    rest: np.ndarray | None = None
    gain: np.ndarray = field(default_factory=lambda: np.ones(3))
    light: LightFollower = field(default_factory=LightFollower)
    places: Places = field(default_factory=Places)
    named_at: float = 0.0
    began: float = 0.0
    time: float = 0.0
    pictures: list[Picture] = field(default_factory=list)
    pictured: dict[str, float] = field(default_factory=dict)
    complete: bool = False
    gathered: int | None = None

    @property
    def known(self) -> float:
        """For how many seconds this scene has been known."""
        return 0.0 if self.rest is None else self.time - self.began

    def afresh(self) -> "SceneMemory":
        """One of another scene, of which nothing is known yet."""
        return SceneMemory(self.slots, self.seconds, gathered=None if self.gathered is None else 0)

    def follow(self, thumbnail: np.ndarray) -> None:
        """Everything that was seen is from now on in the light of a frame, whose thumbnail (T, T, 3) uint8 this is."""
        change = np.log(self.light.update(thumbnail))
        self.gain = np.exp(np.sign(change) * np.maximum(np.abs(change) - FAINT, 0))

    def named(self, found: Regions, thumbnail: np.ndarray, time: float) -> Regions:
        """What a segmenter found in the frame that was followed last, at `time`, in the light of what it found there
        before; `thumbnail` (T, T, 3) uint8 is the frame."""
        passed, self.named_at = max(time - self.named_at, 0.0), time
        renewed = float(-np.expm1(-passed / (GROWTH * self.seconds)))
        return self.places.named(found, thumbnail, self.light, self.gain, renewed)

    def recall(self, names: Sequence[str]) -> np.ndarray | None:
        """What the student is told (slots + tones + 1, S) float32 of a frame with regions `names` in its first slots,
        counting for WEIGHT frames; None where nothing is known."""
        if self.rest is None:
            return None
        unknown = np.zeros(self.rest.shape[1])
        own = [self.regions.get(name, unknown) for name in names]
        told = np.stack([*own, *[unknown] * (self.slots - len(own)), *self.rest])
        return (WEIGHT * relit(told, self.gain)).astype(np.float32)

    def remember(self, sums: np.ndarray, picture: Picture, names: Sequence[str], time: float) -> None:
        """Take in the sums (slots + tones + 1, S) of a frame at `time`, with regions `names` in its first slots."""
        if self.rest is None:
            self.began = self.time = time
        seen = relit(sums.astype(np.float64), 1 / picture.gain)
        if self.gathered is None:
            self._take(seen, names, 0.0 if self.complete else max(time - self.time, 0.0))
        else:
            self._gather(seen, names)
        self.time = time
        self._keep(picture, sums, names)

    def retold(self, tell: Tell) -> "SceneMemory":
        """The memory that another look has of the same scene, from the pictures of it that were kept."""
        other = replace(self, regions={}, rest=None)
        for picture in self.pictures:
            sums, names = tell(picture)
            other._take(relit(sums.astype(np.float64), 1 / picture.gain), names, GROWTH * self.seconds)
        return other

    def _take(self, sums: np.ndarray, names: Sequence[str], passed: float) -> None:
        for name, row in zip(names, sums, strict=False):
            self.regions[name] = _renewed(self.regions.get(name), row, passed, self.seconds)
        self.rest = _renewed(self.rest, sums[self.slots :], passed, self.seconds)

    def _gather(self, seen: np.ndarray, names: Sequence[str]) -> None:
        """Take in a frame that is worth as much as each before it."""
        assert self.gathered is not None
        self.gathered += 1
        nothing = np.zeros(seen.shape[1])
        rows = dict(zip(names, seen, strict=False))
        for name in self.regions.keys() | rows.keys():
            kept = self.regions.get(name, nothing)
            self.regions[name] = kept + (rows.get(name, nothing) - kept) / self.gathered
        rest = seen[self.slots :]
        self.rest = rest if self.rest is None else self.rest + (rest - self.rest) / self.gathered

    def _keep(self, picture: Picture, sums: np.ndarray, names: Sequence[str]) -> None:
        """Keep the picture if it shows what no other one does."""
        if len(self.pictures) == PICTURES:
            return
        rows = [*zip(names, sums, strict=False), *((str(i), row) for i, row in enumerate(sums[self.slots : -1]))]
        masses = {name: float(row[0]) for name, row in rows}
        new = sum(max(mass - self.pictured.get(name, 0.0), 0.0) for name, mass in masses.items())
        if not self.pictures or new > NEW:
            self.pictures.append(picture)
            self.pictured |= {name: max(mass, self.pictured.get(name, 0.0)) for name, mass in masses.items()}


def _renewed(kept: np.ndarray | None, seen: np.ndarray, passed: float, seconds: float) -> np.ndarray:
    """Rows (..., S) `passed` seconds later, now that `seen` are in the picture.

    A row's mass is the largest share of the picture that it ever had. Of that mass as much as is seen is replaced, by
    and by; and what is seen beyond it is added, ten times as fast.
    """
    if kept is None:
        return seen
    mass, now = kept[..., :1], seen[..., :1]
    replaced = -np.expm1(-passed / seconds) * np.minimum(mass, now)
    added = -np.expm1(-passed / (GROWTH * seconds)) * np.clip(now - mass, 0, mass + SLIVER)
    grown = kept * (1 - replaced / (mass + NOTHING)) + seen * ((replaced + added) / (now + NOTHING))
    return np.where(mass > NOTHING, grown, seen)
