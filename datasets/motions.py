"""Scenes that stand still while a camera moves, whose every point is known in every frame: what drift is measured on.

A window goes over a photograph and back; a head turns in a panorama and back. Both take SECONDS at RATE frames a
second, faster in the middle and at rest where they turn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.media.images import read_image

from .panoramas import SUFFIX, Camera, Panorama, exposed, read_panorama, view

SECONDS = 6.0
RATE = 30.0
FRAMES = round(SECONDS * RATE)
WINDOW = 0.6
"""Of a photograph's sides."""
TURN = 140.0
"""Degrees that a head turns."""
WIDE = 75.0
"""Degrees that it sees."""
WIDTH, HEIGHT = 640, 480
"""Pixels of what a head sees."""
POINTS = 48
"""Along a side of a photograph; as dense over what a head sees."""


@dataclass(frozen=True)
class Glimpse:
    """A frame of a scene: `image` (H, W, 3) uint8 sRGB, its `time` in seconds, and `places` (n, 2), where the scene's
    points are in it, (x, y) in shares of its sides, NaN for those that it does not show."""

    image: np.ndarray
    time: float
    places: np.ndarray


def glimpses(path: Path, stops: float = 0.0) -> Iterator[Glimpse]:
    """The frames of the scene in a file: a panorama at that exposure, or a photograph. Errors as of its reader."""
    if path.suffix.lower() == SUFFIX:
        return head_turning(read_panorama(path), stops)
    return window_over(read_image(path))


def swing(frame: int) -> float:
    """How far a movement is at a frame: from 0 to 1 and back, like a pendulum."""
    return 0.5 - 0.5 * float(np.cos(2 * np.pi * frame / (FRAMES - 1)))


def window_over(image: np.ndarray) -> Iterator[Glimpse]:
    """A window that goes over a photograph (H, W, 3) uint8, from its top left corner to its bottom right one and back.

    It moves by parts of a pixel: frames are resampled bilinearly.
    """
    height, width = image.shape[:2]
    size = (max(1, round(WINDOW * width)), max(1, round(WINDOW * height)))
    points = _grid(POINTS, POINTS)
    for frame in range(FRAMES):
        left, top = swing(frame) * (width - size[0]), swing(frame) * (height - size[1])
        where = np.array([[1, 0, left], [0, 1, top]], np.float64)
        seen = cv2.warpAffine(image, where, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        places = (points * (width, height) - (left, top)) / size
        yield Glimpse(seen, frame / RATE, _inside(places))


def head_turning(panorama: Panorama, stops: float = 0.0) -> Iterator[Glimpse]:
    """A head that turns in a panorama by TURN degrees and back, level, at an exposure that stays."""
    high = np.degrees(2 * np.arctan(HEIGHT / WIDTH * np.tan(np.radians(WIDE) / 2)))
    across = TURN + WIDE
    grid = _grid(round(POINTS * across / WIDE), round(POINTS * high / WIDE)) - 0.5
    longitude, latitude = np.radians(grid * (across, -high)).T
    level = np.cos(latitude)
    points = np.stack([level * np.sin(longitude), -np.sin(latitude), level * np.cos(longitude)], 1)
    for frame in range(FRAMES):
        camera = Camera(TURN * (swing(frame) - 0.5), 0.0, WIDE, WIDTH, HEIGHT)
        image = exposed(view(panorama, camera), panorama.middle, stops)
        yield Glimpse(image, frame / RATE, _inside(camera.points(points)))


def _grid(across: int, down: int) -> np.ndarray:
    """Points (across * down, 2) evenly over [0, 1] x [0, 1], off the edges."""
    x, y = np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(down) + 0.5) / down)
    return np.stack([x.ravel(), y.ravel()], 1)


def _inside(places: np.ndarray) -> np.ndarray:
    """NaN for what lies outside."""
    inside = ((places >= 0) & (places <= 1)).all(1, keepdims=True)
    return np.where(inside, places, np.nan)
