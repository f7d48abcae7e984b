"""Tests of the page and of the window never skip unnoticed where everything is to be tested."""

import os
import subprocess
import sys

import pytest
from support.needs import BROWSERS, SCREEN, TEST_ALL, needs_browser, needs_package, needs_screen
from support.places import ROOT

PAGE = "test_says_that_the_server_is_gone"
WINDOW = "test_the_window_under_a_virtual_screen"
MISSING = {
    "Chromium is": needs_browser,
    "Xvfb and xdotool are": needs_screen,
    "the package nowhere is": lambda: needs_package("nowhere.at.all"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_skips(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(TEST_ALL, raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"^{what} not on this machine$"):
        MISSING[what]()


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_fails_where_all_is_to_be_tested(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(TEST_ALL, "1")
    with pytest.raises(pytest.fail.Exception, match=f"^{what} not on this machine, and {TEST_ALL}=1"):
        MISSING[what]()


def test_what_is_here_is_given(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("bin")
    for name in (BROWSERS[1], *SCREEN):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(TEST_ALL, "1")
    assert needs_browser() == str(folder / BROWSERS[1])
    needs_screen()
    assert needs_package("xml.dom").__name__ == "xml.dom"
    (folder / SCREEN[1]).unlink()
    with pytest.raises(pytest.fail.Exception, match=r"^xdotool is not on this machine"):
        needs_screen()


def _lying(test: str) -> str:
    """As pytest takes it, wherever it lies."""
    (path,) = (path for path in (ROOT / "tests").rglob("test_*.py") if f"def {test}(" in path.read_text())
    return f"{path.relative_to(ROOT)}::{test}"


def test_a_run_of_all_names_what_is_missing() -> None:
    """The real tests, on a machine with nothing to open a page or a window in: a line each, and no skip."""
    environment = {**os.environ, "PATH": "", TEST_ALL: "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-header", *map(_lying, (PAGE, WINDOW))]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout
    reasons = [line for line in done.stdout.splitlines() if "on this machine" in line and " - " not in line]
    assert [reason.split(" not")[0] for reason in reasons] == ["Chromium is", "Xvfb and xdotool are"]
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_continuous_integration_tests_all() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert script.index(f"export {TEST_ALL}=1\n") < script.index("\npytest\n")
