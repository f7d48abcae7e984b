"""Things that stand along the generated street: trees and lamp posts as sprites, cars as small meshes.

Colours are light (see `textures`); sprites (H, W, 4) are premultiplied.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np

from .textures import light, smoothstep

TREE_SCALE = 110
"""Texels per metre of a tree."""
LAMP_SCALE = 60
SUN_DIRECTION = np.array([0.57, 0.71, -0.41], np.float32)
"""Towards the sun: right, up, and behind the viewer (x right, y up, z along the street)."""
CAR_LENGTH = 4.3
CAR_HALF_WIDTH = 0.88


def tree_sprite(rng: np.random.Generator) -> np.ndarray:
    """A broad-leaved tree, its foot in the middle of the lower edge, built from clusters of single leaves."""
    width, height = int(6.0 * TREE_SCALE), int(rng.uniform(7.0, 8.6) * TREE_SCALE)
    paint = np.zeros((height, width, 4), np.uint8)
    centre = np.array([width / 2, height * 0.39])
    radii = np.array([width * 0.40, height * 0.34])
    _trunk(rng, paint, centre)
    leaf = np.sqrt(light(0.42, 0.49, 0.25) * rng.uniform(0.85, 1.1) * (1, 1, rng.uniform(0.7, 1.1)))
    clusters = _crown_clusters(rng, 230)
    for nx, ny, nz in clusters:
        spot = centre + radii * (nx, -ny)
        facing = max(0.0, float(np.dot((nx, ny, -nz), SUN_DIRECTION)))
        shade = 0.40 + 0.16 * ny + 0.10 * nz + 0.52 * facing + rng.uniform(-0.05, 0.05)
        _leaf_cluster(rng, paint, spot, leaf * max(0.2, shade))
    sprite = paint.astype(np.float32) / 255
    sprite[..., :3] *= sprite[..., :3]  # painted as sRGB, kept as light
    return cv2.GaussianBlur(sprite, (0, 0), 0.8)


def _crown_clusters(rng: np.random.Generator, count: int) -> np.ndarray:
    """Places (N, 3) in a lumpy unit ball: right, up, towards the viewer; the farthest first."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lumps = rng.standard_normal((9, 3))
    lumps /= np.linalg.norm(lumps, axis=1, keepdims=True)
    bulge = smoothstep(0.5, 1.0, (direction @ lumps.T).max(axis=1))
    places = direction * (rng.uniform(0.45, 1, count) * (0.78 + 0.24 * bulge))[:, None]
    return places[np.argsort(places[:, 2])]


def _leaf_cluster(rng: np.random.Generator, paint: np.ndarray, spot: np.ndarray, colour: np.ndarray) -> None:
    count = 75
    offsets = rng.standard_normal((count, 2)) * (25, 19)
    sizes = rng.uniform(2.5, 6, count)
    turns = rng.uniform(0, 180, count)
    # Leaves high in a cluster catch the light, those below lie in its shade.
    shades = np.clip(1 - offsets[:, 1] / 75 + 0.16 * rng.standard_normal(count), 0.45, 1.6)
    for (dx, dy), size, turn, shade in zip(offsets, sizes, turns, shades, strict=True):
        value = np.clip(colour * shade * 255, 0, 255)
        cv2.ellipse(
            paint,
            (int(spot[0] + dx), int(spot[1] + dy)),
            (int(size), int(size * 0.55) + 1),
            turn,
            0,
            360,
            (*map(float, value), 255.0),
            -1,
        )


def _trunk(rng: np.random.Generator, paint: np.ndarray, centre: np.ndarray) -> None:
    height, width = paint.shape[:2]
    fork = centre + np.array([0, 0.12 * height])
    bark = np.array([74, 64, 54])
    for row in range(int(fork[1]), height):
        along = (row - fork[1]) / (height - fork[1])
        half = 11 + 5 * along + 8 * max(0.0, along - 0.9) * 10
        middle = fork[0] + 5 * np.sin(along * 3)
        span = np.arange(int(middle - half), int(middle + half))
        round_light = 0.65 + 0.5 * (span - middle) / half + 0.12 * rng.standard_normal(len(span))
        paint[row, span, :3] = np.clip(bark * round_light[:, None] * (0.75 + 0.25 * along), 0, 255)
        paint[row, span, 3] = 255
    for angle in np.linspace(-1.0, 1.0, 7):
        tip = fork + np.array([np.sin(angle) * 0.36 * width, -np.cos(angle) * 0.34 * height])
        cv2.line(paint, tuple(map(int, fork)), tuple(map(int, tip)), (54, 46, 40, 255), 9)


