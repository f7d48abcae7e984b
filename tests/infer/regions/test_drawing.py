"""The picture of regions: every one in its colour where it is, what belongs to none as it was, and a legend below."""

import numpy as np
import pytest

from hueglass.infer.regions.drawing import COLOURS, LEAST, LONGEST, colour_of, drawn_regions
from hueglass.infer.regions.masks import MASK_COLOURS
from hueglass.infer.regions.regions import REGION_NAMES, Regions, no_regions


def halves() -> Regions:
    """Sky above, a person below right."""
    maps = np.zeros((2, 32, 32), np.float32)
    maps[0, :16] = 1
    maps[1, 16:, 16:] = 1
    return Regions(maps, ("sky", "person"))


def test_each_region_has_its_colour_where_it_is_and_the_rest_stays() -> None:
    image = np.full((200, 300, 3), 100, np.uint8)
    drawn = drawn_regions(image, halves())
    assert drawn.shape[1] == 300
    assert drawn.shape[0] > 200
    assert (drawn[180, 50] == 100).all()
    for (y, x), name in (((20, 150), "sky"), ((180, 280), "person")):
        towards = drawn[y, x].astype(float) - 100
        wanted = np.array(COLOURS[name]) * (0.4 + 100 / 255) - 100
        assert np.corrcoef(towards, wanted)[0, 1] > 0.99
    assert (drawn[200:] == 255).all(-1).mean() > 0.5  # the legend is on white


def test_light_and_shade_stay_to_be_seen() -> None:
    image = np.full((200, 300, 3), 200, np.uint8)
    image[:, ::2] = 50
    drawn = drawn_regions(image, halves())
    assert drawn[20, 101].astype(int).sum() > drawn[20, 100].astype(int).sum() + 100


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (40, 60), (3000, 4000)])
def test_pictures_of_any_size_have_room_for_the_legend(size: tuple[int, int]) -> None:
    drawn = drawn_regions(np.zeros((*size, 3), np.uint8), halves())
    assert LEAST <= drawn.shape[1] <= LONGEST
    assert drawn.dtype == np.uint8


def test_nothing_found_is_said() -> None:
    image = np.full((100, 300, 3), 77, np.uint8)
    drawn = drawn_regions(image, no_regions(16))
    assert (drawn[:100] == 77).all()
    assert (drawn[100:] < 50).any()


def test_every_name_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(REGION_NAMES)
    names = [*REGION_NAMES, *MASK_COLOURS, *(str(n) for n in range(8))]
    colours = [colour_of(name, i) for i, name in enumerate(names)]
    assert len(set(colours)) == len(set(names)) - 1  # "other" and "grey" are both grey
