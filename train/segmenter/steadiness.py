"""Does a thing keep its name while the camera turns? `python -m hueglass.train.segmenter.steadiness DATA`, a minute.

Steadiness is the share of pixels, of what two views of one scene both show, whose likeliest region is the same in both.
The views are crops that pan over photographs held out from training: where a pixel of one lies in the other is known.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from hueglass.datasets.photos import load_photos, split
from hueglass.infer.model.bundle import ModelBundle
from hueglass.train.sampling import Crop

Segment = Callable[[np.ndarray], np.ndarray]
"""From a picture (H, W, 3) uint8 sRGB to soft maps (R, M, M) over all of it."""
VIEWS = 5
SIDE = 0.6
"""Of a view, in sides of the photograph."""
LEAST_SHARED = 0.3
"""Of a view: pairs that share less say too little."""
DENSITY = 64
"""Points along a side of what two views share."""


def pan(views: int = VIEWS, side: float = SIDE) -> list[Crop]:
    """Crops of `side` of a picture's sides, from its top left corner to its bottom right one at equal steps."""
    return [Crop(place, place, side, side, mirrored=False) for place in np.linspace(0, 1 - side, views)]


def view(image: np.ndarray, crop: Crop) -> np.ndarray:
    """What a crop shows of a picture (H, W, C), at the picture's own pixels."""
    h, w = image.shape[:2]
    top, left = round(crop.top * h), round(crop.left * w)
    bottom, right = (
        max(top + 1, round((crop.top + crop.height) * h)),
        max(left + 1, round((crop.left + crop.width) * w)),
    )
    return np.ascontiguousarray(image[top:bottom, left:right])


def shared_points(one: Crop, other: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of what two crops share, as (x, y) in shares of the sides of the one and of the other.

    None at all where they share less than LEAST_SHARED of the smaller one.
    """
    left, right = max(one.left, other.left), min(one.left + one.width, other.left + other.width)
    top, bottom = max(one.top, other.top), min(one.top + one.height, other.top + other.height)
    smaller = min(one.width * one.height, other.width * other.height)
    if right <= left or bottom <= top or (right - left) * (bottom - top) < LEAST_SHARED * smaller:
        return np.zeros((0, 2)), np.zeros((0, 2))
    along = (np.arange(DENSITY) + 0.5) / DENSITY
    x, y = np.meshgrid(left + along * (right - left), top + along * (bottom - top))
    places = np.stack([x.ravel(), y.ravel()], 1)
    seen = [(places - (crop.left, crop.top)) / (crop.width, crop.height) for crop in (one, other)]
    return seen[0], seen[1]


def agreement(one: np.ndarray, other: np.ndarray, here: np.ndarray, there: np.ndarray) -> float:
    """The share of points whose likeliest region is the same in maps `one` and `other`, (R, M, M) each.

    `here` and `there`, (n, 2) as (x, y) in shares of the sides, are where the points lie in them: motion of any kind
    will do. NaN for no points.
    """
    if not len(here):
        return float("nan")
    return float(np.mean(_named_at(one, here) == _named_at(other, there)))


def _named_at(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    height, width = maps.shape[1:]
    x = (points[:, 0] * width).astype(int).clip(0, width - 1)
    y = (points[:, 1] * height).astype(int).clip(0, height - 1)
    named: np.ndarray = maps.argmax(0)[y, x]
    return named


def steadiness(segment: Segment, image: np.ndarray, crops: Sequence[Crop]) -> float:
    """The mean agreement of all pairs of views of a picture (H, W, 3) uint8 sRGB that share enough."""
    maps = [segment(view(image, crop)) for crop in crops]
    found = [
        agreement(maps[i], maps[j], *shared_points(crops[i], crops[j])) for i, j in combinations(range(len(crops)), 2)
    ]
    return float(np.nanmean(found))


def main(data: Path) -> None:
    """Prints it for the embedded segmenter."""
    bundle = ModelBundle(threads=1)
    segmenter = bundle.segmenter
    assert segmenter is not None
    _, photos = split(load_photos(data / "photos", 512))
    each = [steadiness(lambda picture: segmenter(bundle.thumbnail(picture)).maps, p.image, pan()) for p in photos]
    worst = ", ".join(f"{photos[i].name} {each[i]:.2f}" for i in np.argsort(each)[:5])
    print(f"{len(photos)} photographs, {VIEWS} views each: {np.mean(each):.3f} named alike (least: {worst})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
