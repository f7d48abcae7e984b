"""Upright thumbnails of pictures stored any way, and grids turned back to how they are stored."""

import cv2
import numpy as np
import pytest

from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import bilateral
from hueglass.infer.orientation import as_stored, orientation_of, stored_grid, upright
from hueglass.infer.resize import resized_square
from hueglass.infer.thumbnail import thumbnail
from hueglass.infer.ycbcr import from_rgb, to_rgb

ORIENTATIONS = range(1, 9)


def picture(height: int = 60, width: int = 100) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_upright_is_what_exif_says(orientation: int) -> None:
    """Where the stored picture's first row and first column are to a person (EXIF 2.32, tag 274)."""
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    first_row, first_column = np.zeros((4, 6), int), np.zeros((4, 6), int)
    first_row[0], first_column[:, 0] = 1, 1
    sides = {"top": np.s_[0], "bottom": np.s_[-1], "left": np.s_[:, 0], "right": np.s_[:, -1]}
    for stored, side in ((first_row, rows), (first_column, columns)):
        seen = upright(stored, orientation)
        assert seen[sides[side]].all()
        assert seen.sum() == seen[sides[side]].size


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_as_stored_undoes_upright(orientation: int) -> None:
    np.testing.assert_array_equal(as_stored(upright(picture(), orientation), orientation), picture())


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_grid_does_to_the_stored_picture_what_the_grid_does_to_the_upright_one(orientation: int) -> None:
    grid = bilateral.identity_grid((8, 6, 4, 12)) + np.random.default_rng(1).normal(0, 0.2, (8, 6, 4, 12))
    grid = grid.astype(np.float32)
    stored = picture()
    seen = np.ascontiguousarray(upright(stored, orientation))
    expected = as_stored(bilateral.render(grid, seen), orientation)
    found = bilateral.render(stored_grid(grid, orientation), stored)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.001


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_thumbnail_is_upright(orientation: int) -> None:
    smooth = cv2.GaussianBlur(picture(120, 200), (0, 0), 6)
    seen = np.ascontiguousarray(upright(smooth, orientation))
    found = thumbnail(smooth, 32, orientation)
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - resized_square(seen, 32)).max() <= 2
    planar: YuvImage = from_rgb(smooth.astype(np.float32) / 255)
    wanted = resized_square(np.ascontiguousarray(upright(255 * to_rgb(planar), orientation)), 32)
    assert np.abs(thumbnail(planar, 32, orientation) - wanted).max() < 4


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), 1),
        ((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30), 6),  # a phone held upright: a quarter turn clockwise
        ((-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30), 3),
        ((0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30), 8),
        ((-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), 2),  # a front camera, mirrored
        ((0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30), 5),
        ((64000, 9000, 0, -9000, 64000, 0, 0, 0, 1 << 30), 1),  # a little askew
    ],
)
def test_display_matrices_are_orientations(matrix: tuple[int, ...], orientation: int) -> None:
    assert orientation_of(matrix) == orientation
