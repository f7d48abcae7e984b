"""Pairs with a known answer, and metrics whose values a hand can count."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

from support.streets import picture_of_street

from hueglass.datasets.photos import Photo
from hueglass.train.grades import GradeConfig
from hueglass.train.known import METRICS, histogram_correlation, known_pairs, lipschitz, measure, psnr

PHOTO = Photo("street", picture_of_street(3, 1.0, 160, 120))


def test_a_pair_is_one_photograph_under_two_grades_that_its_name_draws() -> None:
    (pair,) = known_pairs([PHOTO], GradeConfig())
    assert pair.content.shape == pair.style.shape == PHOTO.image.shape
    assert np.abs(pair.content.astype(int) - pair.style).mean() > 5
    (again,) = known_pairs([PHOTO], GradeConfig())
    np.testing.assert_array_equal(pair.style, again.style)
    (other,) = known_pairs([Photo("avenue", PHOTO.image)], GradeConfig())
    assert np.abs(pair.style.astype(int) - other.style).mean() > 5


def test_the_answer_itself_scores_best() -> None:
    (pair,) = known_pairs([PHOTO], GradeConfig())
    found = measure(pair, pair.style)
    assert tuple(found) == METRICS
    assert (found["psnr"], found["ssim"], found["histogram"]) == (99, pytest.approx(1), pytest.approx(1))
    untouched = measure(pair, pair.content)
    assert untouched["psnr"] < 40
    assert untouched["histogram"] < 0.99
    assert untouched["lipschitz"] == pytest.approx(1)


def test_psnr_counted_by_hand() -> None:
    assert psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)) == pytest.approx(20)


def test_histograms_that_share_nothing_are_not_alike() -> None:
    dark, light = (np.full((8, 8, 3), level, np.uint8) for level in (10, 200))
    assert histogram_correlation(dark, dark) == pytest.approx(1)
    assert histogram_correlation(dark, light) == pytest.approx(-1 / 63)


def test_lipschitz_is_the_steepest_slope() -> None:
    """A ramp, its lower half three times as steep and its upper half flat."""
    ramp = np.repeat(np.arange(0, 240, dtype=np.uint8)[None, :, None], 3, 2).repeat(4, 0)
    steep = np.minimum(3 * ramp.astype(int), 255).astype(np.uint8)
    assert lipschitz(ramp, steep) == pytest.approx(3, rel=1e-5)
    assert lipschitz(ramp, np.zeros_like(ramp)) == 0
    assert lipschitz(np.zeros_like(ramp), ramp) == 0  # no two colours to drive apart
