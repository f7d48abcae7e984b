"""The one door to CuPy, and the GPU behind it: what is missing is said in one line."""

import sys
from pathlib import Path

import pytest
from support.fake_cupy import FakeCupy, Machine
from support.graphs import line_of

from hueglass.infer.network.gpu import Gpu, cupy_with_gpu, current_gpu, import_cupy


@pytest.fixture
def cupy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> FakeCupy:
    fake = FakeCupy(machine)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_the_gpu_in_use(cupy: FakeCupy) -> None:
    assert import_cupy() is cupy
    assert cupy_with_gpu() is cupy
    assert current_gpu() == Gpu("NVIDIA Fake 9000", "9.0")


def test_no_driver(cupy: FakeCupy, machine: Machine) -> None:
    machine.driver = False
    assert import_cupy() is cupy
    expected = "no GPU can be used here: cudaErrorInsufficientDriver: CUDA driver version is insufficient"
    for door in (cupy_with_gpu, current_gpu):
        line = line_of(door)
        assert line.startswith(expected)
        assert line.endswith(", expected one with a working driver")


def test_no_device(cupy: FakeCupy) -> None:
    cupy.cuda.runtime.getDeviceCount = lambda: 0
    assert line_of(current_gpu) == "no GPU can be used here: none is there, expected one with a working driver"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, "CuPy is not installed"),
        ("import no_such_module_of_theirs", "CuPy cannot be loaded: No module named 'no_such_module_of_theirs'"),
        ("raise OSError('libcudart.so.13: cannot open')", "CuPy cannot be loaded: libcudart.so.13: cannot open"),
        ("raise ImportError('\\nNo libcudart.\\nReinstall.')", "CuPy cannot be loaded: No libcudart. Reinstall."),
    ],
)
def test_no_cupy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, expected: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    if source is not None:
        monkeypatch.delitem(sys.modules, "cupy")
        (tmp_path / "cupy.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
    for door in (import_cupy, cupy_with_gpu, current_gpu):
        assert line_of(door) == f'{expected}: pip install "hueglass[gpu]"'