def lamp_sprite() -> np.ndarray:
    """A lamp post 6 m high with its arm to the right, its foot in the middle of the lower edge."""
    width, height = 3 * LAMP_SCALE, 6 * LAMP_SCALE
    paint = np.zeros((height, width, 4), np.float32)
    middle = width // 2
    for offset, shade in zip(range(-4, 5), np.linspace(0.5, 1.5, 9), strict=True):
        steel = (*light(0.30, 0.32, 0.32) * shade, 1.0)
        top = 30 if abs(offset) < 3 else int(height * 0.72)
        paint[top:, middle + offset] = steel
    cv2.ellipse(paint, (middle + 38, 34), (38, 24), 0, 180, 270, (*light(0.34, 0.36, 0.36).tolist(), 1.0), 5)
    cv2.line(paint, (middle + 36, 10), (middle + 58, 10), (*light(0.34, 0.36, 0.36).tolist(), 1.0), 5)
    cv2.ellipse(paint, (middle + 62, 13), (22, 6), 0, 0, 360, (*light(0.62, 0.62, 0.58).tolist(), 1.0), -1)
    return paint


@dataclass(frozen=True)
class CarMesh:
    """Quads of a car, rear bumper at z = 0, standing on y = 0: corners, outward normals, and what each is made of."""

    corners: np.ndarray  # (N, 4, 3) metres
    normals: np.ndarray  # (N, 3)
    smooth: np.ndarray  # (N, 3) normals shared with the neighbours, for shading without facets
    paint: np.ndarray  # (N,) 1 where the car's own colour shows
    colour: np.ndarray  # (N, 3) light where it does not
    gloss: np.ndarray  # (N,) how much sky it mirrors
    lift: np.ndarray  # (N,) metres towards the viewer when sorting by distance: wheels lie on the body


_ROOF_LINE = (
    (0.0, 0.80),
    (0.04, 0.92),
    (0.16, 1.00),
    (0.62, 1.06),
    (0.78, 1.20),
    (1.12, 1.42),
    (1.6, 1.47),
    (2.2, 1.45),
    (2.55, 1.36),
    (3.05, 1.05),
    (3.2, 0.98),
    (3.8, 0.90),
    (4.12, 0.80),
    (4.26, 0.68),
    (4.3, 0.6),
)
_BELT_LINE = ((0.0, 0.78), (0.16, 0.92), (0.6, 0.95), (3.1, 0.92), (3.8, 0.84), (4.3, 0.58))


def car_mesh() -> CarMesh:
    """A family car, lofted from cross-sections along its length."""
    stations = np.r_[0, 0.02, 0.06, 0.12, 0.2, np.linspace(0.3, 4.1, 24), 4.18, 4.26, 4.3]
    roof = np.interp(stations, *np.array(_ROOF_LINE).T)
    belt = np.minimum(np.interp(stations, *np.array(_BELT_LINE).T), roof - 0.01)
    ends = np.sqrt(np.clip(1 - np.maximum(0, np.abs(stations / CAR_LENGTH - 0.5) - 0.42) ** 2 / 0.0068, 0, 1))
    half = CAR_HALF_WIDTH * (0.82 + 0.18 * ends)
    heights = np.stack(
        [
            np.full_like(roof, 0.24),
            np.full_like(roof, 0.38),
            0.5 * belt + 0.2,
            belt,
            0.5 * (belt + roof),
            roof - 0.05 * (roof - belt) / 0.5,
            roof,
            roof,
        ],
        axis=1,
    )
    tumble = np.clip((roof - belt) / 0.5, 0, 1)[:, None] * np.array([0, 0, 0, 0, 0.10, 0.2, 0.3, 1])
    inset = np.array([0.93, 1, 1.0, 0.985, 0.975, 0.95, 0.85, 0])
    widths = half[:, None] * np.where(np.arange(8) == 7, 0, inset - tumble * (np.arange(8) < 7))
    right = np.dstack([widths, heights, np.broadcast_to(stations[:, None], heights.shape)])
    section = np.concatenate([right * (-1, 1, 1), right[:, -2::-1]], axis=1)  # left sill over the roof to right sill
    return _mesh_of(section, stations)


