"""A site and the looks on it, for the tests beside this file."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import WEBGL, camera, chromium, playwright, write_mjpeg
from support.site import NAMES, Handler, Site, built_site, complaints, headers_of
from support.streets import picture_of_street

from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, find_look
from hueglass.jobs.site import look_previews


@pytest.fixture(scope="session")
def street() -> np.ndarray:
    """(401, 700, 3) uint8."""
    return picture_of_street(3, 0, 700, 401)


@pytest.fixture(scope="session")
def streets(bundle: ModelBundle, street: np.ndarray) -> list[np.ndarray]:
    """Thumbnails (T, T, 3) uint8: five past which the camera moves, then one upside down and in other colours."""
    return [bundle.thumbnail(x) for x in (*(street[:, 12 * i : 12 * i + 640] for i in range(5)), street[::-1, :, ::-1])]


@pytest.fixture(scope="session")
def looks(bundle: ModelBundle) -> list[Look]:
    return [find_look(name, bundle.manifest) for name in NAMES]


@pytest.fixture(scope="session")
def previews(bundle: ModelBundle, looks: list[Look]) -> dict[str, bytes]:
    return look_previews(bundle, looks)


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> Path:
    return built_site(tmp_path_factory, bundle, looks, previews, regions=False)


@pytest.fixture(scope="session")
def built_with_regions(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> Path:
    return built_site(tmp_path_factory, bundle, looks, previews, regions=True)


@pytest.fixture(scope="module")
def browser(street: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """With a camera that shows the street."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    frame = np.ascontiguousarray(street[:360, :640])
    clip = write_mjpeg(tmp_path_factory.mktemp("camera") / "street.mjpeg", [frame])
    with playwright() as running, chromium(running, *WEBGL, *camera(clip)) as started:
        yield started


@pytest.fixture(scope="module", params=["plain", "isolated"])
def served(request: pytest.FixtureRequest, browser: Any) -> Iterator[Site]:
    """On a host that sends no headers, where the networks have one thread, and, with regions, on one that sends the
    site's."""
    regions = request.param == "isolated"
    folder: Path = request.getfixturevalue("built_with_regions" if regions else "built")
    handler = type("Host", (Handler,), {"extra": headers_of(folder) if regions else ()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page, problems = browser.new_page(viewport={"width": 320, "height": 180}), list[str]()
    page.set_default_timeout(30000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.extend(complaints(message)))
    page.goto(f"http://127.0.0.1:{server.server_port}/blank")
    assert page.evaluate("crossOriginIsolated") is (request.param == "isolated")
    yield Site(page, problems, regions)
    page.close()
    server.shutdown()
    server.server_close()
    assert problems == []
