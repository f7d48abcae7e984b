"""The window: a camera in the light of a look on this machine's screen, and in the sinks that it is sent to."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.media.camera import Camera
from hueglass.infer.model.look import Look
from hueglass.infer.scene.live import Live, Shown
from hueglass.infer.scene.stylizer import Stylizer

from .keys import Desk, help_lines, on_key
from .meters import FlickerMeter, Meter
from .overlay import annotated, arranged
from .recorder import RATE, Recorder, Recording
from .view import View

TITLE = "hueglass"
LARGEST = 1280
"""Pixels of a side of the window when it opens."""
SAID_SECONDS = 3.0
"""So long what a key says is shown."""


@dataclass(frozen=True)
class Screening:
    """How a camera is shown: pictures and clips that are kept go to `folder`; all that is shown goes to the sinks of
    these names as well; with or without a `window`; for so many `seconds` (None: until the user quits)."""

    folder: Path = field(default_factory=Path)
    sinks: tuple[str, ...] = ()
    window: bool = True
    seconds: float | None = None
    rate: float = RATE


def show(camera: Camera, stylizer: Stylizer, looks: list[Look], how: Screening) -> list[str]:
    """Show the camera in the light of `looks` until the user quits, the window is closed or the time is over.

    Returns figures of the last frames. HueglassError if the camera cannot be read at first, or there is no screen;
    errors as `open_sink`.
    """
    view, meter, recorder = View(looks, strength=stylizer.strength.everywhere), Meter(), Recorder(how.folder)
    with ExitStack() as stack:
        live = stack.enter_context(Live(stack.enter_context(camera), stylizer))
        shown = _first(live)
        outputs = [stack.enter_context(Recording(name, shown.image, how.rate)) for name in how.sinks]
        if how.window:
            _open_window(view, shown.image)
            stack.callback(cv2.destroyAllWindows)
        stack.callback(recorder.stop)
        flicker = FlickerMeter(stack.enter_context(ThreadPoolExecutor(1)))
        said = _Said("h: help")
        while not view.quit and (how.seconds is None or camera.now < how.seconds):
            fresh = live.next(timeout=0.2)
            shown = fresh or shown
            image = arranged(shown, view)
            if fresh is not None:
                recorder.add(shown.frame, image)
                for output in outputs:
                    output.add(shown.frame, image)
            if how.window:
                lines = [f"{camera.lost}: waiting for it" if camera.lost else "", said.text]
                lines += [*meter.lines(), *flicker.lines()] if view.figures else []
                _display(annotated(image, view, lines + (help_lines() if view.help else [])))
                said.hear(on_key(cv2.waitKey(1), Desk(view, live, shown.frame, image, recorder)))
                view.quit |= cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
            if fresh is not None:
                meter.add(shown, camera.now)
                if view.figures:
                    flicker.add(shown)
    return meter.lines()


class _Said:
    """What the last key said, for a while."""

    def __init__(self, text: str) -> None:
        self.hear(text)

    def hear(self, text: str | None) -> None:
        if text is not None:
            self._text, self._since = text, time.perf_counter()

    @property
    def text(self) -> str:
        return self._text if time.perf_counter() - self._since < SAID_SECONDS else ""


def _first(live: Live) -> Shown:
    while (shown := live.next()) is None:
        pass
    return shown


def _display(image: np.ndarray) -> None:
    cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))  # turned round by numpy it takes seven milliseconds


def _open_window(view: View, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        wanted = "expected one, or a virtual camera without a window"
        raise HueglassError(f"no screen to open a window on, {wanted}") from None
    scale = min(1.0, LARGEST / max(height, width))
    cv2.resizeWindow(TITLE, round(width * scale), round(height * scale))

    def on_mouse(event: int, x: int, y: int, flags: int, _: object) -> None:
        view.dragging = bool(flags & cv2.EVENT_FLAG_LBUTTON) and event != cv2.EVENT_LBUTTONUP
        if view.dragging and view.split is not None:
            view.split = min(max(x / width, 0.0), 1.0)

    cv2.setMouseCallback(TITLE, on_mouse)
