"""How what moves is steadied, in seconds: the defaults and the bounds. Light: the command line reads it."""

from dataclasses import dataclass

from .errors import UsageError

SECONDS = 0.1
"""Time constant of the coefficients' average where the scene is remembered, unless told otherwise: they are fixed to
the screen, and the scene is not."""
SECONDS_ALONE = 0.35
"""The same where every frame is seen by itself, and of the maps of regions, which move along with the picture."""
MEMORY = 600.0
"""Over so long a thing may change its colour, unless told otherwise."""
AHEAD = 0.25
"""How far clips are looked ahead, unless told otherwise."""
MOST_SECONDS, MOST_AHEAD = 60, 2
LEAST_MEMORY, MOST_MEMORY = 1, 86400
"""What of MEMORY a person may ask for."""


def checked_smoothing(seconds: float) -> float:
    """A time constant in seconds, as it is. UsageError unless it is at least 0 and below MOST_SECONDS."""
    if not 0 <= seconds < MOST_SECONDS:
        raise UsageError(f"smoothing over {seconds} s, expected 0 to {MOST_SECONDS:g}")
    return seconds


@dataclass(frozen=True)
class Steadying:
    """`memory` is over how many seconds a thing of the scene may change its colour, None if every frame is seen by
    itself; `smoothing` over how many the look settles, None for what goes with that."""

    memory: float | None = MEMORY
    smoothing: float | None = None

    @property
    def grids(self) -> float:
        """Seconds over which coefficients are averaged."""
        if self.smoothing is None:
            return SECONDS_ALONE if self.memory is None else SECONDS
        return checked_smoothing(self.smoothing)

    @property
    def regions(self) -> float:
        """Seconds over which the maps of regions are: never less than coefficients, and none where they have none."""
        return max(self.grids, min(SECONDS_ALONE, SECONDS_ALONE / SECONDS * self.grids))
