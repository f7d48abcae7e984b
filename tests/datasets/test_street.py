"""The generated street: repeatable, labelled truthfully, and moving as a film does."""

from itertools import pairwise

import numpy as np
import pytest

from hueglass.datasets.street.film import LABELS, Street, make_street, render_street, street_clip
from hueglass.infer.errors import UsageError

SIZE = (320, 180)


@pytest.fixture(scope="module")
def street() -> Street:
    return make_street(0)


def _share(labels: np.ndarray, name: str) -> float:
    return float((labels == LABELS.index(name)).mean())


def test_the_same_seed_and_time_give_the_same_picture(street: Street) -> None:
    image, labels = render_street(street, 1.5, *SIZE)
    again, labels_again = render_street(make_street(0), 1.5, *SIZE)
    assert image.shape == (180, 320, 3)
    assert image.dtype == np.uint8
    assert labels.shape == (180, 320)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)


def test_another_seed_is_another_street(street: Street) -> None:
    image, _ = render_street(street, 0, *SIZE)
    other, _ = render_street(make_street(1), 0, *SIZE)
    assert np.abs(image.astype(int) - other).mean() > 10


def test_every_label_appears(street: Street) -> None:
    seen = np.unique([render_street(street, time, *SIZE)[1] for time in (0.0, 2.0, 4.0)])
    assert [LABELS[index] for index in seen] == list(LABELS)


@pytest.mark.parametrize("time", [0.0, 3.0, 30.0])
def test_sky_is_above_ground(street: Street, time: float) -> None:
    image, labels = render_street(street, time, *SIZE)
    rows = np.arange(180)[:, None]
    sky, ground = labels == LABELS.index("sky"), labels == LABELS.index("ground")
    assert (rows * sky).sum() / sky.sum() < (rows * ground).sum() / ground.sum() - 45
    assert 0.08 < _share(labels, "sky") < 0.5
    assert 0.15 < _share(labels, "ground") < 0.5
    assert image[sky].mean() > image[ground].mean() + 20
    assert image[sky][:, 2].mean() > image[sky][:, 0].mean()


def test_labels_follow_the_picture(street: Street) -> None:
    """Foliage is greener than the rest: a label map drawn a few pixels off would not know."""
    image, labels = render_street(street, 3.0, *SIZE)
    green = image[..., 1].astype(int) - image[..., 2]
    assert green[labels == LABELS.index("vegetation")].mean() > green[labels == LABELS.index("building")].mean() + 10


def test_consecutive_frames_move_a_little(street: Street) -> None:
    frames = [render_street(street, 2 + index / 25, *SIZE)[0].astype(int) for index in range(8)]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(frames)])
    assert (steps > 0.5).all()
    assert (steps < 9).all()
    assert np.ptp(steps) < 0.35 * steps.mean()


def test_nothing_appears_suddenly(street: Street) -> None:
    """Across many recyclings of houses, trees and cars, no block of the picture jumps from one frame to the next."""
    for time in np.arange(0, 60, 4.0):
        before, after = (render_street(street, time + dt, *SIZE)[0][:96].astype(np.float32) for dt in (0, 0.02))
        horizon = np.abs(after - before)[70:, 140:180].reshape(13, 2, 20, 2, 3).mean(axis=(1, 3, 4))
        assert horizon.max() < 30


def test_the_light_changes(street: Street) -> None:
    frames = [render_street(street, time, *SIZE)[0] for time in range(7)]
    road = [frame[130:, 60:160].mean() for frame in frames]
    assert np.ptp(road) > 15


@pytest.mark.parametrize("size", [(161, 91), (16, 16), (90, 160)])
def test_odd_sizes(street: Street, size: tuple[int, int]) -> None:
    image, labels = render_street(street, 0.3, *size)
    assert image.shape == (size[1], size[0], 3)
    assert labels.max() < len(LABELS)


def test_too_small_is_refused(street: Street) -> None:
    with pytest.raises(UsageError, match="at least 16x16"):
        render_street(street, 0, 8, 100)


def test_a_small_frame_is_the_large_one_made_small(street: Street) -> None:
    large = render_street(street, 1.0, 640, 360)[0].astype(np.float32)
    small = render_street(street, 1.0, 320, 180)[0]
    halved = large.reshape(180, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 5


def test_a_clip_has_its_frames_and_times() -> None:
    frames = list(street_clip(seconds=0.5, rate=10, width=64, height=36, seed=2))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert frames[0].image.shape == (36, 64, 3)
    expected, _ = render_street(make_street(2), 0.3, 64, 36)
    np.testing.assert_array_equal(frames[3].image, expected)
