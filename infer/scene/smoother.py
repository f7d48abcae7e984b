"""Smoother: coefficients that follow the light without flicker."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hueglass.infer.grid.bilateral import blend
from hueglass.infer.smoothing import SECONDS, checked_smoothing

FAR = 0.05
"""Mean distance of coefficients that is a change of light. From the average of one scene it is .004 to .03, where the
light falls to half .13 to .26."""


@dataclass
class Smoother:
    """Exponential moving average of coefficients, with a time constant in seconds, started afresh at a cut.

    What is far from the average is no flicker, and is followed faster: the time constant is `seconds` / (1 + (distance
    / FAR)^2), at every moment and so at any frame rate. Blending grids, not pictures, never blurs or ghosts. `seconds`
    0 switches it off. Its whole state is the fields below it; `weight` is what the newest coefficients have in the
    average.
    """

    seconds: float = SECONDS
    average: np.ndarray | None = None
    time: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        checked_smoothing(self.seconds)

    def update(self, coefficients: np.ndarray, time: float, fresh: bool = False) -> np.ndarray:
        """The smoothed coefficients at `time` seconds, given the predicted ones; `fresh` at the start of a shot."""
        if self.average is None or fresh or time < self.time:
            self.average, self.weight = coefficients, 1.0
        else:
            self.weight = self._weight(coefficients, time - self.time)
            self.average = blend(self.average, coefficients, self.weight)
        self.time = time
        return self.average

    def _weight(self, coefficients: np.ndarray, passed: float) -> float:
        if not self.seconds:
            return 1.0
        # u' = -u (1 + u^2) / seconds for the distance u in FARs has the solution u^2 / (1 + u^2) ~ exp(-2 t / seconds).
        assert self.average is not None
        far = _distance(coefficients, self.average)
        decay = float(np.exp(-2 * passed / self.seconds))
        return 1 - float(np.sqrt(decay / (1 + far**2 * (1 - decay))))

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self.average = None


@dataclass(frozen=True)
class Timed:
    """Coefficients at `time` seconds as predicted, their causal `average`, and the `weight` that they have in it."""

    predicted: np.ndarray
    average: np.ndarray
    weight: float
    time: float


def look_ahead(now: Timed, later: Iterable[Timed], seconds: float) -> np.ndarray:
    """The average, and what is predicted for later frames of the shot in it: steadier, and with half the lag.

    A frame t seconds ahead counts exp(-t / `seconds`), less if its coefficients are far from those now: light that is
    yet to fall does not show before. The average counts as many frames as the weight of the newest says.
    """
    total, mass = now.average, 1 / now.weight
    for other in later if seconds else ():
        far = _distance(other.predicted, now.predicted)
        count = float(np.exp((now.time - other.time) / seconds)) / (1 + far**2)
        mass += count
        total = blend(total, other.predicted, count / mass)
    return total


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean, in FARs."""
    return float(np.abs(a - b).mean()) / FAR
