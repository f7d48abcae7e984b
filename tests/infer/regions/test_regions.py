"""Regions that a segmenter found: which count, and where it is sure enough."""

import numpy as np

from hueglass.infer.regions.regions import Regions, confident, no_regions, present


def test_found_regions_that_hardly_show_are_slips() -> None:
    maps = np.zeros((3, 20, 20), np.float32)
    maps[0, :10], maps[1, 10:], maps[2, 0, :4] = 1, 1, 1
    found = present(Regions(maps, ("sky", "ground", "person")))
    assert found.names == ("sky", "ground")
    np.testing.assert_array_equal(found.maps, maps[:2])
    assert present(no_regions(16)).names == ()


def test_what_a_segmenter_is_unsure_of_is_left_to_nobody() -> None:
    """Sure, nearly even, and lost pixels, by hand."""
    maps = np.array([[0.9, 0.4, 0.18], [0.1, 0.3, 0.17]], np.float32)[:, None]
    found = confident(Regions(maps, ("sky", "ground")))
    np.testing.assert_allclose(found.maps[:, 0, 0], [0.81 / 0.82, 0.01 / 0.82], atol=1e-4)
    even = np.array([0.16, 0.09]) / 0.25
    np.testing.assert_allclose(found.maps[:, 0, 1], 0.5 * even, atol=1e-4)
    np.testing.assert_array_equal(found.maps[:, 0, 2], 0)
    assert confident(no_regions(16)).maps.shape == (0, 16, 16)
