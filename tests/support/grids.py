"""Grids and pictures for renderers, and what it means that two agree."""

import functools
from collections.abc import Callable

import numpy as np

from hueglass.infer.grid import bilateral

LEVELS = 1
"""The most by which any value may differ."""


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey_ramp() -> np.ndarray:
    """All 256 greys along every row: each depth, and each border between two depths."""
    return np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (64, 256, 3)))


def colour_ramps() -> np.ndarray:
    """Red grows along x, green along y, blue against both."""
    y, x = np.mgrid[0:128, 0:256]
    return np.stack([x, 2 * y, 255 - (x + 2 * y) // 2], axis=-1).astype(np.uint8)


def random_grid(shape: tuple[int, int, int] = (8, 16, 16), spread: float = 0.3) -> np.ndarray:
    """Identity plus noise. A spread of 3 is wild: steep everywhere, and most results clip."""
    identity = bilateral.identity_grid((*shape, 12))
    rng = np.random.default_rng(sum(shape))
    return (identity + spread * rng.standard_normal(identity.shape)).astype(np.float32)


CASES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "grey ramp": lambda: (random_grid(), grey_ramp()),
    "colour ramps": lambda: (random_grid(), colour_ramps()),
    "colour ramps, identity": lambda: (bilateral.identity_grid(), colour_ramps()),
    "noise, wild grid": lambda: (random_grid(spread=3), noise(90, 160)),
    "black": lambda: (random_grid(), np.zeros((20, 30, 3), np.uint8)),
    "white": lambda: (random_grid(), np.full((20, 30, 3), 255, np.uint8)),
    "1x1": lambda: (random_grid(), noise(1, 1)),
    "1x2": lambda: (random_grid(), noise(1, 2)),
    "1x97": lambda: (random_grid(), noise(1, 97)),
    "97x1": lambda: (random_grid(), noise(97, 1)),
    "7x5": lambda: (random_grid(), noise(7, 5)),
    "smaller than the grid": lambda: (random_grid((8, 40, 40)), noise(9, 11)),
    "641x359": lambda: (random_grid(), noise(359, 641)),
    # 48 = 16 cells of 3 pixels: pixel centres fall on cell centres; 32: midway; 17: anywhere.
    "pixels on cell centres": lambda: (random_grid(), noise(48, 48)),
    "pixels beside cell centres": lambda: (random_grid(), noise(32, 32)),
    "a pixel more than cells": lambda: (random_grid(), noise(17, 17)),
    "single cell": lambda: (random_grid((1, 1, 1)), noise(33, 50)),
    "depth only": lambda: (random_grid((8, 1, 1)), noise(33, 50)),
    "one depth": lambda: (random_grid((1, 4, 5)), noise(33, 50)),
    "two of each": lambda: (random_grid((2, 2, 2)), noise(33, 50)),
    "uneven": lambda: (random_grid((5, 3, 7)), noise(33, 50)),
    "nine depths": lambda: (random_grid((9, 4, 4)), noise(33, 50)),
    "ten depths": lambda: (random_grid((10, 4, 4)), noise(33, 50)),
    "largest": lambda: (random_grid((64, 64, 64), spread=0.1), noise(40, 70)),
}


@functools.cache
def expected(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid, image = CASES[case]()
    return grid, image, bilateral.render(grid, image)


def assert_agree(result: np.ndarray, reference: np.ndarray, share: float) -> None:
    assert result.dtype == np.uint8
    assert result.shape == reference.shape
    difference = np.abs(result.astype(int) - reference)
    assert difference.max() <= LEVELS
    assert np.count_nonzero(difference) <= max(1, share * difference.size)
