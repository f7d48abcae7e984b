"""How long a look takes to settle, in seconds: the defaults and the bounds. Light: the command line reads it."""

from .errors import UsageError

SECONDS = 0.35
"""Time constant of the coefficients' average, unless told otherwise."""
AHEAD = 0.25
"""How far clips are looked ahead, unless told otherwise."""
MOST_SECONDS, MOST_AHEAD = 60, 2


def checked_smoothing(seconds: float) -> float:
    """A time constant in seconds, as it is. UsageError unless it is at least 0 and below MOST_SECONDS."""
    if not 0 <= seconds < MOST_SECONDS:
        raise UsageError(f"smoothing over {seconds} s, expected 0 to {MOST_SECONDS:g}")
    return seconds
