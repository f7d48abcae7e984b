"""Steadiness counted by hand: views whose motion is known, and segmenters that are steady or look at the frame."""

import numpy as np
import pytest

pytest.importorskip("torch")

from hueglass.datasets.panoramas import Panorama
from hueglass.train.sampling import Crop
from hueglass.train.segmenter.steadiness import (
    agreement,
    lit_steadiness,
    pan,
    relit,
    shared_points,
    steadiness,
    turned_steadiness,
    view,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def by_colour(picture: np.ndarray) -> np.ndarray:
    """Two regions: what is bright, and the rest. It looks at nothing but the pixel."""
    bright = picture.mean(2) > 128
    return np.stack([bright, ~bright]).astype(np.float32)


def by_place(picture: np.ndarray) -> np.ndarray:
    """Calls the left half of whatever it is shown by another name."""
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    return np.stack([left, ~left]).astype(np.float32)


def test_a_pan_goes_from_corner_to_corner() -> None:
    crops = pan(3, 0.5)
    assert [(c.left, c.top, c.width) for c in crops] == [(0, 0, 0.5), (0.25, 0.25, 0.5), (0.5, 0.5, 0.5)]
    assert view(PICTURE, crops[2]).shape == (60, 80, 3)
    assert (view(PICTURE, crops[2]) == PICTURE[60:, 80:]).all()


def test_shared_points_are_the_same_place_of_the_picture() -> None:
    one, other = Crop(0, 0, 0.5, 0.5, False), Crop(0.1, 0.2, 0.5, 0.5, False)
    here, there = shared_points(one, other)
    assert len(here) > 1000
    np.testing.assert_allclose(here * 0.5, there * 0.5 + (0.1, 0.2), atol=1e-12)
    assert min(here.min(), there.min()) > 0
    assert max(here.max(), there.max()) < 1


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_views_that_share_little_do_not_count(place: float) -> None:
    here, there = shared_points(Crop(0, 0, 0.5, 0.5, False), Crop(place, place, 0.5, 0.5, False))
    assert len(here) == len(there) == 0
    assert np.isnan(agreement(by_place(PICTURE), by_place(PICTURE), here, there))


def test_agreement_counted_by_hand() -> None:
    """Moved to the side by a quarter of the view, the middle quarter changes sides."""
    here, there = shared_points(Crop(0, 0, 0.5, 0.5, False), Crop(0.125, 0, 0.5, 0.5, False))
    assert agreement(by_place(PICTURE), by_place(PICTURE), here, there) == pytest.approx(2 / 3, abs=0.02)


def test_who_looks_at_the_thing_is_steady_and_who_looks_at_the_frame_is_not() -> None:
    blocks = np.kron(PICTURE[::20, ::20].mean(2), np.ones((20, 20)))[..., None].repeat(3, 2).astype(np.uint8)
    crops = pan(5, 0.6)
    assert steadiness(by_colour, blocks, crops) > 0.98
    assert steadiness(by_place, blocks, crops) < 0.8
    assert steadiness(by_place, blocks, [crops[0], crops[0]]) == 1


def test_a_turning_head_sees_the_same_things_elsewhere() -> None:
    """In a world of blocks, who looks at the thing is steady all around; who looks at the frame is not."""
    blocks = np.kron(np.random.default_rng(1).random((8, 16)), np.ones((16, 16)))
    panorama = Panorama("blocks", np.repeat(blocks[..., None], 3, 2).astype(np.float32))
    assert turned_steadiness(by_colour, panorama) > 0.97
    assert turned_steadiness(by_place, panorama) < 0.8
    assert turned_steadiness(by_colour, panorama, stops=-20.0) == 1  # all is dark


def test_another_light_is_what_a_camera_would_make_of_it() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert (relit(grey, 0, 0, 0) == grey).all()
    assert relit(grey, 1, 0, 0)[0, 0].tolist() == [round(100 * 2 ** (1 / 2.2))] * 3
    red, green, blue = relit(grey, 0, 0.25, -0.25)[0, 0].tolist()
    assert red > green == 100 > blue
    assert (relit(np.full((4, 4, 3), 250, np.uint8), 1, 0, 0) == 255).all()


def test_who_looks_at_the_light_is_not_steady_in_it() -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    assert lit_steadiness(by_place, np.ascontiguousarray(ramp)) == 1
    assert 0.5 < lit_steadiness(by_colour, np.ascontiguousarray(ramp)) < 0.95
