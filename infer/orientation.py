"""Pictures and grids turned from how they are stored to upright, and back.

Files keep their own way of storing: a portrait clip lies on its side in the file. A network has to see it as a person
does, and what it answers is turned back to how the picture is stored.
"""

import numpy as np

LYING = (5, 6, 7, 8)
"""EXIF orientations of pictures that are stored on their side."""
_MIRRORED, _FLIPPED = (2, 3, 6, 7), (3, 4, 7, 8)
_DIRECTIONS = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""Orientations as display matrices: a, b, c, d of x' = a x + c y, y' = b x + d y (ISO 14496-12, section 6.2.2)."""


def upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """A view of a stored picture (H, W, ...), turned as EXIF's `orientation`, 1 to 8, says."""
    if orientation in LYING:
        picture = picture.swapaxes(0, 1)
    if orientation in _MIRRORED:
        picture = picture[:, ::-1]
    if orientation in _FLIPPED:
        picture = picture[::-1]
    return picture


def as_stored(picture: np.ndarray, orientation: int) -> np.ndarray:
    """A view of an upright picture (H, W, ...), turned back to how it is stored: undoes `upright`."""
    if orientation in _FLIPPED:
        picture = picture[::-1]
    if orientation in _MIRRORED:
        picture = picture[:, ::-1]
    if orientation in LYING:
        picture = picture.swapaxes(0, 1)
    return picture


def stored_grid(grid: np.ndarray, orientation: int) -> np.ndarray:
    """Coefficients (gd, gh, gw, 12) for an upright picture as those for the stored one, (gd, gw, gh, 12) if it lies.

    Exact: cells are centred at k + .5, so that turning a picture turns its grid.
    """
    if orientation == 1:
        return grid
    return np.ascontiguousarray(np.moveaxis(as_stored(np.moveaxis(grid, 0, 2), orientation), 2, 0))


def orientation_of(matrix: tuple[int, ...]) -> int:
    """The orientation nearest to a display matrix of nine integers (ISO 14496-12)."""
    a, b, _, c, d = matrix[:5]
    return max(_DIRECTIONS, key=lambda o: sum(x * y for x, y in zip(_DIRECTIONS[o], (a, b, c, d), strict=True)))
