"""Scores of a segmenter: counted as a hand would count them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo, street_photos
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.network import Segmenter, SegmenterConfig
from hueglass.train.segmenter.samples import thumbnails
from hueglass.train.segmenter.scores import (
    confusion,
    intersection_over_union,
    maps_of,
    name_pixels,
    scores,
    selection,
)

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))


def test_intersection_over_union_counted_by_hand() -> None:
    truth = np.array([[SKY, SKY, SKY, GROUND], [GROUND, GROUND, UNKNOWN, UNKNOWN]], np.uint8)
    named = np.array([[SKY, SKY, GROUND, GROUND], [GROUND, PERSON, SKY, PERSON]], np.uint8)
    counts = confusion(truth, named)
    assert counts.sum() == 6
    assert (counts[SKY, SKY], counts[SKY, GROUND], counts[GROUND, PERSON]) == (2, 1, 1)
    each = intersection_over_union(counts)
    assert each[SKY] == pytest.approx(2 / 3)
    assert each[GROUND] == pytest.approx(2 / 4)
    assert np.isnan(np.delete(each, [SKY, GROUND])).all()  # a person was named, but is not in the truth
    photo = Photo("p", np.zeros((2, 4, 3), np.uint8), truth)
    found = scores([photo, photo], [named, named], "photos")
    assert found == {
        "photos_miou": pytest.approx((2 / 3 + 1 / 2) / 2),
        "photos_sky": pytest.approx(2 / 3),
        "photos_ground": pytest.approx(1 / 2),
    }
    assert selection(found | {"films_miou": 0.1, "films_sky": 0.9, "steady": 0.8}) == pytest.approx((7 / 12 + 0.9) / 3)


def test_pixels_are_named_at_the_size_of_their_picture() -> None:
    streets = street_photos(3, 64)
    network = Segmenter(SegmenterConfig(thumbnail=64, seen=64)).eval()
    with torch.no_grad():
        network.name.bias[PERSON] = 20
    named = name_pixels(network, streets)
    assert [n.shape for n in named] == [p.image.shape[:2] for p in streets]
    assert all((n == PERSON).all() for n in named)


def test_maps_of_a_picture_are_those_of_its_thumbnail() -> None:
    network = Segmenter(SegmenterConfig(thumbnail=64, seen=64)).eval()
    image = street_photos(1, 80)[0].image
    with torch.no_grad():
        wanted = network(thumbnails([image], 64))[0].numpy()
    np.testing.assert_array_equal(maps_of(network, image), wanted)
