"""The page's renderer in a real browser, against the numpy reference."""

from typing import Any

import cv2
import numpy as np
import pytest
from support.browser import (
    bytes_of,
    picture_of,
    text_of,
)
from support.web_page import LOOKS, TO_TEXT, assert_agree, noise

from hueglass.infer.grid import bilateral
from hueglass.infer.resize import resized_square

MAKE = (
    TO_TEXT
    + """
const { Renderer } = await import("/page/renderer.js");
const renderer = new Renderer(document.createElement("canvas"));
const lose = renderer.gl.getExtension("WEBGL_lose_context");
const give = () => {
  renderer.setFrame(new ImageData(new Uint8ClampedArray(bytes(given.frame).buffer), given.width, given.height));
};
renderer.resize(...given.canvas);
give();
if (given.grid) renderer.setGrid(new Uint16Array(bytes(given.grid).buffer), given.shape);
Object.assign(renderer, given.settings);
"""
)
RENDER = (
    f"async (given) => {{ {MAKE} const answer = shown(renderer.readPixels()); lose.loseContext(); return answer; }}"
)
SHRINK = f"""async (given) => {{ {MAKE}
  renderer.startThumbnail(256);
  let rgb = null;
  while (!rgb) {{ await new Promise((next) => setTimeout(next, 5)); rgb = renderer.takeThumbnail(); }}
  lose.loseContext();
  return text(rgb);
}}"""
RESTORE = f"""async (given) => {{ {MAKE}
  const restored = new Promise((done) => {{ renderer.onRestored = done; }});
  lose.loseContext();
  await new Promise((next) => setTimeout(next, 50));
  lose.restoreContext();
  await restored;
  give();
  const answer = shown(renderer.readPixels());
  lose.loseContext();
  return answer;
}}"""


def wild(seed: int, shape: tuple[int, ...] = bilateral.GRID_SHAPE) -> np.ndarray:
    """Neighbouring cells have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return (bilateral.identity_grid(shape) + rng.normal(0, 0.7, shape)).astype(np.float16).astype(np.float32)


def given(
    image: np.ndarray, grid: np.ndarray | None, canvas: tuple[int, int] | None = None, **settings: object
) -> dict[str, object]:
    height, width = image.shape[:2]
    opaque = np.dstack([image, np.full((height, width), 255, np.uint8)])
    return {
        "frame": text_of(opaque),
        "width": width,
        "height": height,
        "canvas": canvas or (width, height),
        "grid": None if grid is None else text_of(grid.astype("<f2")),
        "shape": None if grid is None else grid.shape,
        "settings": settings,
    }


def drawn(
    page: Any,
    image: np.ndarray,
    grid: np.ndarray | None,
    canvas: tuple[int, int] | None = None,
    script: str = RENDER,
    **settings: object,
) -> np.ndarray:
    """What the page's renderer puts on a canvas of `canvas` (width, height), that of the frame if left out."""
    return picture_of(page.evaluate(script, given(image, grid, canvas, **settings)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (48, 64), (179, 321), (360, 640)])
@pytest.mark.parametrize("grid", [*LOOKS.values(), wild(1), wild(2)], ids=["gold", "night", "wild-1", "wild-2"])
def test_renderer_agrees_with_reference(blank: Any, grid: np.ndarray, height: int, width: int) -> None:
    image = noise(height, width)
    assert_agree(drawn(blank, image, grid), bilateral.render(grid, image))


@pytest.mark.parametrize("shape", [(1, 1, 1, 12), (2, 3, 5, 12), (16, 8, 4, 12)])
def test_renderer_takes_any_shape_of_grid(blank: Any, shape: tuple[int, ...]) -> None:
    image, grid = noise(60, 90), wild(3, shape)
    assert_agree(drawn(blank, image, grid), bilateral.render(grid, image))


def test_every_level_and_both_ends_of_the_guide(blank: Any) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(40, axis=0)
    assert_agree(drawn(blank, ramp, wild(4)), bilateral.render(wild(4), ramp))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (179, 321), (360, 640)])
def test_strength_zero_gives_the_input_back_exactly(blank: Any, height: int, width: int) -> None:
    image = noise(height, width)
    np.testing.assert_array_equal(drawn(blank, image, wild(5), strength=0), image)
    np.testing.assert_array_equal(drawn(blank, image, None), image)  # and so it is before the first grid


