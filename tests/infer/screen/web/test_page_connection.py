"""The page when its server goes, fails, falls silent or comes back another one; and with the real one."""

import itertools
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from support.browser import (
    PageServer,
    text_of,
    until,
)
from support.needs import needs_package
from support.web_page import DROP, HEIGHT, LOOKS, WIDTH, assert_agree, same_frame, wait_for_grids

from hueglass.commands.serve import ServeOptions
from hueglass.infer.grid import bilateral
from hueglass.infer.model.bundle import ModelBundle
from hueglass.jobs.serve import build_server


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


def real_server(host: str, bundle: ModelBundle) -> Any:
    for package in ("starlette", "uvicorn", "cryptography", "segno"):
        needs_package(package)
    return build_server(ServeOptions(host=host, port=0, look=["sunset", "moonlight"]), bundle)


def shown_by_server(page: Any) -> np.ndarray:
    """The grid on the screen, once it is seen that the screen is what the reference makes of it."""
    wait_for_grids(page)
    plain, styled, grid = same_frame(page)
    assert_agree(styled, bilateral.render(grid, plain))
    return grid


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
