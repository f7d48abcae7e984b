"""What several tests share: the command line run in this process, the embedded model, recipes for clips."""

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import support.media
from support.cuda_on_cpu import compile_kernels
from support.fake_cupy import FakeCupy, Machine
from support.streets import remember_streets

from hueglass import cli
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer

if TYPE_CHECKING:
    from support.target_world import World

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
        status = cli.run()
        return Outcome(status, *capfd.readouterr())

    return command


@pytest.fixture(scope="session", autouse=True)
def _streets_are_drawn_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        remember_streets(patch)
        yield


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    return ModelBundle()


@pytest.fixture(scope="session")
def media() -> ModuleType:
    """Recipes for clips."""
    return support.media


@pytest.fixture(scope="session")
def kernels_on_cpu(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """render.cu compiled for the CPU."""
    return compile_kernels(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def on_cpu(kernels_on_cpu: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    """CuPy made of numpy, in place of CuPy."""
    fake = FakeCupy(Machine(), kernels_on_cpu)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


@pytest.fixture
def stylizer(bundle: ModelBundle) -> Stylizer:
    """One for a camera, in the first of the embedded looks."""
    return Stylizer(bundle, find_look(embedded_looks()[0], bundle.manifest), smoother=Smoother())


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> "World":
    """A small world for the teacher, made once in a run."""
    pytest.importorskip("torch")
    from support.target_world import World

    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def made(world: "World", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the whole manifest of that world."""
    from support.target_world import made_in_batches

    return made_in_batches(world, tmp_path_factory.mktemp("made") / "s")
