"""Which device a graph runs on: the one that was asked for or a refusal, and for "auto" the best that works.

TensorRT, CuPy, and CUDA in ONNX Runtime are stand-ins.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
from support.fake_cupy import Machine
from support.fake_onnxruntime import FakeOnnxRuntime
from support.graphs import PICTURE, PROFILE, assert_same, line_of, small_graph

from hueglass.infer.errors import UsageError
from hueglass.infer.network.devices import Device
from hueglass.infer.network.graph import open_graph
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.network.tensorrt import TensorRtGraph

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*building a TensorRT engine")


def chosen(path: Path, **options: Any) -> tuple[str, list[str]]:
    """The device that "auto" took, and the warnings of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = open_graph(path, "auto", **options)
    assert_same(graph(picture=PICTURE), [2 * PICTURE])
    assert isinstance(graph, TensorRtGraph) == (graph.device == "tensorrt")
    return graph.device, [str(w.message) for w in caught if "building a TensorRT engine" not in str(w.message)]


def test_auto_prefers_tensorrt(graph: Path, tensorrt: None, cuda: FakeOnnxRuntime) -> None:
    assert chosen(graph) == ("tensorrt", [])
    assert cuda.sessions == []


def test_auto_takes_cuda_where_tensorrt_is_missing(
    graph: Path, cuda: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert chosen(graph) == ("cuda", [])


def test_auto_takes_cuda_where_cupy_is_missing(
    graph: Path, tensorrt: None, cuda: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert chosen(graph) == ("cuda", [])


def test_auto_says_that_tensorrt_fails(graph: Path, tensorrt: None, machine: Machine, cuda: FakeOnnxRuntime) -> None:
    machine.unsupported.add("Mul")
    device, said = chosen(graph)
    assert device == "cuda"
    assert len(said) == 1
    assert "node scaling (Mul): TensorRT cannot read it" in said[0]
    assert said[0].endswith("; goes on without TensorRT")


def test_auto_with_open_sizes(open_sizes: Path, tensorrt: None, cuda: FakeOnnxRuntime) -> None:
    device, said = chosen(open_sizes)
    assert (device, len(said)) == ("cuda", 1)
    assert "expected a profile" in said[0]
    assert chosen(open_sizes, profile=PROFILE) == ("tensorrt", [])


@pytest.mark.parametrize("cuda", ["no libraries", "no driver"], indirect=True)
def test_auto_says_that_cuda_fails(graph: Path, cuda: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    device, said = chosen(graph)
    assert (device, len(said)) == ("cpu", 1)
    assert said[0].endswith("; goes on without CUDA")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cuda", ["no libraries"], indirect=True)
def test_auto_on_a_machine_without_a_gpu(graph: Path, tensorrt: None, machine: Machine, cuda: FakeOnnxRuntime) -> None:
    machine.driver = False
    assert chosen(graph)[0] == "cpu"


def test_auto_where_nothing_is_installed(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "cupy"):
        monkeypatch.setitem(sys.modules, name, None)
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    assert chosen(graph) == ("cpu", [])


@pytest.mark.parametrize("device", ["cpu", "cuda", "tensorrt", "auto"])
def test_as_many_outputs_as_are_wanted(tmp_path: Path, tensorrt: None, cuda: FakeOnnxRuntime, device: str) -> None:
    path = small_graph(tmp_path / "two.onnx", then="Neg", both=True)
    assert_same(open_graph(path, device)(picture=PICTURE), [2 * PICTURE, -2 * PICTURE])
    assert_same(open_graph(path, device, outputs=1)(picture=PICTURE), [2 * PICTURE])


def test_tensorrt_is_had_or_refused(
    graph: Path, tensorrt: None, machine: Machine, cuda: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_graph(graph, "tensorrt").device == "tensorrt"
    machine.driver = False
    assert "no GPU can be used here" in line_of(lambda: open_graph(graph, "tensorrt"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "hueglass[tensorrt]" in line_of(lambda: open_graph(graph, "tensorrt"))
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "hueglass[gpu]" in line_of(lambda: open_graph(graph, "tensorrt"))


def test_unknown_devices(graph: Path) -> None:
    expected = f"device 'tpu', expected one of {', '.join(Device)}"
    assert line_of(lambda: open_graph(graph, "tpu"), UsageError) == expected
    assert "expected one of cpu, cuda, ort-tensorrt" in line_of(lambda: OnnxGraph(graph, "tensorrt"), UsageError)


def test_missing_files(tmp_path: Path, tensorrt: None) -> None:
    for device in ("tensorrt", "auto"):
        expected = "none.onnx: no such file"
        assert expected in line_of(lambda device=device: open_graph(tmp_path / "none.onnx", device), UsageError)


def test_broken_files(tmp_path: Path, tensorrt: None) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    assert "no.onnx: TensorRT cannot read it" in line_of(lambda: open_graph(tmp_path / "no.onnx", "tensorrt"))
    assert "no.onnx: cannot be run: " in line_of(lambda: open_graph(tmp_path / "no.onnx"))
    with pytest.warns(UserWarning, match="goes on without TensorRT"):
        assert "no.onnx: cannot be run: " in line_of(lambda: open_graph(tmp_path / "no.onnx", "auto"))
