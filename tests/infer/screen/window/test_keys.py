"""The window does what its keys say."""

import time
from pathlib import Path

import numpy as np
from support.cameras import numbered

from hueglass.infer.media.camera import Camera
from hueglass.infer.media.images import read_image
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.live import Live
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.infer.screen.window.keys import KEYS, Desk, help_lines, on_key
from hueglass.infer.screen.window.recorder import Recorder
from hueglass.infer.screen.window.view import View


def test_keys(bundle: ModelBundle, stylizer: Stylizer, tmp_path: Path) -> None:
    looks = [find_look(name, bundle.manifest) for name in embedded_looks()[:3]]
    view, recorder = View(looks), Recorder(tmp_path)
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
        assert shown is not None

        def press(keys: str) -> list[str | None]:
            return [on_key(ord(key), Desk(view, live, shown.frame, shown.image, recorder)) for key in keys]

        assert press("nnnp") == [looks[1].name, looks[2].name, looks[0].name, looks[2].name]
        assert press("--+") == ["strength 0.9", "strength 0.8", "strength 0.9"]
        press("smih")
        assert (view.split, view.mirror, view.figures, view.help) == (0.5, True, True, True)
        press("smih")
        assert (view.split, view.mirror, view.figures, view.help) == (None, False, False, False)
        (said,) = press("c")
        assert said is not None
        np.testing.assert_array_equal(read_image(Path(said.removeprefix("wrote "))), shown.image)
        press("r")
        for _ in range(5):
            again = live.next(timeout=10)
            assert again is not None
            recorder.add(again.frame, again.image)
        assert press("r") == ["recorded"]
        assert on_key(-1, Desk(view, live, shown.frame, shown.image, recorder)) is None
        assert press("?") == [None]
        press("q")
        assert view.quit
    with VideoSource(next(tmp_path.glob("*.mp4"))) as clip:
        assert len([*clip]) == 6


def test_strength_is_kept_by_region(stylizer: Stylizer) -> None:
    """`+` and `-` change it everywhere but where a region has its own."""
    stylizer.strength = Strength(1.0, {"sky": 0.0})
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
        assert shown is not None
        on_key(ord("-"), Desk(View([stylizer.look]), live, shown.frame, shown.image, Recorder(Path())))
        deadline = time.perf_counter() + 10
        while stylizer.strength.everywhere == 1.0 and time.perf_counter() < deadline:
            live.next(timeout=0.1)
    assert stylizer.strength == Strength(0.9, {"sky": 0.0})


def test_every_key_is_in_the_help() -> None:
    text = "\n".join(help_lines())
    for letters, _, _ in KEYS:
        assert f"{letters[0]} " in text
    assert len({letter for letters, _, _ in KEYS for letter in letters}) == sum(len(letters) for letters, _, _ in KEYS)
