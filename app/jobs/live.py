"""What the command `live` does: a window onto a camera in the light of a look, or a virtual camera for calls."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hueglass.commands.live import LiveOptions
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.media.camera import Camera, Picture, open_reader
from hueglass.infer.media.images import write_image
from hueglass.infer.media.video_sink import VideoSink
from hueglass.infer.media.video_source import VideoInfo
from hueglass.infer.model.look import Look, embedded_looks
from hueglass.infer.scene.live import Live, Shown
from hueglass.infer.scene.stability import flicker
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings

from .looks import look_of

TITLE = "hueglass"
HELP = (
    "n p   next, previous look",
    "+ -   strength",
    "s     split: drag with the mouse",
    "m     mirror",
    "i     frame rate and delays",
    "c     picture to a file",
    "r     record, and stop",
    "h     this help",
    "q     quit",
)
STEP = 0.1
TICKS = 90_000
"""Of a recording's clock in a second."""


@dataclass
class View:
    """What of the window the user has set."""

    looks: list[Look]
    look: int = 0
    strength: float = 1.0
    split: float | None = None
    mirror: bool = False
    help: bool = False
    figures: bool = False
    quit: bool = False
    dragging: bool = False


@dataclass
class Flicker:
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


class Figures(NamedTuple):
    """Of a frame: when it was on the screen, in seconds on the camera's clock, and in milliseconds how long after it
    had come, how long it took to render and to predict, and by how much its grid is older."""

    time: float
    delay: float
    rendering: float
    prediction: float
    grid_age: float


@dataclass
class Meter:
    """Figures of the last frames, not the frames: those are large."""

    figures: deque[Figures] = field(default_factory=lambda: deque(maxlen=120))

    def add(self, shown: Shown, now: float) -> None:
        """A frame that is on the screen at `now`."""
        delay = 1000 * (now - shown.frame.time)
        self.figures.append(Figures(now, delay, shown.rendering, shown.prediction, shown.grid_age))

    def lines(self) -> list[str]:
        """For the window: rate, and medians by stage."""
        if len(self.figures) < 2:
            return []
        rate = (len(self.figures) - 1) / (self.figures[-1].time - self.figures[0].time)
        middle = Figures(*np.median(self.figures, axis=0))
        late = np.percentile([figures.delay for figures in self.figures], 95)
        return [
            f"{rate:.0f} frames a second",
            f"delay {middle.delay:.0f} ms (95 % below {late:.0f})",
            f"rendering {middle.rendering:.1f} ms, prediction {middle.prediction:.1f} ms",
            f"grid behind by {middle.grid_age:.0f} ms",
        ]


@dataclass
class Recorder:
    """Writes what is shown to a clip, each frame at its time, from start to stop."""

    folder: Path
    sink: VideoSink | None = None
    began: float = 0.0

    def toggle(self, frame: Frame[Picture], image: np.ndarray) -> str:
        """Starts or stops; returns what to say."""
        if self.sink is not None:
            return self.stop()
        path = _free_name(self.folder, ".mp4")
        info = VideoInfo(path, image.shape[1], image.shape[0], Fraction(1, TICKS), rate=Fraction(30))
        self.sink, self.began = VideoSink(path, info).__enter__(), frame.time
        return f"recording {path}"

    def add(self, frame: Frame[Picture], image: np.ndarray) -> None:
        if self.sink is not None:
            ticks = round((frame.time - self.began) * TICKS)
            self.sink.write(Frame(np.ascontiguousarray(image), ticks / TICKS, frame.index))

    def stop(self) -> str:
        """Closes the clip, if there is one."""
        sink, self.sink = self.sink, None
        if sink is None:
            return ""
        sink.__exit__(None, None, None)
        return "recorded"


