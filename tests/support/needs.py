"""What tests of the page and of the window need of the machine. Without it they skip; where everything is to be tested
they fail: HUEGLASS_TEST_ALL=1, which .ci/run sets, so that no run is green for want of a browser."""

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

TEST_ALL = "HUEGLASS_TEST_ALL"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREEN = ("Xvfb", "xdotool")


def needs_browser() -> str:
    """The path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or _missing("Chromium is")


def needs_screen() -> None:
    """A virtual screen, and what presses keys on it."""
    if absent := [program for program in SCREEN if shutil.which(program) is None]:
        _missing(f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'}")


def needs_package(name: str) -> Any:
    """The module of that name, of a package of the extras `web` or `dev`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return _missing(f"the package {name.split('.')[0]} is")


def _missing(what: str) -> NoReturn:
    """Ends the test, or the module that is being imported."""
    reason = f"{what} not on this machine"
    if os.environ.get(TEST_ALL) == "1":
        pytest.fail(f"{reason}, and {TEST_ALL}=1 lets no test skip for that", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
