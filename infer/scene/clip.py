"""Clips: what comes is known, so that grids are predicted now and then, and light is seen before it falls.

A grid is predicted for *key frames*, some RATE a second and the first of every shot. Key grids are smoothed over those
before and those that lie `ahead`; frames between two keys of a shot take the grid between theirs. Nothing crosses a
cut.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.frame import AnyFrame, AnyImage, Frame
from hueglass.infer.grid.bilateral import blend
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.smoothing import AHEAD, MOST_AHEAD

from .memory import SceneMemory
from .smoother import Smoother, Timed, look_ahead
from .stylizer import Step, Stylizer
from .survey import Glance, Survey

RATE = 15.0
"""Key frames a second, at most: more is not to be seen, and costs more than all the rest."""
_TICK = 1e-3
"""Clocks that count milliseconds place frames a little too early or late."""
WAITING = 4
"""Frames that may lie ready for whoever takes them."""
GLANCES = 1.0
"""Seconds between the frames of a survey, about."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Key:
    """A key frame: what it led to, its coefficients, smoothed in time, and the `frames` from it to the next key, itself
    the first."""

    step: Step
    grid: np.ndarray
    frames: list[AnyFrame] = field(default_factory=list)

    @property
    def fresh(self) -> bool:
        return self.step.fresh

    @property
    def time(self) -> float:
        return self.frames[0].time


def stylize_clip(
    stylizer: Stylizer, frames: Iterable[Frame[AnyImage]], ahead: float = AHEAD, rate: float = RATE
) -> Generator[tuple[Frame[AnyImage], Frame[AnyImage]], None, None]:
    """Every frame of a clip as it is and in the light of the stylizer's look, in order.

    `ahead` is how far the smoother looks into the future, in seconds; 0 is what a camera would get. As many frames are
    held in memory. UsageError if it is not 0 to MOST_AHEAD. Reading and prediction go on in another thread meanwhile.
    """
    if not 0 <= ahead <= MOST_AHEAD:
        raise UsageError(f"{ahead} s of look-ahead, expected 0 to {MOST_AHEAD:g}")
    keys = smoothed(key_frames(stylizer, frames, rate), stylizer.smoother or Smoother(0), ahead)
    with closing(in_background(_per_frame(stylizer, keys))) as predicted:
        for frame, grid in predicted:
            yield frame, stylizer.render(frame, grid)


def survey(stylizer: Stylizer, frames: Iterable[AnyFrame]) -> Survey:
    """What a few frames of a clip, in order, show of its scenes: for `Stylizer.survey`, before the clip is restyled."""
    gathering = SceneMemory(stylizer.bundle.manifest.slots, gathered=0)
    scout = Stylizer(stylizer.bundle, stylizer.look, segmenter=stylizer.segmenter, memory=gathering)
    scout = replace(scout, region_smoother=RegionSmoother(0.0), renderer=stylizer.renderer)
    found: Survey = []
    for frame in frames:
        step = scout.step(frame)
        assert step is not None
        assert scout.memory is not None
        assert scout.cuts.before is not None
        light = scout.memory.light.copy() if step.fresh else found[-1].light
        found.append(Glance(frame.time, scout.cuts.before, scout.memory, light))
    return found


def key_frames(stylizer: Stylizer, frames: Iterable[AnyFrame], rate: float) -> Iterator[Key]:
    """The key frames of a clip, each with what the network predicts for it."""
    key: Key | None = None
    for frame in frames:
        step = stylizer.step(frame, not_before=-np.inf if key is None else key.time + 1 / rate - _TICK)
        if step is None:
            assert key is not None
            key.frames.append(frame)
            continue
        if key is not None:
            yield key
        key = Key(step, step.coefficients, [frame])
    if key is not None:
        yield key


def smoothed(keys: Iterable[Key], smoother: Smoother, ahead: float) -> Iterator[Key]:
    """The keys with their grids smoothed, those of their shot up to `ahead` seconds later among them."""
    waiting: deque[tuple[Key, Timed]] = deque()
    for key in keys:
        while waiting and (key.fresh or key.time - waiting[0][0].time > ahead + _TICK):
            yield _first(waiting, smoother.seconds)
        average = smoother.update(key.grid, key.time, key.fresh)
        waiting.append((key, Timed(key.grid, average, smoother.weight, key.time)))
    while waiting:
        yield _first(waiting, smoother.seconds)


def _first(waiting: deque[tuple[Key, Timed]], seconds: float) -> Key:
    """The first that waits, smoothed; all are of one shot."""
    key, now = waiting.popleft()
    return replace(key, grid=look_ahead(now, (timed for _, timed in waiting), seconds))


def _per_frame(stylizer: Stylizer, keys: Iterable[Key]) -> Iterator[tuple[AnyFrame, np.ndarray]]:
    """Every frame with its grid, at the strength that is wanted."""
    before: Key | None = None
    for smooth in keys:
        grid = stylizer.strength.apply(smooth.grid, smooth.step.thumbnail, smooth.step.regions)
        key = replace(smooth, grid=grid)
        if before is not None:
            yield from _between(before, key)
        before = key
    if before is not None:
        yield from _between(before, None)


def _between(key: Key, following: Key | None) -> Iterator[tuple[AnyFrame, np.ndarray]]:
    for frame in key.frames:
        if following is None or following.fresh or frame is key.frames[0]:
            yield frame, key.grid
        else:
            way = (frame.time - key.time) / (following.time - key.time)
            yield frame, blend(key.grid, following.grid, way)


def in_background(items: Iterable[Item], most: int = WAITING) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own, at most so many before they are taken."""
    iterator, end = iter(items), object()
    worker = ThreadPoolExecutor(1, "prediction")
    try:
        waiting = deque(worker.submit(next, iterator, end) for _ in range(most))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(worker.submit(next, iterator, end))
            yield item  # type: ignore[misc]  # it is not the end
    finally:
        worker.shutdown(cancel_futures=True)
