"""Photographs that are restyled on the command line, and what is asked of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from hueglass.infer.media.images import read_image


def halves(left: tuple[int, int, int], right: tuple[int, int, int], path: str) -> str:
    mask = np.empty((96, 160, 3), np.uint8)
    mask[:, :80], mask[:, 80:] = left, right
    Image.fromarray(mask).save(path)
    return path


def warmth(image: np.ndarray) -> float:
    """Red less blue, on average."""
    return float(image[..., 0].mean() - image[..., 2].mean())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def done(outcome: Any) -> str:
    """What a command printed that succeeded and said nothing on stderr."""
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out


def stylize(run: Callable, *options: object, source: str = "in.png") -> np.ndarray:
    assert done(run("photo", source, "out.png", *options)) == ""
    return read_image("out.png")
