"""Regions of a content and a style, matched by name."""

import numpy as np
import pytest

from hueglass.infer.regions.masks import MASK_COLOURS, Mask
from hueglass.train.teacher.regions import match_regions, resized, whole_pair

NAMES = tuple(MASK_COLOURS)


def mask(rows: list[tuple[int, int]], width: int = 40) -> Mask:
    """Stripes: (label, height) from top to bottom."""
    return Mask(np.concatenate([np.full((h, width), label, np.uint8) for label, h in rows]), NAMES)


def test_regions_are_matched_by_name_largest_first() -> None:
    pair = match_regions(mask([(0, 10), (1, 30)]), mask([(1, 20), (0, 20)]))
    assert pair.names == ("green", "blue")
    assert pair.unmatched == ()
    assert pair.maps[0, 10:].all()
    assert not pair.maps[0, :10].any()
    assert pair.style_maps[0, :20].all()
    assert not pair.style_maps[0, 20:].any()


def test_a_region_without_a_counterpart_takes_the_whole_style_and_is_named() -> None:
    pair = match_regions(mask([(0, 10), (4, 30)]), mask([(0, 40)]))
    assert pair.unmatched == ("red",)
    assert pair.style_maps[pair.names.index("red")].all()


def test_a_counterpart_of_quite_another_size_is_none() -> None:
    tiny = mask([(1, 399), (0, 1)])
    pair = match_regions(mask([(0, 30), (1, 10)]), tiny)
    assert pair.unmatched == ("blue",)


@pytest.mark.parametrize("pixels", [1, 10])
def test_a_slip_of_the_brush_joins_the_largest(pixels: int) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[0, :pixels] = 3
    pair = match_regions(Mask(labels, NAMES), mask([(0, 20)]))
    assert pair.names == ("blue",)
    assert pair.maps[0].all()


def test_every_pixel_lies_in_exactly_one_region_at_any_size() -> None:
    pair = match_regions(mask([(0, 11), (1, 17), (2, 9)]), mask([(1, 20), (0, 20), (2, 1)]))
    for size in ((37, 40), (12, 9), (3, 3), (111, 77)):
        small = resized(pair, size, (5, 7))
        assert small.maps.shape == (3, *size)
        assert (small.maps.sum(0) == 1).all()
        assert small.style_maps.any((1, 2)).all()


def test_without_masks_there_is_one_region() -> None:
    pair = whole_pair((4, 5), (6, 7))
    assert pair.names == ("whole",)
    assert pair.maps.all()
    assert pair.style_maps.all()
