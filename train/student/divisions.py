"""Divisions of pictures by chance: regions where nobody named any, the same in two pictures that look alike."""

import cv2
import numpy as np

MAP_SIZE = 96
"""Random regions are drawn at this size and enlarged."""


def random_rule(rng: np.random.Generator, count: int) -> np.ndarray:
    """Weights (count, 5) of a random division of pictures by place (x, y) and colour (r, g, b)."""
    return rng.normal(0, 1, (count, 5)) * (1, 1.6, 1.2, 1.2, 1.2)


def divide(image: np.ndarray, rule: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft maps (MAP_SIZE, MAP_SIZE, count) float32 by a rule: segments that follow place, colour and chance.

    The same rule divides two pictures alike: what is low and dark in one meets what is low and dark in the other.
    """
    small = cv2.resize(image, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2).astype(np.float32) / 255
    y, x = np.mgrid[0:MAP_SIZE, 0:MAP_SIZE].astype(np.float32) / MAP_SIZE - 0.5
    colour = (small - small.mean((0, 1))) / (small.std((0, 1)) + 0.1)
    features = np.concatenate([3.5 * np.stack([x, y], -1), colour], -1)
    noise = cv2.resize(
        rng.normal(0, 0.8, (6, 6, len(rule))).astype(np.float32),
        (MAP_SIZE, MAP_SIZE),
        interpolation=cv2.INTER_CUBIC,
    )
    scores = 12 * (features @ rule.T.astype(np.float32) + noise.reshape(MAP_SIZE, MAP_SIZE, -1))
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)
