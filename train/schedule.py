"""How far a training is, and the learning rate there."""

import math


def progress(step: int, steps: int, seconds: float, minutes: float | None) -> float:
    """How much of a training is done, 0 to 1: by steps or by minutes of training time, whichever is further."""
    by_time = seconds / (60 * minutes) if minutes else 0.0
    return min(1.0, max(step / steps, by_time))


def learning_rate(base: float, step: int, warmup: int, progress: float) -> float:
    """A linear warm-up over `warmup` steps, then half a cosine down to a hundredth of `base`."""
    warm = min(1.0, (step + 1) / (warmup + 1))
    return base * warm * (0.505 + 0.495 * math.cos(math.pi * progress))
