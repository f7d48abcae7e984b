"""The page in a real browser, on a camera that plays a clip: looks, photographs, controls, clips."""

import io
from collections.abc import Callable
from typing import Any

import av
import cv2
import numpy as np
import pytest
from support.browser import (
    PageServer,
    picture_of,
    text_of,
    until,
)
from support.places import ROOT
from support.web_page import DROP, HEIGHT, LOOKS, PHOTO, TO_TEXT, WIDTH, assert_agree, noise, same_frame, wait_for_grids

from hueglass.infer.grid import bilateral
from hueglass.infer.resize import resized_square

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


def test_page_needs_no_other_host() -> None:
    """Nothing in the page's files names another one, or puts script or style into the document."""
    for file in (ROOT).glob("infer/screen/web/page/*.*"):
        text = file.read_text()
        assert "http://" not in text.replace("http://localhost", "") or file.suffix == ".svg"
        assert "onclick=" not in text
        assert " style=" not in text