def start_live(options: LiveOptions) -> None:
    """Make the looks, open the camera, and show it; at the end, print the figures of the last frames.

    Where no look is named, all the embedded ones take part. UsageError for what does not fit together.
    """
    # One thread: the other cores read, render and show, and no frame may wait for a prediction.
    bundle = options.open_bundle(1)
    segmenter = options.find_segmenter(bundle)
    if not (options.window or options.virtual_camera):
        raise UsageError("--no-window shows nothing, expected --virtual-camera beside it")
    if not options.folder.is_dir():
        raise UsageError(f"{options.folder}: no such folder, expected one for pictures and clips")
    strength = options.strengths(segmenter)
    styles: list[str | Path] = [*(options.look or []), *(options.style or [])] or [*embedded_looks()]
    looks = [look_of(style, None, segmenter, bundle) for style in styles]
    stylizer = StylizerSettings(segmenter, strength, options.smoothing).stylizer(bundle, looks[0])
    width, height = options.size or (None, None)
    camera = Camera(open_reader(options.camera, width, height, options.rate))
    for line in run_live(camera, stylizer, looks, options):
        print(line)


def run_live(camera: Camera, stylizer: Stylizer, looks: list[Look], options: LiveOptions) -> list[str]:
    """Show the camera in the light of `looks` until the user quits, the window is closed or the time is over.

    Pictures and clips go to the options' folder. Returns figures of the last frames. HueglassError if the camera cannot
    be read at first, or there is no screen.
    """
    view, meter, recorder = View(looks, strength=stylizer.strength.everywhere), Meter(), Recorder(options.folder)
    with ExitStack() as stack:
        live = stack.enter_context(Live(stack.enter_context(camera), stylizer))
        shown = _first(live)
        rate = options.rate or 30
        out = stack.enter_context(virtual_camera(shown.image.shape, rate)) if options.virtual_camera else None
        if options.window:
            _open_window(view, shown.image.shape)
            stack.callback(cv2.destroyAllWindows)
        stack.callback(recorder.stop)
        steadiness = Flicker(stack.enter_context(ThreadPoolExecutor(1)))
        said = ("h: help", time.perf_counter())
        while not view.quit and (options.seconds is None or camera.now < options.seconds):
            fresh = live.next(timeout=0.2)
            if fresh is not None:
                shown = fresh
                recorder.add(shown.frame, arranged(shown, view, clean=True))
                if out is not None:
                    out(arranged(shown, view, clean=True))
            if options.window:
                notes = [camera.lost + ": waiting for it"] if camera.lost else []
                notes += [said[0]] if time.perf_counter() - said[1] < 3 else []
                _show(arranged(shown, view, [*meter.lines(), *steadiness.lines()] if view.figures else [], notes))
                if (answer := on_key(cv2.waitKey(1), view, live, shown, recorder)) is not None:
                    said = (answer, time.perf_counter())
                view.quit |= cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
            if fresh is not None:
                meter.add(shown, camera.now)
                if view.figures:
                    steadiness.add(shown)
    return meter.lines()


def _show(image: np.ndarray) -> None:
    cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))  # turned round by numpy it takes seven milliseconds


def _first(live: Live) -> Shown:
    while (shown := live.next()) is None:
        pass
    return shown


