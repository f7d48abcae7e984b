"""Generated streets that several tests look at: each is drawn once in a run, which takes seconds."""

from functools import lru_cache

import numpy as np

from hueglass.datasets.street.film import Street, make_street, render_street


def picture_of_street(seed: int, time: float, width: int, height: int) -> np.ndarray:
    """The picture (height, width, 3) uint8 sRGB of `render_street`."""
    return _drawn(seed, time, width, height)[0].copy()


def labels_of_street(seed: int, time: float, width: int, height: int) -> np.ndarray:
    """What is where in it (height, width) uint8, into LABELS."""
    return _drawn(seed, time, width, height)[1].copy()


@lru_cache(maxsize=100)
def _drawn(seed: int, time: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return render_street(_street(seed), time, width, height)


@lru_cache(maxsize=2)  # one is 165 MB
def _street(seed: int) -> Street:
    return make_street(seed)
