"""What the tests of this room share: graph files, a cache of their own, and stand-ins for a GPU and its libraries."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from support.fake_cupy import Machine
from support.fake_onnxruntime import FakeOnnxRuntime
from support.fake_tensorrt import install
from support.graphs import OPEN, small_graph


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of engines."""
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "small.onnx")


@pytest.fixture
def open_sizes(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "open.onnx", OPEN)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture(params=["10.13.0.35", "11.4.0.106"], ids=["10", "11"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tensorrt(machine: Machine, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, machine, version)


@pytest.fixture
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    """ONNX Runtime with CUDA, and with the fault that a test asks for."""
    runtime = FakeOnnxRuntime(getattr(request, "param", ""))
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    return runtime
