"""How far the segmenter is believed: pairs that share regions, distances region to region, ways to give regions."""

from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("torch")

from hueglass.datasets.photos import Photo, street_photos
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.doubt import CHOICES, LabelledPair, measured, pairs, shown, truth

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))


def photo(name: str, *regions: int, colours: tuple[int, ...] = (40, 90, 160)) -> Photo:
    """Stripes of regions from top to bottom, each of one grey."""
    labels = np.repeat(np.array(regions, np.uint8), 20)[:, None].repeat(60, 1)
    grey = np.repeat(np.array(colours[: len(regions)], np.uint8), 20)[:, None, None]
    return Photo(name, np.ascontiguousarray(np.broadcast_to(grey, (*labels.shape, 3))), labels)


def test_pairs_share_two_regions_and_none_comes_twice() -> None:
    photos = [
        photo("a", SKY, GROUND),
        photo("b", GROUND, SKY),
        photo("c", SKY, PERSON),
        photo("d", SKY, GROUND, PERSON),
    ]
    found = pairs(photos, 100)
    names = {(pair.content.name, pair.style.name) for pair in found}
    assert len(found) == len(names) == 8
    assert not names & {("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}
    assert [p.content.name for p in pairs(photos, 3)] == [p.content.name for p in found[:3]]


def test_the_distance_is_from_region_to_region() -> None:
    """The style with its stripes exchanged: nothing is left of what two histograms of the whole would share."""
    pair = LabelledPair(photo("a", SKY, GROUND, colours=(200, 50)), photo("b", GROUND, SKY, colours=(50, 200)))
    assert pair.shared == [SKY, GROUND]
    assert pair.distance(pair.content.image) == pytest.approx(0, abs=1e-6)
    assert pair.distance(255 - pair.content.image) > 10


def test_what_people_drew_is_given_as_regions() -> None:
    regions = truth(photo("a", SKY, GROUND), 40)
    assert regions.names == ("sky", "ground")
    np.testing.assert_array_equal(regions.maps[0, :20], 1)
    np.testing.assert_array_equal(regions.maps[1, :20], 0)


def test_every_way_is_measured(bundle: ModelBundle) -> None:
    streets = street_photos(2, 64)
    chosen = [LabelledPair(*streets)]
    found = dict(measured(bundle, chosen))
    assert len(found) == 2 + len(CHOICES)
    assert sum("as it is" in name for name in found) == 1
    assert all(np.isfinite(distance) for distance in found.values())
    assert found["no regions"] == pytest.approx(chosen[0].distance(shown(bundle, chosen[0], (None, None))))
    assert any(abs(a - b) > 1e-6 for a, b in combinations(found.values(), 2))
