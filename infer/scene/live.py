"""Live: every frame that is shown is the newest one, rendered through the newest grid.

One thread predicts grids, always of the newest frame, up to RATE a second; whoever shows pictures asks for the next one
and gets it rendered at once. Neither waits for the other, and nothing queues.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.media.camera import Camera
from hueglass.infer.model.look import Look
from hueglass.infer.orientation import upright

from .fade import FADE_SECONDS
from .stylizer import Stylizer

RATE = 30.0
"""More grids a second are not to be seen, and would take the cores from the pictures."""
FIRST_SECONDS = 20.0
"""So long a camera may take to give its first frame."""


@dataclass(frozen=True)
class Shown:
    """A frame as it is shown: `image` (H, W, 3) uint8 sRGB, rendered and upright, the camera's `frame`, the `grid`
    between them, and how long it took to predict and to render, in milliseconds; `grid_age` is by how much the grid's
    frame is older than this one, `known` for how many seconds the scene is remembered, None if it is not."""

    image: np.ndarray
    frame: Frame[np.ndarray | YuvImage]
    grid: np.ndarray
    stylizer: Stylizer
    prediction: float
    rendering: float
    grid_age: float
    known: float | None = None

    @cached_property
    def original(self) -> np.ndarray:
        """The camera's frame as (H, W, 3) uint8 sRGB, upright; made when it is first asked for."""
        if isinstance(self.frame.image, np.ndarray):
            return upright(self.frame.image, self.frame.orientation)
        return self.stylizer.render_upright(self.frame, identity_grid(self.grid.shape))


@dataclass(frozen=True)
class _Prediction:
    grid: np.ndarray
    time: float
    milliseconds: float
    known: float | None


@dataclass
class Live:
    """A camera in the light of a look, between enter and exit.

    `change` is how anything about the stylizer is changed while it works.
    """

    camera: Camera
    stylizer: Stylizer
    _newest: _Prediction | None = None
    _shown: int = -1
    _failure: BaseException | None = None
    _changes: list[Callable[[Stylizer], None]] = field(default_factory=list)
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Live":
        self._thread = threading.Thread(target=self._predict, name="prediction", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def change(self, what: Callable[[Stylizer], None]) -> None:
        """Calls `what(stylizer)` before the next prediction."""
        with self._lock:
            self._changes.append(what)

    def fade_to(self, look: Look, seconds: float = FADE_SECONDS) -> None:
        """Cross-fade to a look; with 0 seconds it is there at once, unsmoothed."""
        self.change(lambda stylizer: stylizer.fade_to(look, seconds))

    def next(self, timeout: float = 1.0) -> Shown | None:
        """The newest frame, if it was not shown yet, rendered through the newest grid; waits up to `timeout` seconds.

        None if none came. HueglassError if the camera never gave one, or prediction failed.
        """
        frame = self.camera.newest(self._shown, timeout)
        prediction = self._prediction(timeout)
        if frame is None or prediction is None:
            return None
        began = time.perf_counter()
        image = self.stylizer.render_upright(frame, prediction.grid)
        self._shown = frame.index
        rendering = 1000 * (time.perf_counter() - began)
        grid_age = max(0.0, 1000 * (frame.time - prediction.time))
        took = (prediction.milliseconds, rendering, grid_age)
        return Shown(image, frame, prediction.grid, self.stylizer, *took, prediction.known)

    def _prediction(self, timeout: float) -> _Prediction | None:
        with self._lock:
            self._lock.wait_for(lambda: self._newest is not None or self._failure is not None, timeout)
            if self._failure is not None:
                raise self._failure
            return self._newest

    def _predict(self) -> None:
        last = -1
        try:
            while not self._stop.is_set():
                frame = self.camera.newest(last, timeout=0.2)
                if frame is None:
                    if last < 0 and self.camera.now > FIRST_SECONDS:
                        raise HueglassError(f"no picture in {FIRST_SECONDS:g} seconds, expected a camera that is on")
                    continue
                self._apply_changes()
                began = time.perf_counter()
                grid = self.stylizer.predict(frame)
                took = 1000 * (time.perf_counter() - began)
                last = frame.index
                with self._lock:
                    self._newest = _Prediction(grid, frame.time, took, self._known())
                    self._lock.notify_all()
                self._stop.wait(max(0.0, began + 1 / RATE - time.perf_counter()))
        except BaseException as error:
            with self._lock:
                self._failure = error
                self._lock.notify_all()

    def _known(self) -> float | None:
        memory = self.stylizer.memory
        return None if memory is None else memory.known

    def _apply_changes(self) -> None:
        with self._lock:
            changes, self._changes = self._changes, []
        for change in changes:
            change(self.stylizer)
