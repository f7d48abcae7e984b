"""Pictures at another size."""

import cv2
import numpy as np


def reduced_size(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(height, width) of a picture whose shape begins with `size`, its longer side reduced to at most `longest`."""
    height, width = size[:2]
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized_square(image: np.ndarray, size: int) -> np.ndarray:
    """`image`, (H, W) or (H, W, 1 to 4), at `size` x `size`: averaged when it shrinks, bilinear when it grows.

    The one way to thumbnails and their region maps: the network is to see frames as it saw its training data. What is
    averaged is always two pixels by two, after a bilinear step to where that fits: on average within a level of the
    mean over the exact area, and up to five times faster.
    """
    if min(image.shape[:2]) <= size:
        grown: np.ndarray = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        return grown
    while min(image.shape[:2]) >= 4 * size:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    twice = cv2.resize(image, (2 * size, 2 * size), interpolation=cv2.INTER_LINEAR)
    averaged: np.ndarray = cv2.resize(twice, (size, size), interpolation=cv2.INTER_AREA)
    return averaged


def fitted(image: np.ndarray, side: int, least: int = 1) -> np.ndarray:
    """`image` (H, W, ...) with its longer side at most `side` pixels, averaged; no side becomes less than `least`."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(least, round(width * scale)), max(least, round(height * scale)))
    averaged: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return averaged


def covering(image: np.ndarray, side: int) -> np.ndarray:
    """`image` (H, W, ...) with its shorter side at most `side` pixels, averaged: it still covers such a square."""
    height, width = image.shape[:2]
    scale = min(1.0, side / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    averaged: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return averaged