@pytest.mark.parametrize("strength", [0.5, 1.7])
def test_strength_blends_with_identity(blank: Any, strength: float) -> None:
    image = noise(90, 160)
    grid = bilateral.blend(bilateral.identity_grid(), wild(6), strength)
    assert_agree(drawn(blank, image, wild(6), strength=strength), bilateral.render(grid, image))


def test_split_leaves_the_left_as_it_is(blank: Any) -> None:
    image = noise(90, 160)
    got, styled = drawn(blank, image, wild(7), split=0.25), bilateral.render(wild(7), image)
    np.testing.assert_array_equal(got[:, :40], image[:, :40])
    assert_agree(got[:, 40:], styled[:, 40:])


def test_mirror_turns_the_styled_frame(blank: Any) -> None:
    image = noise(90, 161)
    assert_agree(drawn(blank, image, wild(8), mirror=True), bilateral.render(wild(8), image)[:, ::-1])


def test_stereo_shows_each_eye_the_frame(blank: Any) -> None:
    image, styled = noise(90, 160), bilateral.render(wild(9), noise(90, 160))
    both = drawn(blank, image, wild(9), (320, 90), stereo=True)
    assert_agree(both, np.hstack([styled, styled]))
    apart = drawn(blank, image, wild(9), (320, 90), stereo=True, shift=6)
    assert_agree(apart[:, :154], styled[:, 6:])
    assert_agree(apart[:, 166:], styled[:, :154])
    assert not apart[:, 154:166].any()


def test_stereo_keeps_split_and_odd_widths(blank: Any) -> None:
    image, styled = noise(40, 80), bilateral.render(wild(10), noise(40, 80))
    got = drawn(blank, image, wild(10), (161, 40), stereo=True, split=0.5)
    for left in (0, 81):
        np.testing.assert_array_equal(got[:, left : left + 40], image[:, :40])
        assert_agree(got[:, left + 40 : left + 80], styled[:, 40:])
    assert not got[:, 80].any()


def test_barrel_follows_its_formula(blank: Any) -> None:
    image = cv2.GaussianBlur(noise(200, 200), (0, 0), 4)
    got = drawn(blank, image, None, barrel=True, k1=0.2, k2=0.1)
    y, x = np.mgrid[:200, :200] + 0.5
    r2 = ((x - 100) ** 2 + (y - 100) ** 2) / 100**2
    bend = 1 + 0.2 * r2 + 0.1 * r2**2
    source_x, source_y = 100 + (x - 100) * bend, 100 + (y - 100) * bend
    inside = (np.minimum(source_x, source_y) >= 0) & (np.maximum(source_x, source_y) <= 200)
    maps = [(source - 0.5).astype(np.float32) for source in (source_x, source_y)]
    expected = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert_agree(got, np.where(inside[..., None], expected, 0).astype(np.uint8))
    assert 0.1 < 1 - inside.mean() < 0.4


def test_frame_fills_the_screen_or_is_seen_whole(blank: Any) -> None:
    image = np.full((60, 80, 3), 200, np.uint8)
    assert (drawn(blank, image, None, (200, 100)) == 200).all()
    whole = drawn(blank, image, None, (200, 60), whole=True)
    assert (whole[:, 60:140] == 200).all()
    assert not whole[:, :60].any()
    assert not whole[:, 140:].any()


@pytest.mark.parametrize(("height", "width"), [(360, 640), (179, 321), (720, 1280), (100, 80)])
def test_thumbnail_is_the_one_of_the_runtime(blank: Any, height: int, width: int) -> None:
    image = cv2.GaussianBlur(noise(height, width), (0, 0), 1)
    flat = bytes_of(blank.evaluate(SHRINK, given(image, None)))
    got, expected = flat.reshape(256, 256, 3).astype(int), resized_square(image, 256).astype(int)
    assert np.abs(got - expected).mean() < 1
    assert np.abs(got - expected).max() <= 12  # the runtime's takes a bilinear step first


def test_renderer_survives_a_reset_of_the_driver(blank: Any) -> None:
    image = noise(48, 64)
    assert_agree(drawn(blank, image, wild(11), script=RESTORE), bilateral.render(wild(11), image))
