"""The page in a real browser: its renderer against the numpy reference, and all of it on a camera that plays a clip."""

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest
from support.browser import (
    NO_CAMERA,
    NO_WEBGL,
    REFUSED,
    WEBGL,
    PageServer,
    bytes_of,
    camera,
    chromium,
    picture_of,
    playwright,
    serving,
    text_of,
    until,
    write_mjpeg,
)
from support.needs import needs_package
from support.places import ROOT
from support.streets import picture_of_street

from hueglass.commands.serve import ServeOptions
from hueglass.infer.grid import bilateral
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.resize import resized_square
from hueglass.jobs.serve import build_server

LEVELS = 2
SHARE = 0.001
"""The share of pixels that may be further from the reference than LEVELS."""
WIDTH, HEIGHT = 640, 360

TO_TEXT = """
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (array) => {
  let all = "";
  for (let k = 0; k < array.length; k += 32768) all += String.fromCharCode(...array.subarray(k, k + 32768));
  return btoa(all);
};
const shown = ({ width, height, pixels }) => ({ width, height, pixels: text(pixels) });
"""
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
SAME_FRAME = f"""() => {{ {TO_TEXT}
  const {{ renderer }} = window.hueglass, {{ strength }} = renderer;
  renderer.strength = 0;
  const plain = shown(renderer.readPixels());
  renderer.strength = strength;
  const {{ grid }} = renderer;
  return {{ plain, styled: shown(renderer.readPixels()), grid: text(new Uint8Array(grid.values.slice().buffer)) }};
}}"""
"""In one task, so that both pictures are of one frame and one grid."""

PAINT = f"""() => {{ {TO_TEXT}
  const {{ renderer }} = window.hueglass, {{ video }} = window.hueglass.source;
  const [width, height] = [video.videoWidth, video.videoHeight];
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(video, 0, 0);
  renderer.setFrame(video);
  const painted = new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
  return [shown({{ width, height, pixels: painted }}), shown(renderer.readPixels())];
}}"""
"""One frame of a video as a 2-D canvas shows it, and as the renderer does."""


def half(grid: np.ndarray) -> np.ndarray:
    """As the page gets it: every number rounded to a half float."""
    return grid.astype(np.float16).astype(np.float32)


def wild(seed: int, shape: tuple[int, ...] = bilateral.GRID_SHAPE) -> np.ndarray:
    """Neighbouring cells have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return half(bilateral.identity_grid(shape) + rng.normal(0, 0.7, shape))


def toned(red: float, green: float, blue: float) -> np.ndarray:
    """A grid that weighs the channels, more in the dark than in the light, and more at the left."""
    grid = bilateral.identity_grid().copy()
    depth, _, width = bilateral.GRID_SHAPE[:3]
    amount = np.linspace(1, 0.5, depth)[:, None, None] * np.linspace(1, 0.6, width)
    for entry, weight in ((0, red), (5, green), (10, blue)):
        grid[..., entry] += (weight - 1) * amount
    return half(grid)


LOOKS = {"gold": toned(1.2, 0.9, 0.5), "night": toned(0.4, 0.6, 1.1)}
PHOTO = toned(0.5, 1.3, 0.6)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_agree(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    far = np.abs(got.astype(int) - expected.astype(int)).max(axis=2) > LEVELS
    assert far.mean() <= SHARE


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [picture_of_street(0, index / 8, WIDTH, HEIGHT) for index in range(8)]


@pytest.fixture(scope="module")
def starter() -> Iterator[Any]:
    with playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(starter: Any, frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    clip = write_mjpeg(tmp_path_factory.mktemp("camera") / "street.mjpeg", frames)
    with chromium(starter, *WEBGL, *camera(clip)) as running:
        yield running


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving(LOOKS, PHOTO) as running:
        yield running


@pytest.fixture
def show(browser: Any, server: PageServer) -> Iterator[Callable[..., Any]]:
    """Opens the page: `show("?look=gold")`. Whatever the browser reports as an error fails the test."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    errors: list[str] = []

    def open_page(query: str = "", start: str = "") -> Any:
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        if start:
            page.add_init_script(start)
        page.goto(server.url + query)
        return page

    yield open_page
    context.close()
    # Chromium reports refused addresses by itself; some tests take the server away on purpose.
    assert [
        error for error in errors if "favicon" not in error and "404" not in error and "WebSocket" not in error
    ] == []


