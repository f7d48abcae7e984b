"""Smoother: coefficients that follow the light without flicker."""

from dataclasses import dataclass

import numpy as np

from .bilateral import blend
from .errors import UsageError


@dataclass
class Smoother:
    """Exponential moving average of coefficients, with a time constant in seconds, started afresh at a cut.

    Blending grids, not pictures, never blurs or ghosts. `seconds` 0 switches it off. Its whole state is the two
    fields below it.
    """

    seconds: float = 0.3
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
            weight = 1 - np.exp(-(time - self.time) / self.seconds) if self.seconds else 1.0
            self.average = blend(self.average, coefficients, weight)
        self.time = time
        return self.average

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self.average = None
