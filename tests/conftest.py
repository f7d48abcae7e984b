"""What several tests share: the command line run in this process, the embedded model, recipes for clips."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from hueglass import cli
from hueglass.infer.model.bundle import ModelBundle

# What a shell starts in the background ignores Ctrl-C, and so would all that is started here to be interrupted by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Outcome:
    """Exit status and all that was printed, by C libraries too."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line: `run("photo", path, ...)`."""

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hueglass", *map(str, arguments)])
        capfd.readouterr()
        status = cli._run()
        return Outcome(status, *capfd.readouterr())

    return command


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    return ModelBundle()


@pytest.fixture(scope="session")
def media() -> ModuleType:
    """The module media.py beside this file."""
    path = Path(__file__).with_name("media.py")
    module = sys.modules.get("media")
    if module is None:
        spec = spec_from_file_location("media", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
