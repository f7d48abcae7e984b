"""The light of a scene that moves: gains that are known, sums that can be worked out."""

import cv2
import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.infer.scene.light import LightFollower, relit

STREET = picture_of_street(0, 0.0, 480, 270)
WARM = np.array([1.15, 1.0, 0.8])


def window(image: np.ndarray, place: float, gain: np.ndarray | float = 1.0) -> np.ndarray:
    """A thumbnail (256, 256, 3) of what a camera sees at a place in [0, 1] on its way across a picture."""
    left, top = round(place * 160), round(place * 60)
    seen = image[top : top + 210, left : left + 320]
    small = cv2.resize(seen, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float64)
    return np.clip(small * gain + 0.5, 0, 255).astype(np.uint8)


def followed(thumbnails: list[np.ndarray]) -> np.ndarray:
    follower = LightFollower()
    return np.array([follower.update(thumbnail) for thumbnail in thumbnails])


def test_a_camera_that_looks_around_is_no_light() -> None:
    gains = followed([window(STREET, i / 40) for i in range(41)])
    assert np.abs(np.log(gains)).max() < 0.03


def test_exposure_and_balance_are_followed_while_the_camera_moves() -> None:
    known = [WARM ** (i / 40) * 0.75 ** min(i / 20, 1) for i in range(41)]
    gains = followed([window(STREET, i / 40, gain) for i, gain in enumerate(known)])
    assert np.abs(np.log(gains / known)).max() < 0.03


def test_a_lamp_is_followed_at_once() -> None:
    gains = followed([window(STREET, 0.3, 1.0 if i < 3 else 0.6 * WARM) for i in range(5)])
    np.testing.assert_allclose(gains[:3], 1, rtol=1e-3)
    np.testing.assert_allclose(gains[3:], [0.6 * WARM] * 2, rtol=0.02)


def test_somebody_who_comes_into_the_picture_is_no_light() -> None:
    def joined(share: float) -> np.ndarray:
        thumbnail = window(STREET, 0.3)
        thumbnail[60:, : round(256 * share)] = (30, 60, 20)
        return thumbnail

    gains = followed([joined(share) for share in np.linspace(0, 0.35, 12)])
    assert np.abs(np.log(gains)).max() < 0.02


@pytest.mark.parametrize("level", [0, 127, 255])
def test_pictures_of_one_colour_have_a_light_all_the_same(level: int) -> None:
    gains = followed([np.full((256, 256, 3), level, np.uint8)] * 3)
    np.testing.assert_allclose(gains, 1, atol=1e-6)


def test_a_picture_that_has_nothing_of_the_one_before_leaves_the_light_as_it_was() -> None:
    rng = np.random.default_rng(0)
    gains = followed([window(STREET, 0.3), rng.integers(0, 256, (256, 256, 3), np.uint8), window(STREET, 0.3)])
    np.testing.assert_allclose(gains, 1, atol=1e-6)


def test_the_motion_is_that_of_the_picture() -> None:
    """A step of five pixels of 256 to the right: things move to the left by 10/256 of the way from -1 to 1."""
    image = cv2.resize(STREET, (400, 256), interpolation=cv2.INTER_AREA)
    follower = LightFollower()
    for left in (40, 45):
        follower.update(np.ascontiguousarray(image[:, left : left + 256]))
    assert follower.moved is not None
    np.testing.assert_allclose(follower.moved, [[1, 0, -10 / 256], [0, 1, 0], [0, 0, 1]], atol=8e-3)


def test_sums_in_another_light_are_those_of_the_relit_picture() -> None:
    torch = pytest.importorskip("torch")
    from hueglass.train.student.sums import region_sums

    rng = np.random.default_rng(0)
    image, features, maps = (torch.from_numpy(rng.random((1, n, 16, 16))) for n in (3, 5, 2))
    image = 0.7 * image
    before = region_sums(image, features, maps)[0].numpy()
    after = region_sums(image * torch.from_numpy(WARM).view(1, 3, 1, 1), features, maps)[0].numpy()
    found = relit(before, WARM)
    np.testing.assert_allclose(found[:, :10], after[:, :10], atol=1e-12)
    np.testing.assert_allclose(found[:, 42:], before[:, 42:])
    bins, wanted = (x[:, 10:42].reshape(2, 8, 4) for x in (found, after))
    np.testing.assert_allclose(bins[..., 0].sum(1), wanted[..., 0].sum(1), rtol=1e-9)
    np.testing.assert_allclose(bins, wanted, atol=0.02)


def test_no_other_light_changes_nothing() -> None:
    rows = np.random.default_rng(0).random((3, 50))
    np.testing.assert_allclose(relit(rows, np.ones(3)), rows, atol=1e-12)
