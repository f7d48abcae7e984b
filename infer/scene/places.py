"""Places: what was found where in a scene, so that a segmenter does not call a thing now by this name, now by that.

Of every view of the scene (see `LightFollower`) a coarse map of names is kept, wider than the view. What a frame's
segmenter says is taken together with it, as two witnesses who know different things: where a border runs is the frame's
to say, what a thing is what was first found there.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from hueglass.infer.regions.regions import Regions

from .light import LightFollower

COARSE = 64
"""Pixels of a frame in which names are remembered."""
REACH = 2.0
"""How many times as wide as its view a map is."""
CANVAS = int(COARSE * REACH)
TRUST = 4.0
"""How much what is remembered counts beside what the frame shows, as a power."""
DOUBTED = 0.02
"""Added to what is remembered: nothing is ruled out."""
OTHER = 0.3
"""Difference of logarithms of colours from which on a place shows something else than before."""
BLUR = 1.0
"""Pixels of a frame (sigma) over which that is compared: what moves by less is the same."""
FIRST = 0.5
"""So many frames that were found to be something count as much as nothing known."""


@dataclass
class Places:
    """`canvases` are maps (4 + n, CANVAS, CANVAS) float32 by the numbers of views: how many frames were counted, what
    it looks like, as `_look`, and probabilities of n names; each over REACH times its view."""

    canvases: dict[int, np.ndarray] = field(default_factory=dict)

    def named(
        self, found: Regions, thumbnail: np.ndarray, follower: LightFollower, gain: np.ndarray, renewed: float
    ) -> Regions:
        """What a segmenter found in the frame that was followed last, in the light of what was found there before.

        `thumbnail` (T, T, 3) uint8 is the frame, `gain` (3) its light; of what was found long ago the frame replaces
        the share `renewed`.
        """
        canvas = self._canvas(follower, len(found.names))
        to_frame = follower.lies[follower.at] @ _CANVAS_TO_VIEW
        looks = _look(thumbnail, gain)
        known = _warped(canvas, to_frame, COARSE)
        known[0] *= np.abs(known[1:4] - looks).max(0) < OTHER
        named = _together(found.maps, known[0], known[4:])
        self._count(canvas, named, looks, to_frame, renewed)
        return Regions(named, found.names)

    def _canvas(self, follower: LightFollower, names: int) -> np.ndarray:
        """The view's, made from those of the other views if it is new."""
        view = follower.views[follower.at].number
        if view not in self.canvases:
            canvas = np.zeros((4 + names, CANVAS, CANVAS), np.float32)
            here = np.linalg.inv(follower.lies[follower.at] @ _CANVAS_TO_VIEW)
            for other, lie in zip(follower.views, follower.lies, strict=True):
                if other.number in self.canvases:
                    seen = _warped(self.canvases[other.number], here @ lie @ _CANVAS_TO_VIEW, CANVAS)
                    canvas = np.where(seen[0] > canvas[0], seen, canvas)
            self.canvases = {v.number: self.canvases[v.number] for v in follower.views if v.number in self.canvases}
            self.canvases[view] = canvas
        return self.canvases[view]

    def _count(
        self, canvas: np.ndarray, named: np.ndarray, looks: np.ndarray, to_frame: np.ndarray, renewed: float
    ) -> None:
        """Take in the names that a frame was given: where it shows something else now, they are the first."""
        small = [cv2.resize(m, (COARSE, COARSE), interpolation=cv2.INTER_AREA) for m in named]
        seen = np.stack([np.ones((COARSE, COARSE), np.float32), *looks, *small])
        there = _warped(seen, np.linalg.inv(to_frame), CANVAS)
        shown = there[0] > 0.99
        other = np.abs(there[1:4] - canvas[1:4]).max(0) >= OTHER
        counted = np.where(other, 0, canvas[0])
        weight = shown * np.maximum(1 / (counted + 1), renewed)
        canvas[1:] += weight * (there[1:] - canvas[1:])
        canvas[0] = np.where(shown, counted + 1, canvas[0])


def _look(thumbnail: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """What a thumbnail looks like in the light of the first frame: logarithms of its colours (3, COARSE, COARSE)."""
    small = cv2.resize(thumbnail, (COARSE, COARSE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    logs: np.ndarray = np.log(cv2.GaussianBlur(small, (0, 0), BLUR) / gain.astype(np.float32) + 0.05).transpose(2, 0, 1)
    return logs


_CANVAS_TO_VIEW = np.diag([REACH, REACH, 1.0])
"""Places in [-1, 1] of a canvas to those of its view."""


def _warped(maps: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Maps (n, s, s) seen through a homography of places in [-1, 1], as (n, size, size); 0 where there is nothing."""
    before, after = maps.shape[1], size
    scale_in = np.array([[before / 2, 0, (before - 1) / 2], [0, before / 2, (before - 1) / 2], [0, 0, 1]])
    scale_out = np.array([[after / 2, 0, (after - 1) / 2], [0, after / 2, (after - 1) / 2], [0, 0, 1]])
    pixels = scale_out @ matrix @ np.linalg.inv(scale_in)
    return np.stack([cv2.warpPerspective(m, pixels, (size, size)) for m in maps])


def _together(found: np.ndarray, counted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Probabilities (n, size, size), of a frame and of what is known (n, COARSE, COARSE) of so many frames.

    Where nothing is known the frame bears itself out: maps are as sharp from the beginning as they will be.
    """
    size = found.shape[1]
    small = np.stack([cv2.resize(m, (COARSE, COARSE), interpolation=cv2.INTER_AREA) for m in found])
    known = small + (known - small) * (counted / (counted + FIRST))
    factor = ((known + DOUBTED) / (known.max(0) + DOUBTED)) ** TRUST
    both = found * np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in factor])
    named: np.ndarray = both * (found.sum(0) / (both.sum(0) + 1e-9))
    return named
