"""What the written pages share: templates that lie beside this file, pictures as JPEG."""

import re
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError


def filled(template: str, parts: dict[str, str]) -> str:
    """The text of a template with each <!--name--> replaced by its part, which is HTML already."""
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return re.sub("<!--([a-z]+)-->", lambda found: parts[found[1]], text)


def jpeg(image: np.ndarray, longest: int, quality: int = 88) -> bytes:
    """A picture (H, W, 3) uint8 RGB, reduced where its longer side is over `longest`, as a JPEG file."""
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        size = [max(1, round(x * scale)) for x in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise HueglassError(f"JPEG cannot hold a picture of {image.shape[1]}x{image.shape[0]} pixels")
    return data.tobytes()
