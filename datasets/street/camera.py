"""How the generated street becomes a picture: the camera and the light, laying things into haze, developing.

Image rows of a level plane, and image columns of a wall along the street, have one depth each; `means` averages
a texture exactly over the stretch such a row or column covers, from running sums.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .layout import PERIOD, Street
from .textures import light, smoothstep

LABELS = ("sky", "building", "vegetation", "ground", "vehicle", "other")
"""Names of the regions; the label maps hold indices into this."""
SKY, BUILDING, VEGETATION, GROUND, VEHICLE, OTHER = range(len(LABELS))

FAR = 300.0
FADE = 60.0
"""Objects turn from nothing to solid over the last `FADE` metres before `FAR`."""
HAZE_DISTANCE = 210.0
SPEED = 4.5
"""Metres per second, about the pace of a bicycle."""
CAMERA_HEIGHT = 1.65
LANE = 1.55
EXPOSURE = 1.55
NOISE = 1.1
"""Deviation of the sensor noise, in steps of 1/255."""

_TONE = np.linspace(0, 1, 256)
_CONTRAST = np.round(255 * (0.6 * _TONE + 0.4 * smoothstep(0.0, 1.0, _TONE))).astype(np.uint8)
_ALPHA = np.array([[0, 0, 0, 1]] * 4, np.float32)
"""For `cv2.transform`: the alpha of a premultiplied patch, in every channel."""


@dataclass(frozen=True)
class View:
    """The camera and the light at one moment."""

    width: int
    height: int
    focal: float
    centre: tuple[float, float]
    x: float
    y: float
    z: float
    time: float
    phase: float
    sun: np.ndarray
    ambient: np.ndarray
    haze: np.ndarray

    def column(self, x: float, depth: float) -> float:
        return self.centre[0] + self.focal * (x - self.x) / depth

    def row(self, y: float, depth: float) -> float:
        return self.centre[1] - self.focal * (y - self.y) / depth

    def slopes(self, step: int = 1) -> np.ndarray:
        """x / depth through the middle of each column (or of each group of `step` columns)."""
        columns = (np.arange(-(-self.width // step), dtype=np.float32) + 0.5) * step
        return (columns - np.float32(self.centre[0])) / np.float32(self.focal)

    def sunshine(self, depth: np.ndarray | float) -> np.ndarray:
        """Share of the sun that cloud lets through at this depth: shadows of clouds glide along the street."""
        wave = np.sin(2 * np.pi * ((self.z + np.asarray(depth)) / PERIOD - self.time / 9.0) + self.phase)
        return (1 - 0.8 * smoothstep(0.15, 0.95, wave)).astype(np.float32)


def view_at(street: Street, time: float, width: int, height: int) -> View:
    focal = 0.76 * max(width, 1.2 * height)
    yaw = 0.014 * np.sin(0.9 * time) + 0.006 * np.sin(2.3 * time + 1)
    pitch = 0.0022 * np.sin(5.1 * time) + 0.0015 * np.sin(3.7 * time + 2)
    warmth = 0.5 + 0.5 * np.sin(2 * np.pi * time / 21 + street.phase)
    sun = np.array([1.75, 1.54 - 0.07 * warmth, 1.24 - 0.22 * warmth], np.float32) * (0.97 + 0.08 * np.sin(0.5 * time))
    return View(
        width,
        height,
        focal,
        (0.5 * width + focal * yaw, 0.575 * height + focal * pitch),
        LANE + 0.12 * np.sin(0.7 * time),
        CAMERA_HEIGHT + 0.012 * np.sin(6.0 * time),
        6.0 + SPEED * time,
        time,
        street.phase,
        sun,
        np.array([0.36, 0.42, 0.52], np.float32),
        light(0.80, 0.83, 0.86) * (1, 1, 1 - 0.05 * warmth),
    )


def clearness(depth: np.ndarray) -> np.ndarray:
    """Share of an object's own light that reaches us: little is lost nearby, nearly all of it at `FAR`."""
    return np.exp(-((depth / HAZE_DISTANCE) ** 1.35))


