"""RegionSmoother: the maps of a segmenter, steady over time, and regions that come and go without a pop."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from hueglass.infer.smoothing import checked_smoothing

from .regions import Regions
from .segmenter import LEAST_NAMED

ENTERS = 0.015
LEAVES = 0.005
"""A region is there once its share of the frame is above the first, and until it falls below the second."""
_FADED = 1e-3
"""A presence this close to 0 or 1 has arrived: an exponential never does, and fading costs time."""
WHOLE = 0.999
"""A pixel of which less was in the picture before has come into it."""
_NOTHING = 1e-6
"""Less is set to 0: an average that only ever halves ends in denormals, which are slow and never leave."""


def _none() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass
class RegionSmoother:
    """Exponential moving average of region maps, with a time constant in seconds, started afresh at a cut.

    `present` (n) bool says which regions are there, with hysteresis; `presence` (n) in [0, 1] follows it with the same
    time constant, and is 1 or 0 at once on a first frame. `seconds` 0 switches all but the hysteresis off. Its whole
    state is the fields below `seconds`; `average` (n, M, M) are the maps of the regions `names`, and `known` (M, M) is
    below 1 where something has come into the picture since, of which its neighbours' are taken until it is looked at.
    """

    seconds: float = 0.25
    names: tuple[str, ...] = ()
    average: np.ndarray | None = None
    known: np.ndarray = field(default_factory=_none)
    present: np.ndarray = field(default_factory=_none)
    presence: np.ndarray = field(default_factory=_none)
    time: float = 0.0

    def __post_init__(self) -> None:
        checked_smoothing(self.seconds)

    def move(self, moved: np.ndarray) -> Regions:
        """The regions as they are after the picture has moved by a homography (3, 3) of places in [-1, 1]."""
        if self.average is not None and len(self.average):
            matrix, size = _in_pixels(moved, self.average.shape[1]), self.average.shape[2]
            maps = [cv2.warpPerspective(m, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE) for m in self.average]
            self.average = np.stack(maps)
            self.known = cv2.warpPerspective(self.known, matrix, (size, size))
        return self._shown()

    def update(self, regions: Regions, time: float, fresh: bool = False) -> Regions:
        """The regions that are there at `time` seconds, smoothed, given those of the frame.

        `fresh` says that the frame is the first of a shot. It is the caller's to find: the coefficients start afresh
        at the same frame, and the cut score is needed once.
        """
        weight = 1.0
        if self.average is None or fresh or self._starts_afresh(regions, time):
            self._start(regions)
        else:
            weight = 1 - np.exp(-(time - self.time) / self.seconds) if self.seconds else 1.0
            new = self.known < WHOLE
            self.average[:, new] = regions.maps[:, new]
            _approach(self.average, regions.maps, weight)
        assert self.average is not None
        share = self.average.mean((1, 2))
        self.present = share > np.where(self.present, LEAVES, ENTERS)
        self.presence = self.presence + np.float32(weight) * (self.present - self.presence)
        arrived = np.abs(self.presence - self.present) < _FADED
        self.presence = np.where(arrived, self.present, self.presence).astype(np.float32)
        self.known = np.ones(regions.maps.shape[1:], np.float32)
        self.time = time
        return self._shown()

    def _shown(self) -> Regions:
        if self.average is None:
            return Regions(np.zeros((0, 1, 1), np.float32), ())
        names = tuple(name for name, p in zip(self.names, self.presence, strict=True) if p)
        return Regions(faded_maps(self.average, self.presence), names)

    def _starts_afresh(self, regions: Regions, time: float) -> bool:
        assert self.average is not None
        return time < self.time or regions.names != self.names or regions.maps.shape != self.average.shape

    def _start(self, regions: Regions) -> None:
        self.names, self.average = regions.names, np.array(regions.maps, np.float32, order="C")
        self.present = np.zeros(len(regions.names), bool)
        self.presence = np.zeros(len(regions.names), np.float32)


def _in_pixels(moved: np.ndarray, size: int) -> np.ndarray:
    """A homography of places in [-1, 1] as one of the pixels of maps `size` wide."""
    to_pixels = np.array([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2], [0, 0, 1]])
    pixels: np.ndarray = to_pixels @ moved @ np.linalg.inv(to_pixels)
    return pixels


def _approach(average: np.ndarray, maps: np.ndarray, weight: float) -> None:
    """average += weight (maps - average), in place."""
    if average.size:
        flat = average.reshape(-1, average.shape[2])
        cv2.addWeighted(maps.reshape(flat.shape), weight, flat, 1 - weight, 0, dst=flat)
        cv2.threshold(flat, _NOTHING, 0, cv2.THRESH_TOZERO, dst=flat)


def faded_maps(average: np.ndarray, presence: np.ndarray) -> np.ndarray:
    """Maps (k, M, M) of the k regions with any presence, from all (n, M, M) and their presence (n) in [0, 1].

    Each map is multiplied by its presence. What that frees in a pixel goes to the other regions there, in proportion to
    what they have; where they have less than LEAST_NAMED, a part of it to none.
    """
    there = np.flatnonzero(presence)
    maps = average[there]
    if (presence == 1).all():
        return maps
    maps *= presence[there, None, None]
    total, freed = maps.sum(0), average[presence == 0].sum(0)
    gain = freed / np.maximum(total, LEAST_NAMED)
    own = {}
    for k in np.flatnonzero(presence[there] < 1).tolist():
        others = total - maps[k]
        own[k] = average[there[k]] - maps[k]
        own[k] /= np.maximum(others, LEAST_NAMED, out=others)
        gain += own[k]
    gain += 1
    for k, region in enumerate(maps):
        region *= gain - own[k] if k in own else gain
    return maps
