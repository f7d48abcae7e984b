"""The embedded segmenter on pictures that nobody would call photographs, and on one that anybody would."""

import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import REGION_NAMES, confident
from hueglass.infer.regions.segmenter import Segmenter

RNG = np.random.default_rng(0)
STREET = picture_of_street(0, 0.0, 320, 180)
PICTURES = {
    "grey": np.full((180, 320, 3), 128, np.uint8),
    "black": np.zeros((180, 320, 3), np.uint8),
    "white": np.full((180, 320, 3), 255, np.uint8),
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "a line": RNG.integers(0, 256, (1, 900, 3), np.uint8),
    "noise": RNG.integers(0, 256, (90, 90, 3), np.uint8),
    "panoramic": np.tile(STREET, (1, 12, 1)),
    "upside down": STREET[::-1].copy(),
}


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return ModelBundle()


def own(bundle: ModelBundle) -> Segmenter:
    assert bundle.segmenter is not None
    return bundle.segmenter


@pytest.mark.parametrize("kind", PICTURES)
def test_maps_are_maps_whatever_the_picture(bundle: ModelBundle, kind: str) -> None:
    found = own(bundle)(bundle.thumbnail(PICTURES[kind]))
    assert found.names == REGION_NAMES
    for regions in (found, confident(found)):
        assert regions.maps.shape == (len(REGION_NAMES), 128, 128)
        assert np.isfinite(regions.maps).all()
        assert regions.maps.min() >= 0
        assert regions.maps.sum(0).max() <= 1 + 1e-5


def test_a_street_has_its_sky_above_and_its_ground_below(bundle: ModelBundle) -> None:
    maps = own(bundle)(bundle.thumbnail(STREET)).maps
    sky, ground = (maps[REGION_NAMES.index(name)] for name in ("sky", "ground"))
    assert sky[:20, 56:72].mean() > 0.5
    assert ground[-20:].mean() > 0.5
    assert sky[-20:].max() < 0.5