def _open_window(view: View, shape: tuple[int, ...]) -> None:
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        raise HueglassError(
            "no screen to open a window on, expected one, or --no-window with --virtual-camera"
        ) from None
    cv2.resizeWindow(TITLE, min(shape[1], 1280), min(shape[0], 1280 * shape[0] // shape[1]))

    def on_mouse(event: int, x: int, y: int, flags: int, _: object) -> None:
        view.dragging = bool(flags & cv2.EVENT_FLAG_LBUTTON) and event != cv2.EVENT_LBUTTONUP
        if view.dragging and view.split is not None:
            view.split = min(max(x / shape[1], 0.0), 1.0)

    cv2.setMouseCallback(TITLE, on_mouse)


def on_key(key: int, view: View, live: Live, shown: Shown, recorder: Recorder) -> str | None:
    """Does what a key asks for; returns what to say, None for no key."""
    if key < 0:
        return None
    actions: dict[str, Callable[[], str]] = {
        "n": lambda: _choose(view, live, 1),
        "p": lambda: _choose(view, live, -1),
        "+": lambda: _strengthen(view, live, STEP),
        "=": lambda: _strengthen(view, live, STEP),
        "-": lambda: _strengthen(view, live, -STEP),
        "s": lambda: _set(view, split=0.5 if view.split is None else None),
        "m": lambda: _set(view, mirror=not view.mirror),
        "i": lambda: _set(view, figures=not view.figures),
        "h": lambda: _set(view, help=not view.help),
        "q": lambda: _set(view, quit=True),
        "\x1b": lambda: _set(view, quit=True),
        "c": lambda: _snapshot(view, shown, recorder.folder),
        "r": lambda: recorder.toggle(shown.frame, shown.image),
    }
    action = actions.get(chr(key & 0xFF))
    return action() if action is not None else None


def _set(view: View, **values: object) -> str:
    for name, value in values.items():
        setattr(view, name, value)
    return ""


def _choose(view: View, live: Live, step: int) -> str:
    view.look = (view.look + step) % len(view.looks)
    live.fade_to(view.looks[view.look])
    return view.looks[view.look].name


def _strengthen(view: View, live: Live, step: float) -> str:
    view.strength = round(min(max(view.strength + step, 0.0), 2.0), 2)
    wanted = view.strength

    def change(stylizer: Stylizer) -> None:
        stylizer.strength = replace(stylizer.strength, everywhere=wanted)

    live.change(change)
    return f"strength {wanted:g}"


def _snapshot(view: View, shown: Shown, folder: Path) -> str:
    path = _free_name(folder, ".png")
    write_image(path, np.ascontiguousarray(arranged(shown, view, clean=True)))
    return f"wrote {path}"


def _free_name(folder: Path, suffix: str) -> Path:
    stem = time.strftime("hueglass-%Y%m%d-%H%M%S")
    names = (folder / f"{stem}{mark}{suffix}" for mark in ("", *(f"-{i}" for i in range(1, 1000))))
    return next(path for path in names if not path.exists())


def arranged(
    shown: Shown, view: View, figures: list[str] | None = None, notes: list[str] | None = None, clean: bool = False
) -> np.ndarray:
    """What the window shows (H, W, 3) uint8: the frame, split and mirrored by the view; text unless `clean`."""
    image = shown.image
    if view.split is not None:
        x = round(view.split * image.shape[1])
        image = np.concatenate([shown.original[:, :x], image[:, x:]], 1)
        if not clean and 0 < x < image.shape[1]:
            image[:, max(x - 1, 0) : x + 1] = 255
    if view.mirror:
        image = cv2.flip(image, 1)
    if clean:
        return image
    lines = [*(notes or []), *(figures or []), *(HELP if view.help else [])]
    return _written(image, [line for line in lines if line])


def _written(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """A copy with lines of text on a dark ground in the upper left corner."""
    if not lines:
        return image
    image = np.ascontiguousarray(image).copy()
    scale = max(0.4, image.shape[0] / 900)
    line, margin = round(30 * scale), round(14 * scale)
    width = max(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0] for text in lines)
    corner = image[: line * len(lines) + 2 * margin, : width + 2 * margin]
    corner //= 3
    for i, text in enumerate(lines):
        at = (margin, margin + line * (i + 1) - round(8 * scale))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def virtual_camera(shape: tuple[int, ...], rate: float) -> AbstractContextManager[Callable[[np.ndarray], None]]:
    """Where pictures (H, W, 3) uint8 RGB are sent for a call to see. HueglassError if there is no virtual camera."""
    try:
        import pyvirtualcam
    except ImportError:
        raise HueglassError('virtual cameras need pyvirtualcam: pip install "hueglass[camera]"') from None
    try:
        device = pyvirtualcam.Camera(shape[1], shape[0], rate)
    except RuntimeError as error:
        raise HueglassError(f"no virtual camera: {str(error).splitlines()[0]}") from None

    class Sender(AbstractContextManager[Callable[[np.ndarray], None]]):
        def __enter__(self) -> Callable[[np.ndarray], None]:
            return lambda image: device.send(np.ascontiguousarray(image))

        def __exit__(self, *_: object) -> None:
            device.close()

    return Sender()
