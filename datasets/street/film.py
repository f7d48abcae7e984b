"""A generated street, filmed from a slowly moving car: video for trying the product when there is no footage.

`make_street` draws every texture once; `render_street` then projects them for one moment. Textures are averaged
over exactly the stretch of street a pixel covers: nothing shimmers, however far away. The street repeats, and
fades into haze before `FAR`, so that it never ends and nothing appears suddenly.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.frame import Frame

from .camera import FAR, LABELS, LANE, Canvas, View, develop, view_at
from .drawing import draw_car, draw_ground, draw_house, draw_lamp, draw_sky, draw_tree
from .layout import PERIOD, Placed, Street, make_street

__all__ = ["LABELS", "Street", "make_street", "render_street", "street_clip"]


def render_street(street: Street, time: float, width: int = 1280, height: int = 720) -> tuple[np.ndarray, np.ndarray]:
    """The street at `time` seconds: image (height, width, 3) uint8 sRGB, labels (height, width) uint8 into LABELS."""
    if width < 16 or height < 16:
        raise UsageError(f"a street of {width}x{height} pixels, expected at least 16x16")
    view = view_at(street, time, width, height)
    canvas = Canvas(view)
    draw_sky(canvas, street)
    draw_ground(canvas, street)
    for depth, thing in _in_sight(view, street.backdrop):
        if thing.kind == "house":
            draw_house(canvas, street, thing, depth)
        else:
            draw_tree(canvas, street, thing, depth)
    # Nothing of the backdrop can hide the roadside: every line of sight meets the roadside first.
    for depth, thing in _in_sight(view, (*street.roadside, _car_ahead(view))):
        if thing.kind == "tree":
            draw_tree(canvas, street, thing, depth)
        elif thing.kind == "lamp":
            draw_lamp(canvas, street, thing, depth)
        else:
            draw_car(canvas, street, thing, depth)
    return develop(cv2.cvtColor(canvas.image, cv2.COLOR_RGBA2RGB), street.seed, time), canvas.labels


def street_clip(
    seconds: float = 6.0, rate: float = 25, width: int = 1280, height: int = 720, seed: int = 0
) -> Iterator[Frame]:
    """The street as a video of round(seconds * rate) frames, the first at time 0."""
    street = make_street(seed)
    for index in range(round(seconds * rate)):
        yield Frame(render_street(street, index / rate, width, height)[0], index / rate, index, 1 / rate)


def _car_ahead(view: View) -> Placed:
    """A car in our lane, now a little nearer, now a little farther."""
    return Placed("car", LANE + 0.08, (view.z + 17 + 2.5 * np.sin(0.45 * view.time)) % PERIOD, 2, 1)


def _in_sight(view: View, things: tuple[Placed, ...]) -> list[tuple[float, Placed]]:
    """Each thing with its depth, once for every time the street repeats before `FAR`; the farthest first."""
    seen = []
    for thing in things:
        depth = (thing.z - view.z + 20) % PERIOD - 20  # up to 20 m behind us: a house there may reach into view
        while depth < FAR:
            seen.append((depth, thing))
            depth += PERIOD
    return sorted(seen, key=lambda item: -item[0])
