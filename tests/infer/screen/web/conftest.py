"""Servers of the page for the tests beside this file: the real one, and a stand-in with given grids for the browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.browser import (
    WEBGL,
    PageServer,
    camera,
    chromium,
    playwright,
    serving,
    write_mjpeg,
)
from support.streets import picture_of_street
from support.web_page import HEIGHT, LOOKS, PHOTO, WIDTH

from hueglass.infer.model.bundle import ModelBundle

if TYPE_CHECKING:
    from support.web_server import Served


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page and what is no part of it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "app.js").write_text("export {};")
    (folder / "secret.py").write_text("no part of the page")
    (folder.parent / "outside.js").write_text("no part of the page either")
    return folder


@pytest.fixture(scope="module")
def served(bundle: ModelBundle, page: Path) -> "Iterator[Served]":
    """One server for all that leaves it as it was."""
    from support.web_server import starting  # not above: it skips where the extra `web` is missing

    with contextmanager(starting)(bundle, page) as begin:
        yield begin()


@pytest.fixture
def start(bundle: ModelBundle, page: Path) -> "Iterator[Callable[..., Served]]":
    """Starts servers of a test's own, and ends them after it."""
    from support.web_server import starting

    yield from starting(bundle, page)


# ---- the page in a browser


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
