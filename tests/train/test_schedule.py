"""How far a training is, and the learning rate there."""

import numpy as np
import pytest

from hueglass.train.schedule import learning_rate, progress


def test_progress_is_by_steps_or_minutes_whichever_is_further() -> None:
    assert progress(25, 100, 30.0, None) == 0.25
    assert progress(25, 100, 30.0, 1) == 0.5
    assert progress(25, 40, 30.0, 1) == 0.625
    assert progress(25, 20, 30.0, None) == 1
    assert progress(25, 100, 30.0, 0.1) == 1


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    rates = [learning_rate(0.01, step, 9, step / 1000) for step in range(1001)]
    np.testing.assert_allclose(rates[:10], 0.01 * np.arange(1, 11) / 10, rtol=1e-3)
    assert rates[500] == pytest.approx(0.00505, rel=1e-6)
    assert rates[1000] == pytest.approx(0.0001, rel=1e-6)
    assert (np.diff(rates[9:]) < 0).all()


def test_both_together_as_a_training_uses_them() -> None:
    rates = [learning_rate(1.0, step, 4, progress(step, 100, 0.0, None)) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(rates[4], abs=1e-2)
    assert rates[100] == pytest.approx(0.01)
    assert progress(10, 100, 45.0, 1.0) == 0.75
    assert progress(300, 100, 0.0, 1.0) == 1.0
