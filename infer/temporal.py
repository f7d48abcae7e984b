"""Smoother: coefficients that follow the light without flicker."""

from dataclasses import dataclass

import numpy as np

from .bilateral import blend
from .errors import UsageError

SECONDS = 0.35
FAR = 0.05
"""Mean distance of coefficients that is a change of light. From the average of one scene it is .004 to .03, where the
light falls to half .13 to .26."""


@dataclass
class Smoother:
    """Exponential moving average of coefficients, with a time constant in seconds, started afresh at a cut.

    What is far from the average is no flicker, and is followed faster: the time constant is `seconds` / (1 + (distance
    / FAR)^2), at every moment and so at any frame rate. Blending grids, not pictures, never blurs or ghosts. `seconds`
    0 switches it off. Its whole state is the two fields below it.
    """

    seconds: float = SECONDS
    average: np.ndarray | None = None
    time: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.seconds < 60):
            raise UsageError(f"smoothing over {self.seconds} s, expected 0 to 60")

    def update(self, coefficients: np.ndarray, time: float, fresh: bool = False) -> np.ndarray:
        """The smoothed coefficients at `time` seconds, given the predicted ones; `fresh` at the start of a shot."""
        if self.average is None or fresh or time < self.time:
            self.average = coefficients
        else:
            self.average = blend(self.average, coefficients, self._weight(coefficients, time - self.time))
        self.time = time
        return self.average

    def _weight(self, coefficients: np.ndarray, passed: float) -> float:
        if not self.seconds:
            return 1.0
        # u' = -u (1 + u^2) / seconds for the distance u in FARs has the solution u^2 / (1 + u^2) ~ exp(-2 t / seconds).
        far = float(np.abs(coefficients - self.average).mean()) / FAR
        decay = float(np.exp(-2 * passed / self.seconds))
        return 1 - float(np.sqrt(decay / (1 + far**2 * (1 - decay))))

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self.average = None
