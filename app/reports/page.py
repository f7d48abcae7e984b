"""What written pages and contact sheets share: templates that lie beside this file, pictures as JPEG, tiles."""

import re
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.resize import reduced_size

LONGEST, QUALITY = 700, 85
"""Of the pictures on pages: pixels on the longer side, and JPEG's quality."""


def filled(template: str, parts: dict[str, str]) -> str:
    """The text of a template with each <!--name--> replaced by its part, which is HTML already."""
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return re.sub("<!--([a-z]+)-->", lambda found: parts[found[1]], text)


def jpeg(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 RGB, reduced where its longer side is over LONGEST, as a JPEG file."""
    size = reduced_size(image.shape, LONGEST)
    small = image if size == image.shape[:2] else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return data.tobytes()


def tile(image: np.ndarray, size: tuple[int, int], shade: int) -> np.ndarray:
    """A picture in the middle of a tile of (width, height) `size` in a shade of grey."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    small = cv2.resize(image, [max(1, round(x * scale)) for x in image.shape[1::-1]], interpolation=cv2.INTER_AREA)
    out = np.full((size[1], size[0], 3), shade, np.uint8)
    top, left = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
