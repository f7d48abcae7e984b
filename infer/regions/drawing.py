"""A picture of what was found in a picture: every region in its colour, and a legend. People look before they trust."""

import cv2
import numpy as np

from hueglass.infer.resize import fitted

from .masks import MASK_COLOURS
from .regions import Regions

COLOURS = {
    "sky": (90, 170, 250),
    "building": (190, 90, 70),
    "vegetation": (60, 150, 50),
    "ground": (190, 160, 110),
    "water": (30, 70, 190),
    "vehicle": (230, 60, 230),
    "person": (250, 220, 40),
    "other": (128, 128, 128),
}
"""What regions are painted in, wherever they are shown."""
LONGEST = 1280
"""Pixels of the longer side; of the picture, without the legend."""
LEAST = 240
OPAQUE = 0.6
UNDECIDED = "undecided"
WHITE, INK = (255, 255, 255), (20, 20, 20)
_FONT = cv2.FONT_HERSHEY_DUPLEX


def drawn_regions(image: np.ndarray, regions: Regions) -> np.ndarray:
    """A picture (H, W, 3) uint8 sRGB under the colours of its regions, and below it what they are called and how much
    of it they are: (H', W', 3) uint8. What belongs to no region keeps its own colours.
    """
    small = _at_least(fitted(image, LONGEST), LEAST)
    size = small.shape[1::-1]
    painted = small.astype(np.float32)
    grey = painted.mean(2, keepdims=True)
    colours = [colour_of(name, i) for i, name in enumerate(regions.names)]
    for soft, colour in zip(regions.maps, colours, strict=True):
        share = OPAQUE * cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR)[..., None]
        # Light and shade stay to be seen: the colour is as bright as the picture is there.
        painted += share * (np.array(colour, np.float32) * (0.4 + grey / 255) - painted)
    shares = {name: float(soft.mean()) for name, soft in zip(regions.names, regions.maps, strict=True)}
    entries = [(f"{n} {100 * s:.0f} %", c) for (n, s), c in zip(shares.items(), colours, strict=True)]
    left = 1 - sum(shares.values())
    if left > 0.005:
        entries.append((f"{UNDECIDED} {100 * left:.0f} %", WHITE))
    return np.vstack([np.clip(painted, 0, 255).astype(np.uint8), _legend(entries, size[0])])


def colour_of(name: str, place: int) -> tuple[int, int, int]:
    """Of a region by its name; of a name that is nobody's, one that its place among the others gives."""
    if (known := COLOURS.get(name) or MASK_COLOURS.get(name)) is not None:
        return known
    hue = int(place * 180 * 0.618) % 180  # by the golden section: neighbours are far apart
    red, green, blue = cv2.cvtColor(np.uint8([[[hue, 170, 220]]]), cv2.COLOR_HSV2RGB)[0, 0].tolist()  # type: ignore[arg-type]
    return red, green, blue


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """Enlarged so that its width has room for the legend."""
    height, width = image.shape[:2]
    if width >= side:
        return image
    larger: np.ndarray = cv2.resize(image, (side, max(1, round(height * side / width))), interpolation=cv2.INTER_LINEAR)
    return larger


def _legend(entries: list[tuple[str, tuple[int, int, int]]], width: int) -> np.ndarray:
    """Names beside their colours on white, in as many lines as it takes."""
    scale = min(1.0, max(0.45, width / 1100))
    line = round(34 * scale)
    placed, x, y = [], line // 3, 0
    for text, colour in entries:
        long = cv2.getTextSize(text, _FONT, 0.7 * scale, 1)[0][0] + 2 * line
        if x + long > width and x > line:
            x, y = line // 3, y + line
        placed.append((text, colour, x, y))
        x += long
    legend = np.full((y + line + line // 4, width, 3), 255, np.uint8)
    for text, colour, x, top in placed:
        corner = (x, top + line // 4)
        opposite = (x + 2 * line // 3, top + line)
        cv2.rectangle(legend, corner, opposite, colour, cv2.FILLED)
        cv2.rectangle(legend, corner, opposite, INK, 1)
        at = (x + line, top + line - line // 6)
        cv2.putText(legend, text, at, _FONT, 0.7 * scale, INK, 1, cv2.LINE_AA)
    return legend
