"""The lay-out of the generated street: which house, tree, lamp and car stands where, and the shadows they cast.

The street repeats after `PERIOD` metres. x is metres right of its middle, y up, z along it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from . import objects, textures
from .textures import light, running_sums, smoothstep

PERIOD = 240.0
SHADOW_SCALE = 8
WALL_DEPTH = 9.0


Sprite = tuple[np.ndarray, ...]
"""A premultiplied picture (H, W, 4) at full, half, quarter... size."""


def pyramid(picture: np.ndarray, levels: int = 6) -> Sprite:
    """The picture and its halves, so that a far sprite is not averaged from all its texels in every frame."""
    sizes = [np.ascontiguousarray(picture)]
    while len(sizes) < levels and min(sizes[-1].shape[:2]) >= 8:
        high, wide = sizes[-1].shape[:2]
        sizes.append(cv2.resize(sizes[-1], (-(-wide // 2), -(-high // 2)), interpolation=cv2.INTER_AREA))
    return tuple(sizes)


@dataclass(frozen=True)
class House:
    """A front along the street and the wall at its end, as textures; `sums` runs along the street."""

    width: float
    height: float
    sums: np.ndarray
    end: Sprite


@dataclass(frozen=True)
class Placed:
    """Something on the street. `which` picks its texture or colour; `scale` is its size, or which way it faces."""

    kind: str  # house, tree, lamp or car
    x: float
    z: float
    which: int
    scale: float = 1.0


@dataclass(frozen=True)
class Street:
    """Everything that does not change from frame to frame. Build it with `make_street`."""

    seed: int
    houses: tuple[House, ...]
    trees: tuple[Sprite, ...]
    lamps: tuple[Sprite, Sprite]  # arm to the left, to the right
    car: objects.CarMesh
    backdrop: tuple[Placed, ...]
    roadside: tuple[Placed, ...]
    ground: np.ndarray
    grit: np.ndarray
    shadows: np.ndarray
    clouds: np.ndarray
    hills: tuple[np.ndarray, ...]
    phase: float


CAR_COLOURS = (
    light(0.62, 0.13, 0.11),
    light(0.75, 0.76, 0.77),
    light(0.17, 0.27, 0.42),
    light(0.14, 0.14, 0.15),
    light(0.86, 0.86, 0.84),
    light(0.28, 0.36, 0.33),
    light(0.52, 0.53, 0.55),
)


def make_street(seed: int = 0) -> Street:
    """Draw the textures and lay out the street; the same seed gives the same street."""
    rng = np.random.default_rng(seed)
    houses = tuple(_house(rng, index) for index in range(9))
    trees = tuple(pyramid(objects.tree_sprite(rng)) for _ in range(5))
    lamp = objects.lamp_sprite()
    backdrop = _lay_houses(rng, houses, -1) + _lay_houses(rng, houses, 1)
    roadside = _lay_roadside(rng)
    grit = 1 + 0.10 * textures.fractal_noise(rng, (512, 1024), 0.55)
    return Street(
        seed=seed,
        houses=houses,
        trees=trees,
        lamps=(pyramid(lamp[:, ::-1]), pyramid(lamp)),
        car=objects.car_mesh(),
        backdrop=backdrop,
        roadside=roadside,
        ground=running_sums(textures.ground_texture(rng)),
        grit=running_sums(grit.astype(np.float32)[..., None]),
        shadows=running_sums(_shadow_map(rng, houses, backdrop, roadside)),
        clouds=running_sums(textures.cloud_field(rng)),
        hills=tuple(textures.hill_profile(rng, slope) for slope in (0.95, 0.85)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _house(rng: np.random.Generator, index: int) -> House:
    style = textures.facade_style(rng, index)
    width = float(rng.uniform(8.5, 13.5))
    front = textures.facade(rng, style, width)
    end = textures.facade(rng, style, WALL_DEPTH, blind=True)
    along = np.ascontiguousarray(front.transpose(1, 0, 2))
    return House(front.shape[1] / textures.FACADE_SCALE, style.height, running_sums(along), pyramid(end))


def _lay_houses(rng: np.random.Generator, houses: tuple[House, ...], side: int) -> tuple[Placed, ...]:
    """Rows of two to four houses with gardens between them, filling one period on one side."""
    placed: list[Placed] = []
    z, row, which = 0.0, int(rng.integers(2, 4)), int(rng.integers(len(houses)))
    while True:
        which = (which + int(rng.integers(1, 4))) % len(houses)
        if z + houses[which].width > PERIOD - 2:
            return tuple(placed)
        x = side * float(rng.choice([9.4, 9.4, 9.8, 10.4]))
        placed.append(Placed("house", x, z, which))
        z, row = z + houses[which].width, row - 1
        if row == 0:
            gap, row = float(rng.uniform(5, 8)), int(rng.integers(2, 5))
            placed += [
                Placed("tree", side * (12.0 + 3.5 * k), z + gap * (0.35 + 0.3 * k), int(rng.integers(5)), 0.95)
                for k in range(2)
            ]
            z += gap


def _lay_roadside(rng: np.random.Generator) -> tuple[Placed, ...]:
    placed: list[Placed] = []
    for side in (-1, 1):
        for slot in np.arange(0, PERIOD, 15.0):
            if rng.random() < 0.8:
                scale = float(rng.uniform(0.8, 1.05))
                placed.append(Placed("tree", side * 6.9, slot + rng.uniform(-2.5, 2.5), int(rng.integers(5)), scale))
        for slot in np.arange(8.0 - 3 * side, PERIOD, 30.0):
            placed.append(Placed("lamp", side * 5.9, slot, -side))
        for slot in np.arange(3.0, PERIOD, 6.5):
            if rng.random() < 0.38:
                colour = int(rng.integers(len(CAR_COLOURS)))
                placed.append(Placed("car", side * 4.2, slot + rng.uniform(-0.5, 0.5), colour, side))
    return tuple(placed)


def _shadow_map(
    rng: np.random.Generator,
    houses: tuple[House, ...],
    backdrop: tuple[Placed, ...],
    roadside: tuple[Placed, ...],
) -> np.ndarray:
    """How much sun and how much sky the ground sees (Nz, Nx, 2), in [0, 1], over one period."""
    shape = (int(PERIOD * SHADOW_SCALE), int(2 * textures.GROUND_HALF_WIDTH * SHADOW_SCALE))
    sun, sky = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    dapple = smoothstep(-0.9, 0.1, textures.fractal_noise(rng, shape, 0.9)).astype(np.float32)
    drift = -objects.SUN_DIRECTION[[0, 2]] / objects.SUN_DIRECTION[1]  # of a shadow, per metre of height
    canopy = np.zeros(shape, np.float32)
    for thing in (*backdrop, *roadside):
        if thing.kind == "house":
            house = houses[thing.which]
            base = np.array([[thing.x, thing.z], [thing.x, thing.z + house.width]])
            back = base + np.array([np.sign(thing.x) * WALL_DEPTH, 0])
            block = np.array([*base, *back, *(base + drift * house.height * 0.9), *(back + drift * house.height * 0.9)])
            _stamp(sun, cv2.convexHull(block.astype(np.float32))[:, 0], 1.0)
            _stamp(sky, np.array([*(base - (np.sign(thing.x) * 0.8, 0)), *back[::-1]]), 0.5)
        elif thing.kind == "tree":
            crown = np.array([thing.x, thing.z]) + drift * 5.2 * thing.scale
            _stamp(canopy, _ellipse(crown, 2.5 * thing.scale, 2.6 * thing.scale), 1.0)
            _stamp(sky, _ellipse(np.array([thing.x, thing.z]), 2.2, 2.2), 0.22)
            _stamp(sky, _ellipse(np.array([thing.x, thing.z]), 0.45, 0.45), 0.6)
        elif thing.kind == "car":
            centre = np.array([thing.x, thing.z + objects.CAR_LENGTH / 2])
            _stamp(sky, _box(centre, 0.85, 2.12), 0.94)
            _stamp(sun, _box(centre + drift * 0.7, 1.0, 2.3), 1.0)
    sun = np.maximum(sun, canopy * dapple)
    return np.dstack([1 - _blur_round(sun, 1.3), 1 - 0.75 * _blur_round(sky, 1.6) - 0.2 * _blur_round(sky, 7)])


def _stamp(mask: np.ndarray, outline: np.ndarray, value: float) -> None:
    """Fill a polygon given in metres (x, z); what leaves one end of the period enters at the other."""
    for shift in (-PERIOD, 0, PERIOD):
        points = (outline + np.array([textures.GROUND_HALF_WIDTH, shift])) * SHADOW_SCALE
        low, high = points[:, 1].min(), points[:, 1].max()
        if high < 0 or low >= len(mask):
            continue
        first, last = max(0, int(low)), min(len(mask), int(high) + 2)
        layer = np.zeros((last - first, mask.shape[1]), np.float32)
        cv2.fillPoly(layer, [np.round(points - (0, first)).astype(np.int32)], value)
        np.maximum(mask[first:last], layer, out=mask[first:last])


def _ellipse(centre: np.ndarray, half_x: float, half_z: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return centre + np.stack([half_x * np.cos(angle), half_z * np.sin(angle)], axis=1)


def _box(centre: np.ndarray, half_x: float, half_z: float) -> np.ndarray:
    return centre + np.array([[-half_x, -half_z], [half_x, -half_z], [half_x, half_z], [-half_x, half_z]])


def _blur_round(mask: np.ndarray, sigma: float) -> np.ndarray:
    margin = int(4 * sigma) + 1
    wrapped = np.concatenate([mask[-margin:], mask, mask[:margin]])
    return cv2.GaussianBlur(wrapped, (0, 0), sigma)[margin:-margin]
