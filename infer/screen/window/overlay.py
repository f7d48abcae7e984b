"""What the window lays over a frame: the original beside it, text."""

import cv2
import numpy as np

from hueglass.infer.scene.live import Shown

from .view import View

MARGIN = 14
"""Around text, in pixels at scale 1."""
LEAST_SCALE = 0.2


def arranged(shown: Shown, view: View) -> np.ndarray:
    """What is shown of a frame (H, W, 3) uint8: mirrored if the view says so, the original left of the split."""
    image = _mirrored(shown.image, view)
    if view.split is None:
        return image
    x = split_column(view, image)
    return np.concatenate([_mirrored(shown.original, view)[:, :x], image[:, x:]], 1)


def split_column(view: View, image: np.ndarray) -> int:
    """Where the original ends, in pixels."""
    width: int = image.shape[1]
    return round((view.split or 0.0) * width)


def annotated(image: np.ndarray, view: View, lines: list[str]) -> np.ndarray:
    """A picture as `arranged` gives it, with a line at the split and lines of text; itself where there is none."""
    x = split_column(view, image)
    marked = view.split is not None and 0 < x < image.shape[1]
    lines = [line for line in lines if line]
    if not (marked or lines):
        return image
    image = np.array(image, order="C")
    if marked:
        image[:, max(x - 1, 0) : x + 1] = 255
    if lines:
        _write(image, lines)
    return image


def _mirrored(image: np.ndarray, view: View) -> np.ndarray:
    return cv2.flip(image, 1) if view.mirror else image


def _write(image: np.ndarray, lines: list[str]) -> None:
    """Text on a dark ground in the upper left corner, as large as its longest line allows."""
    scale = max(0.4, image.shape[0] / 900)
    while scale > LEAST_SCALE and _widest(lines, scale) + 2 * MARGIN * scale > image.shape[1]:
        scale *= 0.95  # OpenCV's letters do not grow in proportion to it
    line, margin = round(30 * scale), round(MARGIN * scale)
    corner = image[: line * len(lines) + 2 * margin, : _widest(lines, scale) + 2 * margin]
    corner //= 3
    for i, text in enumerate(lines):
        at = (margin, margin + line * (i + 1) - round(8 * scale))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _widest(lines: list[str], scale: float) -> int:
    """Pixels."""
    widths = (int(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0]) for text in lines)
    return max(widths)
