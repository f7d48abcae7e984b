"""The keys of the window, and what each does. A new key is a row of KEYS."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hueglass.infer.frame import AnyFrame
from hueglass.infer.media.images import write_image
from hueglass.infer.scene.live import Live
from hueglass.infer.scene.stylizer import Stylizer

from .recorder import Recorder, free_name
from .view import View

STEP = 0.1
"""Of strength."""
MOST_STRENGTH = 2.0


@dataclass(frozen=True)
class Desk:
    """All that a key can act on: the view, the camera that is live, the frame that is shown and its `picture` (H, W, 3)
    uint8 sRGB as it is shown, the recorder."""

    view: View
    live: Live
    frame: AnyFrame
    picture: np.ndarray
    recorder: Recorder


def on_key(key: int, desk: Desk) -> str | None:
    """Does what a key asks for, by OpenCV's number for it; returns what to say, None for no key."""
    if key < 0:
        return None
    action = next((action for letters, _, action in KEYS if chr(key & 0xFF) in letters), None)
    return None if action is None else action(desk)


def help_lines() -> list[str]:
    """What the keys do."""
    return [text for _, text, _ in KEYS if text]


def _choose(desk: Desk, step: int) -> str:
    view = desk.view
    view.look = (view.look + step) % len(view.looks)
    desk.live.fade_to(view.looks[view.look])
    return view.looks[view.look].name


def _strengthen(desk: Desk, step: float) -> str:
    wanted = desk.view.strength = round(min(max(desk.view.strength + step, 0.0), MOST_STRENGTH), 2)

    def change(stylizer: Stylizer) -> None:
        stylizer.strength = replace(stylizer.strength, everywhere=wanted)

    desk.live.change(change)
    return f"strength {wanted:g}"


def _toggle(name: str) -> "Action":
    def toggle(desk: Desk) -> str:
        setattr(desk.view, name, not getattr(desk.view, name))
        return ""

    return toggle


def _split(desk: Desk) -> str:
    desk.view.split = 0.5 if desk.view.split is None else None
    return ""


def _keep_picture(desk: Desk) -> str:
    path = free_name(desk.recorder.folder, ".png")
    write_image(path, np.ascontiguousarray(desk.picture))
    return f"wrote {path}"


def _record(desk: Desk) -> str:
    return desk.recorder.toggle(desk.frame, desk.picture)


Action = Callable[[Desk], str]
KEYS: tuple[tuple[str, str, Action], ...] = (
    ("n", "n p   next, previous look", lambda desk: _choose(desk, 1)),
    ("p", "", lambda desk: _choose(desk, -1)),
    ("+=", "+ -   strength", lambda desk: _strengthen(desk, STEP)),
    ("-", "", lambda desk: _strengthen(desk, -STEP)),
    ("s", "s     split: drag with the mouse", _split),
    ("m", "m     mirror", _toggle("mirror")),
    ("i", "i     frame rate and delays", _toggle("figures")),
    ("c", "c     picture to a file", _keep_picture),
    ("r", "r     record, and stop", _record),
    ("h", "h     this help", _toggle("help")),
    ("q\x1b", "q     quit", _toggle("quit")),
)
"""Letters, the line of the help (of two that belong together the first has it), and what is done, which returns what to
say."""
