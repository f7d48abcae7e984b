"""Draws each thing of the generated street onto the canvas: sky, ground, houses, trees, lamps and cars."""

from dataclasses import dataclass

import cv2
import numpy as np

from . import objects, textures
from .camera import (
    BUILDING,
    GROUND,
    OTHER,
    VEGETATION,
    VEHICLE,
    Canvas,
    LevelRows,
    LevelTexture,
    View,
    clearness,
    means,
    plane,
)
from .layout import CAR_COLOURS, SHADOW_SCALE, WALL_DEPTH, House, Placed, Sprite, Street
from .textures import light, smoothstep

CAR_FAR = 190.0
"""Cars are a few pixels wide by then; they fade in over the 50 metres before."""


def draw_sky(canvas: Canvas, street: Street) -> None:
    """Graded air, clouds on a plane overhead, and two ridges of hills; at half size, for all of it is soft."""
    view = canvas.view
    step = 2
    bottom = min(view.height, int(view.centre[1]) + 2)
    rows = (np.arange(-(-bottom // step), dtype=np.float32) + 0.5) * step
    up = np.maximum((view.centre[1] - rows) / view.focal, 0.012)
    zenith, middle = light(0.27, 0.47, 0.74), light(0.55, 0.71, 0.88)
    high = smoothstep(0.0, 0.62, up)[:, None]
    low = np.exp(-up / 0.10)[:, None]
    air = (middle + (zenith - middle) * high) * (1 - low) + view.haze * low
    drift = 0.012 * view.time
    above = LevelRows(1 / up, (step / view.focal) / up**2, view.slopes(step), 4.0 + drift, 3 * drift + street.phase)
    clouds = plane(LevelTexture(street.clouds, 105.0, cv2.BORDER_WRAP), above)
    cover = clouds[..., :1] * smoothstep(0.03, 0.16, up)[:, None, None]
    white, grey = light(0.99, 0.98, 0.95) * 1.25, light(0.64, 0.68, 0.74)
    tone = grey + (white - grey) * clouds[..., 1:]
    tone += (view.haze - tone) * (0.75 * low[:, :, None])
    sky = air[:, None] * (1 - cover) + tone * cover
    _draw_hills(sky, street, view, rows, step)
    canvas.image[:bottom, :, :3] = cv2.resize(
        sky.astype(np.float32), (view.width, bottom), interpolation=cv2.INTER_LINEAR
    )


def _draw_hills(sky: np.ndarray, street: Street, view: View, rows: np.ndarray, step: int) -> None:
    bearing = np.arctan(view.slopes(step)) + 3.0
    first = int(np.argmax(rows > view.centre[1] - 0.16 * view.focal))
    rows, sky = rows[first:, None], sky[first:]
    ridges = ((0.050, 0.016, light(0.68, 0.75, 0.82)), (0.040, 0.008, light(0.58, 0.66, 0.70)))
    for profile, (tall, base, colour) in zip(street.hills, ridges, strict=True):
        crest = base + tall * np.interp(bearing * 2048 / (2 * np.pi), np.arange(2048), profile, period=2048)
        top = (view.centre[1] - view.focal * crest).astype(np.float32)
        inside = np.clip((rows - top) / step + 0.5, 0, 1)[..., None]
        sink = np.clip((rows - top) / (view.centre[1] - top), 0, 1)[..., None]
        sky += inside * (colour + (view.haze - colour) * sink - sky)


def draw_ground(canvas: Canvas, street: Street) -> None:
    view = canvas.view
    first = max(0, int(np.ceil(view.centre[1])))
    below = np.arange(first, view.height, dtype=np.float32) + 0.5 - np.float32(view.centre[1])
    depth = view.focal * view.y / np.maximum(below, 0.4)
    span = depth**2 / (view.focal * view.y)
    slopes, origin = view.slopes(), view.x + textures.GROUND_HALF_WIDTH
    rows = LevelRows(depth, span, slopes, origin, view.z)
    albedo = plane(LevelTexture(street.ground, textures.GROUND_SCALE, cv2.BORDER_REPLICATE), rows)
    shadow = plane(LevelTexture(street.shadows, SHADOW_SCALE, cv2.BORDER_REPLICATE), rows)
    near = int(np.argmin(depth > 40))
    grit = plane(LevelTexture(street.grit, 128.0, cv2.BORDER_WRAP), rows.start_at(near))
    albedo[near:] *= cv2.merge([grit] * 3)
    shadow[..., 0] *= view.sunshine(depth)[:, None]
    lamps = np.stack([view.sun * objects.SUN_DIRECTION[1], view.ambient * 0.95], axis=1)
    lit = albedo * cv2.transform(shadow, lamps.astype(np.float32))
    clear = clearness(depth)[:, None, None]
    lit *= clear
    lit += view.haze * (1 - clear)
    canvas.image[first:, :, :3] = lit
    across = np.abs(depth[:, None] * slopes + np.float32(view.x))
    canvas.labels[first:] = np.where((across < textures.PAVEMENT_EDGE) | (depth > 90)[:, None], GROUND, VEGETATION)


def draw_house(canvas: Canvas, street: Street, thing: Placed, depth: float) -> None:
    house, view = street.houses[thing.which], canvas.view
    side = np.sign(thing.x)
    if depth > 2:
        facing = max(0.0, -float(objects.SUN_DIRECTION[2]))
        tint = view.ambient * 0.72 + view.sun * facing * 0.8 * view.sunshine(depth)
        left = thing.x if side > 0 else thing.x - WALL_DEPTH
        end = Billboard(house.end, textures.FACADE_SCALE, left, house.height, BUILDING)
        _draw_billboard(canvas, end, depth, tint)
    facing = max(0.0, -side * float(objects.SUN_DIRECTION[0]))
    # The shaded side still gets light thrown back by the sunny side of the street.
    base = view.ambient * (0.82 if side > 0 else 0.85) + (0.12 if side > 0 else 0) * view.sun
    _draw_front(canvas, house, thing.x, depth, base, view.sun * facing * 1.15)


def _draw_front(canvas: Canvas, house: House, x: float, start: float, shade: np.ndarray, sun: np.ndarray) -> None:
    """The wall from depth `start` on at `x`: each image column is one depth, so it is averaged along the street."""
    view = canvas.view
    near, far = max(start, 2.0), start + house.width
    if far <= near:
        return
    ends = sorted((view.column(x, near), view.column(x, far)))
    left, right = max(0, int(np.floor(ends[0]))), min(view.width, int(np.ceil(ends[1])))
    top = max(0, int(np.floor(view.row(house.height, near))))
    bottom = min(view.height, int(np.ceil(view.row(0, near))))
    if left >= right or top >= bottom:
        return
    edges = (np.arange(left, right + 1) - view.centre[0]) / (view.focal * (x - view.x))
    depths = 1 / np.maximum(edges, 1e-4)
    begin, end = np.minimum(depths[1:], depths[:-1]), np.maximum(depths[1:], depths[:-1])
    inner_begin, inner_end = np.maximum(begin, near), np.minimum(end, far)
    cover = np.clip((inner_end - inner_begin) / (end - begin), 0, 1).astype(np.float32)
    strip = _wall_columns(house, (inner_begin + inner_end) / 2 - start, inner_end - inner_begin)
    depth = np.clip((begin + end) / 2, near, far).astype(np.float32)
    strip *= cover[:, None, None]
    patch = _stand_up(strip, view, house.height, depth, top, bottom)
    canvas.lay(patch, top, left, depth, shade + sun * view.sunshine(depth)[:, None], BUILDING)


def _wall_columns(house: House, middle: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Columns of a front (N, H, 4), each the mean over `span` metres around `middle` metres from its start."""
    length = len(house.sums) - 1
    half = np.clip(span * textures.FACADE_SCALE, 1, length) / 2
    at = np.clip(middle * textures.FACADE_SCALE, half, length - half)
    return means(house.sums, at - half, np.minimum(at + half, length - 1e-6))


def _stand_up(strip: np.ndarray, view: View, height: float, depth: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """Scale columns (N, H, 4) of a wall `height` metres high to image rows [top, bottom): (rows, N, 4)."""
    shrink = min(1.0, view.focal / (textures.FACADE_SCALE * float(depth.min())))
    size = max(2, int(np.ceil(strip.shape[1] * shrink)))
    if size < strip.shape[1]:
        strip = cv2.resize(strip, (size, len(strip)), interpolation=cv2.INTER_AREA)
    rows = np.arange(top, bottom, dtype=np.float32) + 0.5
    y = np.float32(view.y) + (np.float32(view.centre[1]) - rows)[None] * (depth / np.float32(view.focal))[:, None]
    down = (height - y) * np.float32(strip.shape[1] / height) - 0.5
    which = np.ascontiguousarray(np.broadcast_to(np.arange(len(strip), dtype=np.float32)[:, None], down.shape))
    seen = cv2.remap(strip, down, which, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return cv2.transpose(seen)


@dataclass(frozen=True)
class Billboard:
    """A sprite that faces us, `scale` texels per metre, its upper left corner at (left, top) metres; `lean` shears it,
    `label` says what it is."""

    sprite: Sprite
    scale: float
    left: float
    top: float
    label: int
    lean: float = 0.0


def _draw_billboard(canvas: Canvas, board: Billboard, depth: float, tint: np.ndarray) -> None:
    view, sprite, lean = canvas.view, board.sprite, board.lean
    zoom = view.focal / (depth * board.scale)
    high, wide = sprite[0].shape[0] * zoom, sprite[0].shape[1] * zoom
    u, v = view.column(board.left, depth), view.row(board.top, depth)
    margin = 2 + abs(lean) * high
    x0, x1 = max(0, int(np.floor(u - margin))), min(view.width, int(np.ceil(u + wide + margin)))
    y0, y1 = max(0, int(np.floor(v - 1))), min(view.height, int(np.ceil(v + high + 1)))
    if x0 >= x1 or y0 >= y1:
        return
    texture = sprite[min(len(sprite) - 1, max(0, int(np.log2(1 / zoom))))]
    size = (max(1, int(np.ceil(wide))), max(1, int(np.ceil(high))))
    if size[0] < texture.shape[1] and size[1] < texture.shape[0]:
        texture = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
    sx, sy = wide / texture.shape[1], high / texture.shape[0]
    move = np.array([[sx, -lean * sy, u - x0 + 0.5 * sx - 0.5 + lean * high], [0, sy, v - y0 + 0.5 * sy - 0.5]])
    patch = cv2.warpAffine(texture, move, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    canvas.lay(patch, y0, x0, depth, tint, board.label)


def draw_tree(canvas: Canvas, street: Street, thing: Placed, depth: float) -> None:
    if depth < 2.5:
        return
    view, sprite = canvas.view, street.trees[thing.which]
    scale = objects.TREE_SCALE / thing.scale
    high, wide = sprite[0].shape[0] / scale, sprite[0].shape[1] / scale
    tint = view.ambient * 0.95 + view.sun * (0.95 if thing.x < 8 else 0.5) * view.sunshine(depth)
    lean = 0.006 * np.sin(1.7 * view.time + thing.z)
    _draw_billboard(canvas, Billboard(sprite, scale, thing.x - wide / 2, high, VEGETATION, lean), depth, tint)


def draw_lamp(canvas: Canvas, street: Street, thing: Placed, depth: float) -> None:
    if depth < 1.5:
        return
    view, sprite = canvas.view, street.lamps[thing.which > 0]
    high, wide = sprite[0].shape[0] / objects.LAMP_SCALE, sprite[0].shape[1] / objects.LAMP_SCALE
    tint = view.ambient + view.sun * 0.6 * view.sunshine(depth)
    _draw_billboard(canvas, Billboard(sprite, objects.LAMP_SCALE, thing.x - wide / 2, high, OTHER), depth, tint)


def draw_car(canvas: Canvas, street: Street, thing: Placed, depth: float) -> None:
    """Project the mesh, drop what faces away, and paint the rest far to near at twice the size."""
    view, mesh = canvas.view, street.car
    turn = np.array([thing.scale, 1, thing.scale], np.float32)
    offset = np.array([thing.x, 0, depth + (0 if thing.scale > 0 else objects.CAR_LENGTH)], np.float32)
    corners, normals = mesh.corners * turn + offset, mesh.normals * turn
    shading = mesh.smooth * turn
    eye = np.array([view.x, view.y, 0], np.float32)
    middle = corners.mean(axis=1)
    towards = eye - middle
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    seen = ((normals * towards).sum(1) > 0) & (corners[..., 2].min(axis=1) > 0.8)
    if depth > CAR_FAR or not seen.any():
        return
    colours = _car_light(view, street, thing, shading[seen], towards[seen], seen, depth)
    order = np.argsort(mesh.lift[seen] - np.linalg.norm(middle[seen] - eye, axis=1))
    u = view.centre[0] + view.focal * (corners[seen][..., 0] - view.x) / corners[seen][..., 2]
    v = view.centre[1] - view.focal * (corners[seen][..., 1] - view.y) / corners[seen][..., 2]
    _paint_quads(canvas, np.stack([u, v], axis=2)[order], colours[order], max(depth, 1.0))


def _car_light(
    view: View,
    street: Street,
    thing: Placed,
    normals: np.ndarray,
    towards: np.ndarray,
    seen: np.ndarray,
    depth: float,
) -> np.ndarray:
    mesh = street.car
    base = mesh.colour[seen] + mesh.paint[seen, None] * CAR_COLOURS[thing.which]
    sun = np.clip(normals @ objects.SUN_DIRECTION, 0, 1)[:, None] * view.sunshine(depth)
    lit = base * (view.ambient * (0.55 + 0.45 * normals[:, 1:2]) + view.sun * 0.85 * sun)
    facing = np.clip((normals * towards).sum(1), 0, 1)[:, None]
    mirrored = 2 * facing * normals - towards
    sky = smoothstep(-0.05, 0.5, mirrored[:, 1:2])
    fresnel = mesh.gloss[seen, None] * (0.10 + 0.9 * (1 - facing) ** 4)
    return lit * (1 - fresnel) + fresnel * (
        light(0.3, 0.29, 0.28) + sky * (light(0.75, 0.83, 0.92) - light(0.3, 0.29, 0.28))
    )


def _paint_quads(canvas: Canvas, quads: np.ndarray, colours: np.ndarray, depth: float) -> None:
    view = canvas.view
    low, high = quads.min(axis=(0, 1)), quads.max(axis=(0, 1))
    x0, y0 = (np.maximum(0, np.floor(low))).astype(int)
    x1, y1 = (np.minimum((view.width, view.height), np.ceil(high))).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    fine = 2 if depth < 25 else 4
    patch = np.zeros(((y1 - y0) * fine, (x1 - x0) * fine, 4), np.float32)
    points = np.round((quads - (x0, y0)) * (fine * 16) - 8).astype(np.int32)
    for outline, colour in zip(points, colours.tolist(), strict=True):
        cv2.fillConvexPoly(patch, outline, (*colour, 1.0), cv2.LINE_8, 4)
    patch = cv2.resize(patch, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    patch *= min(1.0, (CAR_FAR - depth) / 50)
    canvas.lay(patch, y0, x0, depth, np.ones(3, np.float32), VEHICLE)
