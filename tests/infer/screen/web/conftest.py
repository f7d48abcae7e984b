"""Servers of the page for the tests beside this file: the real one, and a stand-in with given grids for the browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
