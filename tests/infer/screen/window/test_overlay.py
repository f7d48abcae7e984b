"""What the window lays over a frame."""

import numpy as np
import pytest
from support.cameras import numbered

from hueglass.infer import ycbcr
from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.media.camera import Camera
from hueglass.infer.scene.live import Live, Shown
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.infer.screen.window.overlay import annotated, arranged
from hueglass.infer.screen.window.view import View


@pytest.fixture
def shown(stylizer: Stylizer) -> Shown:
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        found = live.next(timeout=10)
    assert found is not None
    return found


def test_the_original_is_left_of_the_split_mirrored_or_not(shown: Shown, stylizer: Stylizer) -> None:
    view = View([stylizer.look])
    np.testing.assert_array_equal(arranged(shown, view), shown.image)
    view.split = 0.25
    for mirror in (False, True):
        view.mirror = mirror
        before, after = (x[:, ::-1] if mirror else x for x in (shown.frame.image, shown.image))
        image = arranged(shown, view)
        np.testing.assert_array_equal(image[:, :16], before[:, :16])
        np.testing.assert_array_equal(image[:, 16:], after[:, 16:])


def test_text_and_the_line_are_on_a_copy(shown: Shown, stylizer: Stylizer) -> None:
    view = View([stylizer.look])
    image = arranged(shown, view)
    assert annotated(image, view, [""]) is image
    written = annotated(image, view, ["hello"])
    assert not np.array_equal(written, image)
    np.testing.assert_array_equal(image, shown.image)
    view.split = 0.5
    marked = annotated(arranged(shown, view), view, [])
    assert (marked[:, 31:33] == 255).all()
    assert not (arranged(shown, view)[:, 31:33] == 255).all()


def test_the_original_is_made_once_and_only_for_a_split(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    planar = ycbcr.from_rgb(np.random.default_rng(0).random((48, 64, 3), np.float32))
    image = np.zeros((48, 64, 3), np.uint8)
    shown = Shown(image, Frame(planar, 0.0, 0), identity_grid(), stylizer, 1.0, 1.0, 0.0)
    made, really = [], stylizer.render_upright
    monkeypatch.setattr(stylizer, "render_upright", lambda *given: (made.append(1), really(*given))[1])
    arranged(shown, View([stylizer.look]))
    assert made == []
    for _ in range(3):
        arranged(shown, View([stylizer.look], split=0.5))
    assert made == [1]


@pytest.mark.parametrize("shape", [(640, 360, 3), (180, 320, 3), (1080, 1920, 3)])
def test_text_fits_the_picture(stylizer: Stylizer, shape: tuple[int, ...]) -> None:
    """A portrait picture is high and narrow: letters go by its width."""
    line = "flicker 1.01 times that of a grid that stands still"
    written = annotated(np.zeros(shape, np.uint8), View([stylizer.look]), [line])
    lit = np.flatnonzero(written.max((0, 2)) > 100)
    assert lit[0] > 1
    assert lit[-1] < shape[1] - 2
    assert lit[-1] - lit[0] > min(shape[1] * 0.9, 800) - 60
