"""Generated streets that several tests look at: each is drawn once in a run, which takes seconds."""

from copy import deepcopy
from functools import cache, lru_cache

import numpy as np
import pytest

from hueglass import previews
from hueglass.datasets import photos
from hueglass.datasets.street.film import Street, make_street, render_street


def picture_of_street(seed: int, time: float, width: int, height: int) -> np.ndarray:
    """The picture (height, width, 3) uint8 sRGB of `render_street`."""
    return _drawn(seed, time, width, height)[0].copy()


def labels_of_street(seed: int, time: float, width: int, height: int) -> np.ndarray:
    """What is where in it (height, width) uint8, into LABELS."""
    return _drawn(seed, time, width, height)[1].copy()


def remember_streets(patch: pytest.MonkeyPatch) -> None:
    """Those too that the code under test draws: as photographs to learn from and to compare graphs on, as previews."""
    drawn = cache(photos._street_photo)
    patch.setattr(photos, "_street_photo", lambda seed, side: deepcopy(drawn(seed, side)))
    patch.setattr(previews, "make_street", _street)


@lru_cache(maxsize=100)
def _drawn(seed: int, time: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return render_street(_street(seed), time, width, height)


@lru_cache(maxsize=2)  # one is 165 MB
def _street(seed: int) -> Street:
    return make_street(seed)