def _mesh_of(section: np.ndarray, stations: np.ndarray) -> CarMesh:
    sides = np.stack([section[:-1, :-1], section[:-1, 1:], section[1:, 1:], section[1:, :-1]], axis=2)
    strip = np.broadcast_to(np.minimum(np.arange(14), 13 - np.arange(14)), sides.shape[:2])
    where = np.broadcast_to(((stations[1:] + stations[:-1]) / 2)[:, None], strip.shape)
    caps = [_cap(section[0]), _cap(section[-1])[:, ::-1]]
    quads = np.concatenate([sides.reshape(-1, 4, 3), *caps])
    ends = np.repeat(np.arange(7), len(caps[0]) // 7)
    strips = np.r_[strip.ravel(), ends, ends]
    places = np.r_[where.ravel(), np.zeros(len(ends)), np.full(len(ends), CAR_LENGTH)]
    normals = np.cross(quads[:, 3] - quads[:, 1], quads[:, 2] - quads[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    grid = normals[: strip.size].reshape(*strip.shape, 3)
    smooth = np.concatenate([cv2.blur(grid, (3, 5)).reshape(-1, 3), normals[strip.size :]])
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-9
    body = _materials(quads, normals, smooth, strips, places)
    return _join(body, _wheels())


def _cap(section: np.ndarray, pieces: int = 12) -> np.ndarray:
    """Close an end: each strip of the left half joined to its mirror image, in pieces across."""
    t = np.linspace(0, 1, pieces + 1)[None, :, None]
    lines = section[:8, None] * (1 - t) + section[14:6:-1, None] * t
    return np.stack([lines[:-1, :-1], lines[:-1, 1:], lines[1:, 1:], lines[1:, :-1]], axis=2).reshape(-1, 4, 3)


def _wheels() -> CarMesh:
    quads, colours = [], []
    angles = np.linspace(0, 2 * np.pi, 17)
    for side in (-1, 1):
        for z in (0.82, 3.45):
            for inner, outer, tone in ((0.0, 0.20, 0.50), (0.20, 0.31, 0.12), (0.31, 0.37, 0.05)):
                ring = np.stack([np.full(17, side * 0.89), np.sin(angles), np.cos(angles)], 1)
                near, far = ring * (1, inner, inner) + (0, 0.32, z), ring * (1, outer, outer) + (0, 0.32, z)
                quads += [np.stack([near[i], far[i], far[i + 1], near[i + 1]]) for i in range(16)]
                colours += [light(tone, tone, tone)] * 16
        for z in (0.5, 3.77):  # the tyres seen from behind and from the front
            left, right = side * 0.62, side * 0.86
            quads.append(np.array([[left, 0, z], [right, 0, z], [right, 0.3, z], [left, 0.3, z]]))
            colours.append(light(0.09, 0.09, 0.09))
    corners = np.array(quads, np.float32)
    normals = np.sign(corners[:, :, 0].mean(axis=1))[:, None] * np.array([1, 0, 0], np.float32)
    none = np.zeros(len(corners), np.float32)
    return CarMesh(corners, normals, normals, none, np.array(colours), none, none + 0.6)


def _join(a: CarMesh, b: CarMesh) -> CarMesh:
    return CarMesh(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(CarMesh)))


def _materials(
    quads: np.ndarray, normals: np.ndarray, smooth: np.ndarray, strips: np.ndarray, places: np.ndarray
) -> CarMesh:
    """Glass, lamps, plates and sills by where a quad lies; the rest is painted."""
    paint, gloss = np.ones(len(quads), np.float32), np.full(len(quads), 0.35, np.float32)
    colour = np.zeros((len(quads), 3), np.float32)
    centre = quads.mean(axis=1)

    def make(which: np.ndarray, tone: np.ndarray, shine: float) -> None:
        paint[which], colour[which], gloss[which] = 0, tone, shine

    make(centre[:, 1] < 0.33, light(0.10, 0.10, 0.11), 0.05)
    sill = (places > 0.62) & (places < 3.15)
    pillar = (np.abs(places - 1.25) < 0.09) | (np.abs(places - 2.15) < 0.07)
    make(sill & ~pillar & ((strips == 3) | (strips == 4)), light(0.13, 0.15, 0.17), 0.8)
    screens = ((places > 0.62) & (places < 1.12)) | ((places > 2.5) & (places < 3.1))
    make(screens & (strips >= 5), light(0.13, 0.15, 0.17), 0.9)
    lamp = (np.abs(centre[:, 0]) > 0.55) & (strips == 2)
    grille = (np.abs(centre[:, 0]) < 0.62) & (strips == 1) & (places == CAR_LENGTH)
    make(grille, light(0.10, 0.10, 0.11), 0.1)
    plate = (np.abs(centre[:, 0]) < 0.27) & (strips == 1) & ((places == 0) | (places == CAR_LENGTH))
    make(plate, light(0.80, 0.80, 0.74), 0.0)
    make(lamp & (places < 0.2), light(0.62, 0.07, 0.06), 0.3)
    make(lamp & (places > 4.1), light(0.85, 0.86, 0.86), 0.8)
    quads, normals, smooth = (a.astype(np.float32) for a in (quads, normals, smooth))
    return CarMesh(quads, normals, smooth, paint, colour, gloss, np.zeros_like(gloss))
