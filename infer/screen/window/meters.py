"""What the window measures while it shows: rate, delays, flicker."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hueglass.infer.scene.live import Shown
from hueglass.infer.scene.stability import flicker


@dataclass
class FlickerMeter:
    """How much the grids flicker: once a second, in a thread of its own, two frames in a row as shown and through one
    grid (see `infer.scene.stability.flicker`)."""

    worker: ThreadPoolExecutor
    before: Shown | None = None
    due: float = 0.0
    job: "Future[tuple[float, float]] | None" = None
    found: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=10))

    def add(self, shown: Shown) -> None:
        if self.job is not None and self.job.done():
            self.found.append(self.job.result())
            self.job = None
        before, self.before = self.before, shown
        follows = before is not None and shown.frame.index == before.frame.index + 1
        if before is not None and follows and self.job is None and shown.frame.time >= self.due:
            self.due = shown.frame.time + 1
            self.job = self.worker.submit(_flicker, before, shown)

    def lines(self) -> list[str]:
        ours, still = (sum(pair[i] for pair in self.found) for i in range(2))
        return [f"flicker {ours / still:.2f} times that of a grid that stands still"] if still else []


def _flicker(before: Shown, after: Shown) -> tuple[float, float]:
    return flicker([before.original, after.original], [before.grid, after.grid])


class FrameTiming(NamedTuple):
    """Of a frame: when it was on the screen, in seconds on the camera's clock, and in milliseconds how long after it
    had come, how long it took to render and to predict, and by how much its grid is older."""

    time: float
    delay: float
    rendering: float
    prediction: float
    grid_age: float


@dataclass
class Meter:
    """The timings of the last frames, not the frames: those are large; and for how long the scene has been `known`."""

    timings: deque[FrameTiming] = field(default_factory=lambda: deque(maxlen=120))
    known: float | None = None

    def add(self, shown: Shown, now: float) -> None:
        """A frame that is on the screen at `now`."""
        delay = 1000 * (now - shown.frame.time)
        self.known = shown.known
        self.timings.append(FrameTiming(now, delay, shown.rendering, shown.prediction, shown.grid_age))

    def lines(self) -> list[str]:
        """For the window: rate, and medians by stage."""
        if len(self.timings) < 2:
            return []
        rate = (len(self.timings) - 1) / (self.timings[-1].time - self.timings[0].time)
        middle = FrameTiming(*np.median(self.timings, axis=0))
        late = np.percentile([timing.delay for timing in self.timings], 95)
        return [
            f"{rate:.0f} frames a second",
            f"delay {middle.delay:.0f} ms (95 % below {late:.0f})",
            f"rendering {middle.rendering:.1f} ms, prediction {middle.prediction:.1f} ms",
            f"grid behind by {middle.grid_age:.0f} ms",
            *([] if self.known is None else [f"scene known for {self.known:.0f} s"]),
        ]
