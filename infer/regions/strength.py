"""Strength: how much of the look is taken, everywhere and region by region.

0 leaves the picture as it is, 1 is the look in full, more exaggerates. It is a property of the grid's vertices: each
takes the mean strength of the pixels that it serves, so that an edge in brightness parts what is protected from the
rest within a cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.grid.bilateral import blend, guide_map, identity_grid
from hueglass.infer.resize import resized_square

from .regions import Regions

MOST = 2.0
_NEIGHBOURS = 0.01
"""What a vertex without pixels takes of its cell's other depths."""


@dataclass(frozen=True)
class Strength:
    """`everywhere` but in the regions named in `regions`, each from 0 to MOST. UsageError for anything else."""

    everywhere: float = 1.0
    regions: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("", self.everywhere), *self.regions.items()):
            if not 0 <= value <= MOST:
                where = f" of {name}" if name else ""
                raise UsageError(f"strength{where} {value}, expected 0 to {MOST:g}")

    def apply(self, coefficients: np.ndarray, thumbnail: np.ndarray, regions: Regions) -> np.ndarray:
        """Coefficients (gd, gh, gw, 12) with as much of the look as is wanted; the thumbnail (T, T, 3) uint8 and its
        regions say where."""
        identity = identity_grid(coefficients.shape)
        wanted = np.full(regions.maps.shape[1:], self.everywhere, np.float32)
        for name, where in zip(regions.names, regions.maps, strict=True):
            if name in self.regions:
                wanted += where * np.float32(self.regions[name] - self.everywhere)
        if wanted.min() == wanted.max() == self.everywhere:
            return coefficients if self.everywhere == 1 else blend(identity, coefficients, self.everywhere)
        strengths = at_vertices(wanted, thumbnail, coefficients.shape[:3])
        weighted: np.ndarray = identity + strengths[..., None] * (coefficients - identity)
        return weighted


def at_vertices(values: np.ndarray, thumbnail: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Means (gd, gh, gw) of values (M, M) over the pixels near each vertex, by the thumbnail's guide map."""
    depth, rows, columns = shape
    side = len(values)
    guide = guide_map(resized_square(thumbnail, side).astype(np.float32) / 255).ravel()
    place = np.clip(guide * depth - 0.5, 0, depth - 1)
    low = np.minimum(place.astype(np.intp), max(depth - 2, 0))
    far = place - low
    y, x = np.divmod(np.arange(side * side), side)
    cell = (y * rows // side) * columns + x * columns // side
    index = np.concatenate([low, np.minimum(low + 1, depth - 1)]) * rows * columns + np.tile(cell, 2)
    weight = np.concatenate([1 - far, far])
    totals = [
        np.bincount(index, weight * value, depth * rows * columns).reshape(depth, -1)
        for value in (np.tile(values.ravel(), 2), np.ones(2 * side * side))
    ]
    above, mass = (t + _NEIGHBOURS * t.sum(0) for t in totals)
    means: np.ndarray = (above / np.maximum(mass, 1e-9)).reshape(shape).astype(np.float32)
    return means