@pytest.fixture(scope="module")
def blank(browser: Any) -> Iterator[Any]:
    """A page that loads the page's modules and nothing else."""
    with serving(LOOKS, PHOTO) as running:
        page = browser.new_page()
        page.goto(running.url + "blank")
        yield page
        page.close()


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


# ---- the renderer against the reference


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


# ---- the page on a camera


def wait_for_grids(page: Any, count: int = 3) -> None:
    """Until that many more grids were shown."""
    before = page.evaluate("hueglass.counts.predicted")
    until(page, f"hueglass.counts.predicted >= {before + count}")


def same_frame(page: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame of the page as it is, as it is shown, and the grid between them."""
    answer = page.evaluate(SAME_FRAME)
    grid = bytes_of(answer["grid"]).view("<f2").astype(np.float32).reshape(bilateral.GRID_SHAPE)
    return picture_of(answer["plain"]), picture_of(answer["styled"]), grid


def test_page_restyles_the_camera(show: Callable[..., Any], server: PageServer, frames: list[np.ndarray]) -> None:
    page = show("?look=night")
    wait_for_grids(page)
    until(page, "hueglass.look === 'night'")
    wait_for_grids(page)
    plain, styled, grid = same_frame(page)
    np.testing.assert_array_equal(grid, LOOKS["night"])
    assert_agree(styled, bilateral.render(grid, plain))
    away = [np.abs(plain.astype(int) - frame.astype(int)).mean() for frame in frames]
    assert min(away) < 4  # JPEG and the camera's YCbCr cost that much
    seen = server.thumbnails[-1].astype(int)
    assert min(np.abs(seen - resized_square(frame, 256).astype(int)).mean() for frame in frames) < 4
    assert not page.is_visible("#message")


def test_video_is_uploaded_with_the_browsers_own_colours(
    show: Callable[..., Any], server: PageServer, frames: list[np.ndarray]
) -> None:
    server.files["/clip.webm"] = webm(frames)
    page = show("?clip=/clip.webm&strength=0")
    wait_for_grids(page)
    painted, uploaded = page.evaluate(PAINT)
    np.testing.assert_array_equal(picture_of(uploaded), picture_of(painted))


def test_choosing_a_look_fades_to_it(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    assert page.get_attribute("[data-look=gold]", "aria-pressed") == "true"
    page.click("[data-look=night]")
    wait_for_grids(page)
    assert server.said[-1] == {"type": "look", "name": "night", "fade": 0.6}
    np.testing.assert_array_equal(same_frame(page)[2], LOOKS["night"])
    page.keyboard.press("p")
    wait_for_grids(page)
    assert server.said[-1]["name"] == "gold"
    assert page.get_attribute("[data-look=gold]", "aria-pressed") == "true"


DROP = """(jpeg) => {
  const bytes = Uint8Array.from(atob(jpeg), (c) => c.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], "evening.jpg", { type: "image/jpeg" }));
  window.dispatchEvent(new DragEvent("dragover", { dataTransfer: files, cancelable: true }));
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
}"""


def test_a_dropped_photo_becomes_a_look(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    before = same_frame(page)[2]
    photo = noise(300, 3000)
    page.evaluate(DROP, text_of(cv2.imencode(".jpg", photo)[1]))
    page.wait_for_selector("[data-look=photo-1][aria-pressed=true]")
    wait_for_grids(page)
    sent = cv2.imdecode(np.frombuffer(server.uploads[0], np.uint8), cv2.IMREAD_COLOR)
    assert sent.shape[:2] == (205, 2048)
    plain, styled, grid = same_frame(page)
    np.testing.assert_array_equal(grid, PHOTO)
    assert not np.array_equal(grid, before)
    assert_agree(styled, bilateral.render(grid, plain))


def test_a_file_that_is_no_photo_is_refused_in_words(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    page.evaluate(DROP, text_of(np.zeros(100, np.uint8)))
    page.wait_for_selector("#notice:has-text('not a photo')")
    assert server.uploads == []


def test_controls_by_keys_and_pointer(show: Callable[..., Any]) -> None:
    page = show()
    wait_for_grids(page)
    page.keyboard.press("s")
    page.keyboard.press("m")
    page.keyboard.press("-")
    state = "(({ split, mirror, strength }) => [split, mirror, strength])(hueglass.renderer)"
    assert page.evaluate(state) == [0.5, True, 0.95]
    handle = page.locator("#split").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, 100)
    page.mouse.down()
    page.mouse.move(WIDTH / 4, 100, steps=4)
    page.mouse.up()
    assert page.evaluate("hueglass.renderer.split") == 0.25
    page.keyboard.press("?")
    assert page.locator("#keys dt").count() > 10
    page.keyboard.press("Escape")
    page.fill("#strength", "0")
    assert page.evaluate("hueglass.renderer.strength") == 0
    page.mouse.click(300, 60)
    page.wait_for_selector("#controls", state="hidden")
    page.mouse.click(300, 60)
    page.wait_for_selector("#controls", state="visible")


def test_targets_are_large_enough_for_fingers(show: Callable[..., Any]) -> None:
    page = show()
    wait_for_grids(page)
    page.click("#more")
    boxes = [target.bounding_box() for target in page.locator("button:visible, select:visible").all()]
    assert len(boxes) >= 8
    assert min(min(box["width"], box["height"]) for box in boxes) >= 44


AWAKE = "window.held = []; navigator.wakeLock.request = async (kind) => window.held.push(kind);"


def test_works_by_touch_and_stays_awake(browser: Any, server: PageServer) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    try:
        page = context.new_page()
        page.add_init_script(AWAKE)
        page.goto(server.url)
        wait_for_grids(page)
        page.tap("[data-look=night]")
        until(page, "hueglass.look === 'night'")
        page.tap("#splitting")
        assert page.evaluate("hueglass.renderer.split") == 0.5
        page.touchscreen.tap(60, 200)
        page.wait_for_selector("#controls", state="hidden")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("held") == ["screen"]
    finally:
        context.close()


def test_split_handle_moves_by_keys(show: Callable[..., Any]) -> None:
    page = show("?split=0.5&stereo=1")
    wait_for_grids(page)
    page.focus("#split")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("hueglass.renderer.split") == 0.48
    assert page.get_attribute("#split", "aria-valuenow") == "48"
    assert page.evaluate("hueglass.look") == "gold"  # the arrows were the handle's
    handle = page.locator("#split").bounding_box()
    assert handle["x"] + handle["width"] / 2 == pytest.approx(0.48 * WIDTH / 2, abs=1)  # over the left eye's picture


def test_frames_are_found_without_being_announced(show: Callable[..., Any]) -> None:
    page = show(start="delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    wait_for_grids(page)
    drawn_before = page.evaluate("hueglass.counts.drawn")
    until(page, f"hueglass.counts.drawn > {drawn_before + 5}")


def webm(frames: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_address_sets_up_a_kiosk(show: Callable[..., Any], server: PageServer, frames: list[np.ndarray]) -> None:
    server.files["/clip.webm"] = webm(frames)
    page = show("?clip=/clip.webm&look=night&stereo=1&shift=10&strength=0.5&controls=0&numbers=1")
    wait_for_grids(page)
    settings = "(({ stereo, shift, strength, size }) => [stereo, shift, strength, size])(hueglass.renderer)"
    assert page.evaluate(settings) == [True, 10, 0.5, [WIDTH, HEIGHT]]
    assert page.evaluate("hueglass.source.stream") is None
    assert not page.is_visible("#controls")
    page.wait_for_selector("#numbers:has-text('predicted')")
    wait_for_grids(page, 12)  # and round again: the clip has eight frames


def test_a_clip_picked_by_hand_plays(show: Callable[..., Any], frames: list[np.ndarray]) -> None:
    page = show()
    wait_for_grids(page)
    clip = {"name": "mine.webm", "mimeType": "video/webm", "buffer": webm(frames)}
    page.set_input_files("#clips", clip)
    until(page, "hueglass.source.address !== null && hueglass.source.stream === null")
    wait_for_grids(page)
    assert not page.is_visible("#message")


def test_a_lost_connection_is_taken_up_again(show: Callable[..., Any], server: PageServer) -> None:
    page = show("?look=night")
    wait_for_grids(page)
    server.said.clear()
    server.clients[0].close(1001, "restart")
    page.wait_for_selector("#message:has-text('restart')")
    page.wait_for_selector("#message", state="hidden")
    wait_for_grids(page)
    assert server.said == [{"type": "look", "name": "night", "fade": 0}]


def test_picture_moves_while_no_grid_comes(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    server.mute = True
    drawn_before = page.evaluate("hueglass.counts.drawn")
    until(page, f"hueglass.counts.drawn > {drawn_before + 10}")
    page.wait_for_selector("#message:has-text('stopped answering')", timeout=20000)
    server.mute = False
    wait_for_grids(page)
    assert not page.is_visible("#message")


def test_a_failing_network_is_told_until_it_works(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    server.failure = "the network is ill"
    page.wait_for_selector("#message:has-text('The network is ill')")
    server.failure = ""
    wait_for_grids(page)
    assert not page.is_visible("#message")
    assert len(server.clients) == 1


def test_a_look_that_a_new_server_lacks_is_told(show: Callable[..., Any], server: PageServer) -> None:
    page = show("?look=night")
    wait_for_grids(page)
    del server.looks["night"]
    server.clients[0].close(1001, "restart")
    page.wait_for_selector("#message:has-text('There is no look night')")
    wait_for_grids(page)
    page.wait_for_selector("#message", state="hidden")
    np.testing.assert_array_equal(same_frame(page)[2], LOOKS["gold"])


def test_another_model_wants_the_page_anew(show: Callable[..., Any], server: PageServer) -> None:
    page = show()
    wait_for_grids(page)
    server.looks = {name: grid[:4] for name, grid in server.looks.items()}
    server.clients[0].close(1001, "restart")
    page.wait_for_selector("#message:has-text('Reload the page')")


# ---- the real server


def real_server(host: str, bundle: ModelBundle) -> Any:
    for package in ("starlette", "uvicorn", "cryptography", "segno"):
        needs_package(package)
    return build_server(ServeOptions(host=host, port=0, look=["sunset", "moonlight"]), bundle)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # the second one: by TLS and with a token
def test_page_and_server_work_together(browser: Any, bundle: ModelBundle, host: str) -> None:
    served, link, _ = real_server(host, bundle)
    thread = threading.Thread(target=served.run)
    thread.start()
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, ignore_https_errors=True)
    try:
        page = context.new_page()
        page.goto(urlsplit(link)._replace(netloc=f"127.0.0.1:{served.port}").geturl())
        wait_for_grids(page)
        grids = [shown_by_server(page)]
        page.click("[data-look=moonlight]")
        until(page, "hueglass.look === 'moonlight'")
        page.wait_for_timeout(1500)
        grids.append(shown_by_server(page))
        page.evaluate(DROP, text_of(cv2.imencode(".jpg", np.full((300, 400, 3), (40, 90, 230), np.uint8))[1]))
        until(page, "document.querySelectorAll('#looks [data-look]').length === 3")
        page.wait_for_timeout(1500)
        grids.append(shown_by_server(page))
        assert min(np.abs(a - b).mean() for a, b in itertools.combinations(grids, 2)) > 0.01
        until(page, "[...document.images].every((image) => image.naturalWidth > 100)")
    finally:
        context.close()
        served.stop()
        thread.join()


def shown_by_server(page: Any) -> np.ndarray:
    """The grid on the screen, once it is seen that the screen is what the reference makes of it."""
    wait_for_grids(page)
    plain, styled, grid = same_frame(page)
    assert_agree(styled, bilateral.render(grid, plain))
    return grid


# ---- cameras, and what is missing

CHOOSE = """async ([cameras, remembered]) => {
  const { choose } = await import("/page/camera.js");
  return choose(cameras, remembered)?.deviceId ?? null;
}"""


@pytest.mark.parametrize(
    ("labels", "remembered", "chosen"),
    [
        (["Front Camera", "Back Camera"], None, 1),
        (["camera2 1, facing front", "camera2 0, facing back"], None, 1),
        (["Integrated Webcam", "Capture card"], None, None),
        (["Front Camera", "Back Camera"], {"id": "0", "label": "Front Camera"}, 0),
        (["Front Camera", "Back Camera"], {"id": "gone", "label": "Front Camera"}, 0),
        (["", ""], {"id": "gone", "label": ""}, None),
    ],
)
def test_camera_is_chosen_by_label(
    blank: Any, labels: list[str], remembered: dict[str, str] | None, chosen: int | None
) -> None:
    cameras = [{"deviceId": str(k), "label": label} for k, label in enumerate(labels)]
    expected = None if chosen is None else str(chosen)
    assert blank.evaluate(CHOOSE, [cameras, remembered]) == expected


ASKED = """
window.asked = [];
const really = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (wanted) => { window.asked.push(wanted.video); return really(wanted); };
"""


def test_one_camera_is_opened_and_a_choice_remembered(show: Callable[..., Any]) -> None:
    page = show(start=ASKED)
    wait_for_grids(page)
    assert [wanted["facingMode"] for wanted in page.evaluate("asked")] == [{"ideal": "environment"}]
    page.click("#more")
    until(page, "document.querySelectorAll('#camera option').length === 1")
    name = page.evaluate("document.querySelector('#camera').selectedOptions[0].value")
    page.evaluate("document.querySelector('#camera').dispatchEvent(new Event('change'))")
    until(page, "asked.length === 2")
    wait_for_grids(page)
    page.reload()
    wait_for_grids(page)
    assert [wanted["deviceId"] for wanted in page.evaluate("asked")] == [{"exact": name}]


def message(starter: Any, server: PageServer, *flags: str, url: str = "") -> str:
    """What the page says in a browser with these flags."""
    with chromium(starter, *flags) as running:
        page = running.new_page()
        page.goto(url or server.url)
        page.wait_for_selector("#message", state="visible")
        return str(page.inner_text("#message"))


def test_says_that_the_camera_is_refused(starter: Any, server: PageServer) -> None:
    said = message(starter, server, *WEBGL, *REFUSED)
    assert "not allowed" in said
    assert "Choose a clip" in said


def test_says_that_there_is_no_camera(starter: Any, server: PageServer) -> None:
    assert "No camera was found" in message(starter, server, *WEBGL, *NO_CAMERA)


def test_says_that_webgl_is_missing(starter: Any, server: PageServer) -> None:
    assert "WebGL2" in message(starter, server, *NO_WEBGL)


def test_says_that_https_is_missing(starter: Any, server: PageServer) -> None:
    resolver = "--host-resolver-rules=MAP insecure.test 127.0.0.1"
    assert "https://" in message(
        starter, server, *WEBGL, resolver, url=server.url.replace("127.0.0.1", "insecure.test")
    )


def test_says_that_the_server_is_gone(show: Callable[..., Any], server: PageServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(PageServer, "pipe", lambda self, request: None)
    page = show()
    page.wait_for_selector("#message:has-text('hueglass serve')")
    monkeypatch.undo()
    wait_for_grids(page)
    assert not page.is_visible("#message")


def test_page_needs_no_other_host() -> None:
    """Nothing in the page's files names another one, or puts script or style into the document."""
    for file in (ROOT).glob("infer/screen/web/page/*.*"):
        text = file.read_text()
        assert "http://" not in text.replace("http://localhost", "") or file.suffix == ".svg"
        assert "onclick=" not in text
        assert " style=" not in text
