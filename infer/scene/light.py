"""The light of a scene, followed from frame to frame: a camera's exposure and white balance, lamps, clouds.

A camera that looks around shows other things, and one that opens its aperture shows the same things brighter: where two
frames match each other, the ratio of their colours is the light's, whatever has come into the picture.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

SIDE = 32
"""Frames are compared at this size."""
BLUR = 1.0
"""Its pixels (sigma) by which they are blurred: what is resampled between two pixels is to be as sharp as on one."""
STEPS = 4
"""Of Gauss and Newton, for a frame."""
STILL = 0.01
"""Pixels by which a step that is the last one moves the picture at most."""
OUTLIER = 0.15
"""Difference of logarithms from which on a pixel is of something else."""
LEAST_SHARED = 0.5
"""Of a frame: one that shares less with the frame it is compared with is the next to compare with."""
LEAST_ALIKE = 0.5
"""Share of what both show that is no outlier: below, it is not the same."""
DARKEST, BRIGHTEST = 0.03, 0.97
"""Of sRGB: what is clipped says nothing."""
LEAST_PIXELS = 48
"""That a ratio is taken from."""
VIEWS = 24
"""Of a scene that are kept at most; the oldest are dropped."""
NEAREST = 0.1
"""Depth below which a place does not lie before the camera."""
LUMA = np.array([0.299, 0.587, 0.114])
OPPONENT = np.array([LUMA, [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
"""As in train/student/sums.py."""
BINS = 8
"""Of a histogram there."""
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
"""Of which opponent colours a row has the products: yy uu vv, yu uv, yv."""


@dataclass(frozen=True)
class View:
    """A small frame (SIDE, SIDE, 3) in [0, 1], the logarithm of its luma, the light that it was seen in, and its number
    among the views of the scene."""

    colours: np.ndarray
    luma: np.ndarray
    gain: np.ndarray
    number: int


@dataclass
class LightFollower:
    """How much brighter the same things are than at the first frame, in each channel, and how they have moved.

    Its whole state is the views of the scene that frames are compared with, by which homography (3, 3) of places in
    [-1, 1] each became the last frame; the view that this was compared with and how (`motion`, see `_align`); and how
    the last but one frame became the last: `moved`, None where that is not known.
    """

    views: list[View] = field(default_factory=list)
    lies: list[np.ndarray] = field(default_factory=list)
    at: int = 0
    motion: np.ndarray = field(default_factory=lambda: np.zeros(9))
    moved: np.ndarray | None = None
    count: int = 0

    def copy(self) -> "LightFollower":
        """One that goes on by itself."""
        return replace(self, views=[*self.views], lies=[*self.lies])

    def update(self, thumbnail: np.ndarray) -> np.ndarray:
        """The gain (3) of sRGB since the first frame, given the next thumbnail (T, T, 3) uint8.

        The view to compare with is changed as seldom as may be, and for an older one if there is one: what is lost in
        a change is lost for good.
        """
        small = cv2.resize(thumbnail, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        colours = cv2.GaussianBlur(small, (0, 0), BLUR)
        luma = np.log(colours @ LUMA + 0.05).astype(np.float32)  # of which more light is only more
        self.moved = None
        if not self.views:
            return self._begin(colours, luma, np.ones(3))
        match = self._match(self.at, colours, luma, self.motion)
        if match is None:  # something else altogether: nothing is known of where it lies
            gain = self.views[self.at].gain
            self.views, self.lies = [], []
            return self._begin(colours, luma, gain)
        self.moved = _matrix(match.motion) @ np.linalg.inv(self.lies[self.at])
        self.lies = [self.moved @ lie for lie in self.lies]
        self._settle(self.at, match)
        return self._turn(colours, luma, match) if match.shared < LEAST_SHARED else match.gain

    def _turn(self, colours: np.ndarray, luma: np.ndarray, match: "_Match") -> np.ndarray:
        """Go on with the view that shows most of the frame, a new one if none shows enough."""
        for number in sorted(range(len(self.views)), key=lambda i: -_overlap(self.lies[i])):
            if number == self.at or _overlap(self.lies[number]) < LEAST_SHARED:
                continue
            lie = self.lies[number] / self.lies[number][2, 2]
            brighter = float(np.log(match.gain @ LUMA / (self.views[number].gain @ LUMA)))
            found = self._match(number, colours, luma, _motion(lie, brighter))
            if found is not None and found.shared >= LEAST_SHARED:
                self._settle(number, found)
                return found.gain
        return self._begin(colours, luma, match.gain)

    def _match(self, number: int, colours: np.ndarray, luma: np.ndarray, motion: np.ndarray) -> "_Match | None":
        """How a view became this frame, begun with a motion; None if it shows something else."""
        view = self.views[number]
        motion, same, shared = _align(view.luma, luma, motion)
        if same.sum() < LEAST_ALIKE * SIDE**2 * shared:
            return None
        now, _, _ = _seen_through(colours, motion)
        return _Match(motion, shared, view.gain * _ratio(view.colours[same], now[same]))

    def _settle(self, number: int, match: "_Match") -> None:
        self.at, self.motion = number, match.motion
        self.lies[number] = _matrix(match.motion)

    def _begin(self, colours: np.ndarray, luma: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """The frame becomes a view."""
        if len(self.views) == VIEWS:
            del self.views[0], self.lies[0]
        self.views.append(View(colours, luma, gain, self.count))
        self.lies.append(np.eye(3))
        self.at, self.motion, self.count = len(self.views) - 1, np.zeros(9), self.count + 1
        return gain


@dataclass(frozen=True)
class _Match:
    """How a view became a frame (see `_align`), what share both show, and the gain since the first frame."""

    motion: np.ndarray
    shared: float
    gain: np.ndarray


def _overlap(lie: np.ndarray) -> float:
    """The share of a view that lies in the frame."""
    x, y, depth = lie @ np.stack([_X.ravel(), _Y.ravel(), np.ones(SIDE**2)])
    if lie[2, 2] < NEAREST:
        return 0.0
    return float(((depth > NEAREST) & (np.abs(x) < depth) & (np.abs(y) < depth)).mean())


def _motion(lie: np.ndarray, brighter: float) -> np.ndarray:
    """The motion of which this is the homography (3, 3), its last entry 1."""
    h = lie - np.eye(3)
    return np.array([h[0, 2], h[0, 0], h[0, 1], h[1, 2], h[1, 0], h[1, 1], h[2, 0], h[2, 1], brighter])


def _matrix(motion: np.ndarray) -> np.ndarray:
    """The homography (3, 3) of a motion (see `_align`)."""
    m = motion
    return np.array([[1 + m[1], m[2], m[0]], [m[4], 1 + m[5], m[3]], [m[6], m[7], 1]])


def _align(before: np.ndarray, now: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """How the picture has moved and how much brighter it is; which pixels (SIDE, SIDE) fit; what share both show.

    A motion (9) is a homography, as a camera sees it that turns: places (x, y) in [-1, 1] move by (m0 + m1 x + m2 y,
    m3 + m4 x + m5 y), both then divided by 1 + m6 x + m7 y; m8 is by how much the logarithm of luma is more. Found from
    the last one by Gauss-Newton steps over all at once (Lucas and Kanade 1981, Baker and Matthews 2004): the error of a
    motion that was found first would pass for light.
    """
    for _ in range(STEPS):
        moved, inside, (x, y) = _seen_through(now, motion)
        rest = moved - before - motion[8]
        weight = inside / (1 + np.square(rest / OUTLIER)) ** 2  # Geman and McClure's
        down, right = (SIDE / 2 * slope for slope in np.gradient(moved))
        towards = -(right * x + down * y)
        steep = [right, right * _X, right * _Y, down, down * _X, down * _Y, towards * _X, towards * _Y]
        jacobian = np.stack([part.ravel() for part in (*steep, np.full_like(moved, -1))], 1)
        weighted = jacobian * weight.reshape(-1, 1)
        step = np.linalg.solve(weighted.T @ jacobian + 1e-3 * np.eye(9), weighted.T @ rest.ravel())
        motion = motion - step
        if np.abs(step[:8]).max() * SIDE / 2 < STILL:
            break
    moved, inside, _ = _seen_through(now, motion)
    return motion, inside & (np.abs(moved - before - motion[8]) < OUTLIER), float(inside.mean())


_Y, _X = np.meshgrid(*[(np.arange(SIDE) + 0.5) * 2 / SIDE - 1] * 2, indexing="ij")


def _seen_through(picture: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A picture (SIDE, SIDE, ...) resampled where a motion leads, which of its pixels lie in the picture, and where."""
    depth = np.maximum(1 + motion[6] * _X + motion[7] * _Y, 0.1)
    x = (_X + motion[0] + motion[1] * _X + motion[2] * _Y) / depth
    y = (_Y + motion[3] + motion[4] * _X + motion[5] * _Y) / depth
    at = [((place + 1) * SIDE / 2 - 0.5).astype(np.float32) for place in (x, y)]
    moved = cv2.remap(picture, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, (np.abs(x) < 1 - 1 / SIDE) & (np.abs(y) < 1 - 1 / SIDE), [x, y]


def _ratio(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """By how much (3) most pixels (n, 3) are brighter now; of too few that are not clipped nothing is known."""
    usable = ((np.minimum(before, now) > DARKEST) & (np.maximum(before, now) < BRIGHTEST)).all(-1)
    if usable.sum() < LEAST_PIXELS:
        return np.ones(3)
    ratio: np.ndarray = np.exp(np.median(np.log(now[usable] / before[usable]), axis=0))
    return ratio


def relit(rows: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Rows of sums (R, S) of things whose sRGB is `gain` (3) times what it was: mass and features as they were, colours
    and their products exactly, histograms bin by bin."""
    mass, colours, products, bins, features = np.split(rows, [1, 4, 10, 10 + 4 * BINS], axis=-1)
    turned = OPPONENT @ np.diag(gain) @ np.linalg.inv(OPPONENT)
    second = np.empty((len(rows), 3, 3))
    for column, (i, j) in enumerate(_PAIRS):
        second[:, i, j] = second[:, j, i] = products[:, column]
    second = turned @ second @ turned.T
    products = np.stack([second[:, i, j] for i, j in _PAIRS], -1)
    return np.concatenate([mass, colours @ turned.T, products, _moved(bins, gain), features], -1)


def _moved(bins: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Histograms (R, 4 x BINS), each bin moved to where its mean luma comes to lie, shared by the two bins there."""
    bins = bins.reshape(len(bins), BINS, 4)
    brighter = bins[..., 1:] * gain
    moved = BINS * ((brighter - bins[..., 1:]) @ LUMA) / np.maximum(bins[..., 0], 1e-12)
    places = np.clip(np.arange(BINS) + moved, 0, BINS - 1)
    shares = np.clip(1 - np.abs(places[..., None] - np.arange(BINS)), 0, None)
    there = np.concatenate([bins[..., :1], brighter], -1)
    shared: np.ndarray = np.einsum("rbk,rbt->rtk", there, shares)
    return shared.reshape(len(bins), -1)
