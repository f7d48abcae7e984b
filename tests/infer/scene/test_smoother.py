"""The smoother: a time constant in seconds whatever the frame rate, and none at all where it would do harm."""

import numpy as np
import pytest

from hueglass.infer.errors import UsageError
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.scene.smoother import FAR, Smoother

SHAPE = (2, 3, 3, 12)
NEAR = FAR / 1000
"""So little that what is far hardly counts."""


def level(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 5])
@pytest.mark.parametrize("steps", [1, 3, 30, 1000])
def test_step_response_does_not_depend_on_the_frame_rate(seconds: float, steps: int) -> None:
    smoother = Smoother(seconds)
    smoother.update(level(0), 7.0)
    for i in range(1, steps + 1):
        out = smoother.update(level(NEAR), 7.0 + seconds * i / steps)
    np.testing.assert_allclose(out, NEAR * (1 - np.exp(-1)), rtol=1e-4)
    assert smoother.time == pytest.approx(7.0 + seconds)


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_a_large_step_neither(steps: int) -> None:
    """Against the differential equation, in small steps of its own."""
    smoother, distance = Smoother(0.35), 4 * FAR
    smoother.update(level(0), 0.0)
    for i in range(1, steps + 1):
        out = smoother.update(level(4 * FAR), 0.2 * i / steps)
    for _ in range(20000):
        distance -= 1e-5 * distance * (1 + (distance / FAR) ** 2) / 0.35
    np.testing.assert_allclose(4 * FAR - out, distance, rtol=1e-3)


def test_a_change_of_light_is_followed_faster_than_noise() -> None:
    left = []
    for step in (NEAR, FAR, 3 * FAR):
        smoother = Smoother(0.35)
        smoother.update(level(0), 0.0)
        left.append(1 - float(smoother.update(level(step), 0.1).mean()) / step)
    assert left[0] - 0.1 > left[1] > left[2] + 0.2


def test_uneven_frame_times() -> None:
    smoother = Smoother(0.3)
    smoother.update(level(0), 0)
    for time in (0.01, 0.02, 0.2, 0.2, 0.29, 0.9):
        out = smoother.update(level(NEAR), time)
    np.testing.assert_allclose(out, NEAR * (1 - np.exp(-3)), rtol=1e-4)


def test_a_constant_stays_and_the_first_frame_is_itself() -> None:
    smoother = Smoother(0.3)
    grid = identity_grid(SHAPE)
    for i in range(10):
        out = smoother.update(grid, i / 25)
        np.testing.assert_allclose(out, grid, atol=1e-6)
    assert out.dtype == np.float32


def test_nothing_changes_within_no_time() -> None:
    smoother = Smoother(0.3)
    smoother.update(level(0), 1.0)
    np.testing.assert_array_equal(smoother.update(level(1), 1.0), level(0))


def test_zero_switches_it_off() -> None:
    smoother = Smoother(0)
    for i, value in enumerate((0, 1, -3, 2)):
        np.testing.assert_array_equal(smoother.update(level(value), 1.0 + i / 25), level(value))
    np.testing.assert_array_equal(smoother.update(level(5), 1.0 + 3 / 25), level(5))  # the same time again


def test_starts_afresh_at_a_cut() -> None:
    smoother = Smoother(10)
    smoother.update(level(0), 0.0)
    np.testing.assert_array_equal(smoother.update(level(1), 0.04, fresh=True), level(1))
    after = smoother.update(level(1 + NEAR), 0.08)
    np.testing.assert_allclose(after - 1, NEAR * (1 - np.exp(-0.004)), atol=1e-6)


def test_starts_afresh_when_time_goes_back() -> None:
    smoother = Smoother(10)
    smoother.update(level(0), 5.0)
    np.testing.assert_array_equal(smoother.update(level(1), 4.9), level(1))
    np.testing.assert_allclose(smoother.update(level(1 + NEAR), 5.9) - 1, NEAR * (1 - np.exp(-0.1)), atol=1e-6)


def test_reset() -> None:
    smoother = Smoother(10)
    smoother.update(level(0), 0.0)
    smoother.reset()
    np.testing.assert_array_equal(smoother.update(level(1), 0.04), level(1))


def test_inputs_are_left_alone() -> None:
    first, second = level(0), level(1)
    smoother = Smoother(0.3)
    smoother.update(first, 0.0)
    smoother.update(second, 0.1)
    assert (first.max(), second.min()) == (0, 1)


@pytest.mark.parametrize("seconds", [-0.1, 60, float("nan"), float("inf")])
def test_bad_values(seconds: float) -> None:
    with pytest.raises(UsageError, match=f"smoothing over {seconds} s, expected 0 to 60"):
        Smoother(seconds)