class Canvas:
    """The picture so far, as light, and its label map; things are laid over it from far to near.

    The picture has a fourth, unused channel, so that patches with alpha are added to it as they are, which is faster.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.image = np.zeros((view.height, view.width, 4), np.float32)
        self.labels = np.full((view.height, view.width), SKY, np.uint8)

    def lay(
        self, patch: np.ndarray, top: int, left: int, depth: np.ndarray | float, tint: np.ndarray, label: int
    ) -> None:
        """Lay a premultiplied patch (h, w, 4) over the picture, lit by `tint` and seen through the haze.

        Depth is a number or one per column (w,), tint (3,) or (w, 3).
        """
        height, width = patch.shape[:2]
        depth = np.broadcast_to(np.asarray(depth, np.float32), (width,))[:, None]
        clear, solid = clearness(depth), np.clip((FAR - depth) / FADE, 0, 1)
        gain, veil = np.zeros((2, width, 4), np.float32)
        gain[:, :3] = clear * solid * tint
        veil[:, :3] = (1 - clear) * solid * self.view.haze
        # Long rows of plain numbers: several times faster than broadcasting over the channels.
        alpha = cv2.transform(patch, _ALPHA).reshape(height, -1)
        colour = patch.reshape(height, -1) * gain.reshape(-1)
        colour += alpha * veil.reshape(-1)
        alpha *= np.repeat(solid.astype(np.float32), 4)
        area = self.image[top : top + height, left : left + width]
        np.copyto(self.labels[top : top + height, left : left + width], label, where=alpha[:, ::4] > 0.5)
        area *= np.subtract(1, alpha, out=alpha).reshape(area.shape)
        area += colour.reshape(area.shape)


def means(sums: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Means of a repeating texture over [start, stop), in rows from its first: running sums in, (N, ...) out."""
    length = len(sums) - 1
    base = np.floor(start[len(start) // 2] / length) * length  # keeps the numbers small, thus exact

    def total(position: np.ndarray) -> np.ndarray:
        position = position - base
        turns = np.floor(position / length)
        inside = position - turns * length
        low = np.minimum(inside.astype(np.intp), length - 1)
        shape = (-1,) + (1,) * (sums.ndim - 1)
        weight, turns = (
            (inside - low).astype(np.float32).reshape(shape),
            turns.astype(np.float32).reshape(shape),
        )
        lower = sums[low]
        return lower + (sums[low + 1] - lower) * weight + turns * sums[-1]

    return (total(stop) - total(start)) / (stop - start).astype(np.float32).reshape((-1,) + (1,) * (sums.ndim - 1))


@dataclass(frozen=True)
class LevelTexture:
    """What lies on a level plane: running sums along the street, texels per metre, and what cv2 puts beyond it."""

    sums: np.ndarray
    scale: float
    border: int


@dataclass(frozen=True)
class LevelRows:
    """Where the rows and columns of a picture meet a level plane.

    Row i lies at `depth[i]` and covers `span[i]` along the street; `slopes` are x / depth of the columns; the camera
    stands at `origin`, in x from the texture's left edge, and at `z` along the street. All in metres.
    """

    depth: np.ndarray
    span: np.ndarray
    slopes: np.ndarray
    origin: float
    z: float

    def start_at(self, first: int) -> "LevelRows":
        """Without the rows before `first`."""
        return replace(self, depth=self.depth[first:], span=self.span[first:])


def plane(texture: LevelTexture, seen: LevelRows) -> np.ndarray:
    """A level plane as the camera sees it: (rows, columns, channels)."""
    scale, depth, slopes = texture.scale, seen.depth, seen.slopes
    span = np.maximum(seen.span, 1 / scale)
    rows = means(texture.sums, (seen.z + depth - span / 2) * scale, (seen.z + depth + span / 2) * scale)
    wide = rows.shape[1]
    out = np.empty((len(depth), len(slopes), rows.shape[2]), np.float32)
    texels = depth * scale * (slopes[1] - slopes[0])  # that a pixel covers across the street
    for factor, low, high in ((1, 0, 2), (4, 2, 8), (16, 8, np.inf)):
        chosen = np.flatnonzero((texels >= low) & (texels < high))
        if not len(chosen):
            continue
        part = slice(chosen[0], chosen[-1] + 1)
        strip = rows[part]
        if factor > 1:
            strip = cv2.resize(strip, (wide // factor, len(strip)), interpolation=cv2.INTER_AREA)
        across = ((depth[part, None] * slopes + seen.origin) * (scale / factor) - 0.5).astype(np.float32)
        along = np.broadcast_to(np.arange(len(strip), dtype=np.float32)[:, None], across.shape)
        found = cv2.remap(strip, across, np.ascontiguousarray(along), cv2.INTER_LINEAR, borderMode=texture.border)
        out[part] = found.reshape(out[part].shape)
    return out


def develop(image: np.ndarray, seed: int, time: float) -> np.ndarray:
    """Light to sRGB as a camera would: a little glow, a soft shoulder, darker corners, sensor noise."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(small, (0, 0), max(0.5, width / 200)), (width, height))
    image = cv2.addWeighted(image, -0.93 * EXPOSURE, glow, -0.07 * EXPOSURE, 0)
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    image = image.reshape(height, -1)
    image *= np.repeat(1 - 0.09 * x**2, 3)
    image *= (1 - 0.09 * y**2)[:, None]
    picture = cv2.sqrt(np.maximum(1 - cv2.exp(image), 0)) * 255
    picture += _noise(np.random.default_rng([seed, round(time * 1000) % (1 << 32)]), height, width)
    developed = cv2.convertScaleAbs(np.maximum(picture, 0))
    return cv2.LUT(developed, _CONTRAST).reshape(height, width, 3)


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Gaussian noise (height, width * 3), cheaply: shuffled rows of one tile."""
    tile = rng.standard_normal((64, width * 3), dtype=np.float32) * np.float32(NOISE)
    return tile[rng.integers(0, 64, height)]
