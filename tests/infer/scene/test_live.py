"""Live: only the newest frame counts, through the newest grid."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.cameras import SHAPE, numbered, reading

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.camera import Camera
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.fade import Fade
from hueglass.infer.scene.live import Live
from hueglass.infer.scene.stylizer import Stylizer


def test_frames_are_the_newest_and_never_shown_twice(stylizer: Stylizer) -> None:
    with Camera(numbered(pause=0.01)) as camera, Live(camera, stylizer) as live:
        shown = [s for s in (live.next() for _ in range(30)) if s is not None]
    indices = [s.frame.index for s in shown]
    assert len(shown) > 10
    assert indices == sorted(set(indices))
    assert all(s.image.shape == SHAPE for s in shown)
    assert all(s.rendering > 0 and s.prediction > 0 and s.grid_age >= 0 for s in shown)
    assert not [t for t in threading.enumerate() if t.name == "prediction"]


def test_a_look_changes_at_once_or_fades(bundle: ModelBundle, stylizer: Stylizer) -> None:
    other = find_look(embedded_looks()[1], bundle.manifest)
    grey = np.full(SHAPE, 128, np.uint8)

    def read() -> Iterator[np.ndarray]:
        while True:
            yield grey
            time.sleep(0.005)

    def wait_for(live: Live, done: Callable[[np.ndarray], bool]) -> bool:
        deadline = time.perf_counter() + 10
        while time.perf_counter() < deadline:
            shown = live.next()
            if shown is not None and done(shown.image.astype(int)):
                return True
        return False

    expected = Stylizer(bundle, other)(Frame(grey, 0.0, 0)).image.astype(int)
    start = Stylizer(bundle, stylizer.look)(Frame(grey, 0.0, 0)).image.astype(int)
    assert np.abs(expected - start).max() > 8
    with Camera(reading(read)) as camera, Live(camera, stylizer) as live:
        assert wait_for(live, lambda image: np.abs(image - start).max() <= 1)
        live.fade_to(other, seconds=0)
        assert wait_for(live, lambda image: np.abs(image - expected).max() <= 1)
        live.fade_to(find_look(embedded_looks()[0], bundle.manifest), seconds=0.5)
        between = np.abs(expected - start).max() / 3
        assert wait_for(live, lambda i: np.abs(i - start).max() > between < np.abs(i - expected).max())
        assert wait_for(live, lambda image: np.abs(image - start).max() <= 1)


def test_fade(bundle: ModelBundle) -> None:
    a, b = (find_look(name, bundle.manifest) for name in embedded_looks()[:2])
    fade = Fade(a, b, 10.0, 2.0)
    assert [fade.way(now) for now in (9.0, 10.0, 11.0, 12.0, 13.0)] == [0, 0, 0.5, 1, 1]
    np.testing.assert_allclose(fade.at(fade.way(11.0)).tones, (a.tones + b.tones) / 2, atol=1e-5)
    assert fade.at(fade.way(12.0)) is b
    at_once = Fade(a, b, 10.0, 0.0)
    assert at_once.way(10.0) == 1
    assert at_once.at(at_once.way(10.0)) is b


def test_an_error_of_prediction_reaches_whoever_shows(stylizer: Stylizer) -> None:
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        assert live.next(timeout=10) is not None

        def fail(_: Stylizer) -> None:
            raise HueglassError("out of memory")

        live.change(fail)

        def go_on() -> None:
            for _ in range(1000):
                live.next(timeout=0.1)

        with pytest.raises(HueglassError, match="out of memory"):
            go_on()


def test_planar_frames_are_shown_like_others(bundle: ModelBundle, stylizer: Stylizer) -> None:
    """A clip that plays as a camera is never converted to RGB before it is rendered."""
    image = ycbcr.from_rgb(np.random.default_rng(0).random((48, 64, 3), np.float32))

    def read() -> Iterator[YuvImage]:
        while True:
            time.sleep(0.005)
            yield image

    with Camera(reading(read)) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
    assert shown is not None
    assert np.abs(shown.original - 255 * ycbcr.to_rgb(image)).max() <= 1
    rendered = native.render(shown.grid, shown.original).astype(int)
    assert np.abs(shown.image - rendered).mean() < 1
