"""Which camera the page opens, and what it says where something is missing."""

from collections.abc import Callable
from typing import Any

import pytest
from support.browser import (
    NO_CAMERA,
    NO_WEBGL,
    REFUSED,
    WEBGL,
    PageServer,
    chromium,
    until,
)
from support.web_page import wait_for_grids

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
