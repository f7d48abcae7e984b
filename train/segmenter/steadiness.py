"""Does a thing keep its name while the camera turns, and in another light?
`python -m hueglass.train.segmenter.steadiness DATA [BUNDLE]`, some minutes.

Steadiness is the share of pixels, of what two views of one scene both show, whose likeliest region is the same in both.
Views are crops that pan over photographs, and those of a head that turns in a panorama, both held out from training:
where a pixel of one lies in the other is known. Another light is the same picture at other exposures and balances.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from hueglass.datasets.panoramas import HELD_OUT, SUFFIX, Camera, Panorama, exposed, read_panorama
from hueglass.datasets.panoramas import view as look
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
TURN = 20.0
"""Degrees between a view of a panorama and the next, all around."""
HEAD = (75.0, 320, 240)
"""Degrees from side to side of a view, its width and its height."""
LIGHTS = ((-1.5, 0, 0), (-0.75, 0, 0), (0.75, 0, 0), (0, 0.25, -0.25), (0, -0.25, 0.25))
"""Stops by which a picture becomes brighter, and more its red and blue are."""


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


def turned_steadiness(segment: Segment, panorama: Panorama, stops: float = 0.0) -> float:
    """The same of views all around in a panorama."""
    cameras = [Camera(yaw, 0.0, *HEAD) for yaw in np.arange(-180, 180, TURN)]
    maps = [segment(exposed(look(panorama, camera), panorama.middle, stops)) for camera in cameras]
    along = (np.arange(DENSITY) + 0.5) / DENSITY
    points = np.stack([axis.ravel() for axis in np.meshgrid(along, along)], 1)
    found = []
    for i, j in combinations(range(len(cameras)), 2):
        there = cameras[j].points(cameras[i].directions(points))
        seen = ((there >= 0) & (there < 1)).all(1)
        if seen.mean() >= LEAST_SHARED:
            found.append(agreement(maps[i], maps[j], points[seen], there[seen]))
    return float(np.mean(found))


def lit_steadiness(segment: Segment, image: np.ndarray) -> float:
    """The share of pixels of a picture (H, W, 3) uint8 sRGB that keep their name in other LIGHTS, on average."""
    named = segment(image).argmax(0)
    return float(np.mean([np.mean(named == segment(relit(image, *light)).argmax(0)) for light in LIGHTS]))


def relit(image: np.ndarray, stops: float, red: float, blue: float) -> np.ndarray:
    """A picture (H, W, 3) uint8 sRGB so many stops brighter, its red and its blue by so many more."""
    gains = 2.0 ** np.array([stops + red, stops, stops + blue])
    levels = np.arange(256) / 255
    tables = np.clip(levels[:, None] * gains ** (1 / 2.2), 0, 1)  # of linear light, whose gamma is about 2.2
    lit: np.ndarray = cv2.LUT(image, np.rint(255 * tables).astype(np.uint8)[None])
    return lit


def main(data: Path, bundle: ModelBundle) -> None:
    segmenter = bundle.segmenter
    assert segmenter is not None

    def segment(picture: np.ndarray) -> np.ndarray:
        return segmenter(bundle.thumbnail(picture)).maps

    _, photos = split(load_photos(data / "photos", 512))
    each = [steadiness(segment, p.image, pan()) for p in photos]
    worst = ", ".join(f"{photos[i].name} {each[i]:.2f}" for i in np.argsort(each)[:5])
    print(f"{len(photos)} photographs, {VIEWS} views each: {np.mean(each):.3f} named alike (least: {worst})")
    lit = [lit_steadiness(segment, p.image) for p in photos]
    print(f"in {len(LIGHTS)} other lights: {np.mean(lit):.3f}")
    for name in HELD_OUT:
        panorama = read_panorama(data / "panoramas" / f"{name}{SUFFIX}")
        turned = {stops: turned_steadiness(segment, panorama, stops) for stops in (-2.0, 0.0)}
        print(f"{name}: " + ", ".join(f"{value:.3f} at {stops:g} stops" for stops, value in turned.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), ModelBundle(Path(sys.argv[2]), threads=1) if len(sys.argv) > 2 else ModelBundle(threads=1))
