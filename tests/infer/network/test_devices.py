"""The table of devices: what each row says is so, and a device that is not here is refused by the extra's name."""

import ast
import importlib
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from support.graphs import EMBEDDED_GRAPHS, PICTURE, TOLERANCE, assert_same, feeds, line_of
from support.places import ROOT

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.manifest import EMBEDDED
from hueglass.infer.network import onnx
from hueglass.infer.network.devices import BEST_FIRST, Device, Precision, check_precision, known_device
from hueglass.infer.network.graph import open_graph

NAMES = "cpu, cuda, tensorrt, ort-tensorrt, openvino, coreml, directml, auto"
REAL = [device for device in Device if device is not Device.AUTO]


def test_members_are_names_and_rows() -> None:
    assert ", ".join(Device) == NAMES
    assert Device("cuda") is Device.CUDA
    assert Device.CUDA == "cuda"
    assert f"{Device.CUDA}" == "cuda"
    assert known_device("ort-tensorrt").row.provider == "TensorrtExecutionProvider"
    assert [device for device in Device if device.row.renders_on == "cuda"] == ["cuda", "tensorrt", "ort-tensorrt"]
    assert BEST_FIRST == ("tensorrt", "cuda")


@pytest.mark.parametrize("device", REAL)
def test_a_row_names_what_is_there(device: Device) -> None:
    """An extra that exists, a module that runs graphs, a provider that is ONNX Runtime's."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert device.row.extra in extras
    assert device.row.install.startswith(f'pip install "hueglass[{device.row.extra}]"')
    runner = importlib.import_module(f"hueglass.infer.network.{device.row.runner}")
    assert callable(runner.open_on)
    assert callable(runner.missing)
    if device.row.runner == "onnx":
        assert device.row.provider in onnxruntime.get_all_providers()


def test_the_table_is_light() -> None:
    tree = ast.parse((ROOT / "infer/network/devices.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"hueglass.infer.errors", *sys.stdlib_module_names, "collections.abc"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


@pytest.mark.parametrize("device", REAL)
def test_a_device_is_had_or_refused(device: Device, graph: Path) -> None:
    """As this machine has it. Nothing falls back."""
    missing = importlib.import_module(f"hueglass.infer.network.{device.row.runner}").missing(device)
    if missing is not None:
        line = line_of(lambda: open_graph(graph, device))
        assert "pip install" in line or "no GPU can be used here" in line
        return
    try:
        network = open_graph(graph, device)
    except HueglassError:
        return
    assert network.device == device
    assert_same(network(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize(
    ("device", "remedy"),
    [
        ("cuda", 'pip install "hueglass[gpu]"'),
        ("openvino", 'pip install "hueglass[openvino]"'),
        ("coreml", 'pip install "hueglass[cpu]" on macOS'),
        ("directml", 'pip install "hueglass[directml]" on Windows'),
    ],
)
def test_a_provider_that_is_not_here(graph: Path, device: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names what ONNX Runtime has, and the extra that brings what was asked for."""
    bare = SimpleNamespace(get_available_providers=lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", bare)
    expected = (
        f"device '{device}': not in this ONNX Runtime, which has cpu: {remedy}, with no other ONNX Runtime beside it"
    )
    assert line_of(lambda: open_graph(graph, device)) == expected
    assert onnx.missing(Device(device)) == expected
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert line_of(lambda: open_graph(graph, device)).startswith("ONNX Runtime is not installed: pip install")


def test_unknown_devices_and_precisions() -> None:
    assert line_of(lambda: known_device("tpu"), UsageError) == f"device 'tpu', expected one of {NAMES}"
    assert line_of(lambda: check_precision("fp8", "cpu"), UsageError) == (
        "precision 'fp8', expected one of fp32, fp16, int8"
    )


@pytest.mark.parametrize("device", Device)
def test_precisions_that_a_device_serves(device: Device) -> None:
    for precision in Precision:
        if precision in device.row.precisions:
            assert check_precision(precision, device) is precision
        else:
            line = line_of(lambda precision=precision: check_precision(precision, device), UsageError)
            assert line.startswith(f"precision {precision} on device '{device}', expected fp32")
    assert ("int8" in device.row.precisions) == (device in ("cpu", "auto"))


class Recorder:
    """ONNX Runtime with one more provider, which computes on the CPU and has no layer that is `foreign` to it."""

    def __init__(self, provider: str, foreign: bool = False) -> None:
        self.provider, self.foreign, self.asked = provider, foreign, []  # type: ignore[var-annotated]
        self.SessionOptions = onnxruntime.SessionOptions

    def get_available_providers(self) -> list[str]:
        return [self.provider, "CPUExecutionProvider"]

    def set_default_logger_severity(self, severity: int) -> None: ...

    def InferenceSession(self, path: str, options: object, providers: list, enable_fallback: int = 1) -> object:
        assert not enable_fallback
        self.asked.append(providers[0])
        if self.foreign:
            onnxruntime.InferenceSession(path, options, providers=[], enable_fallback=0)  # refuses where it is told to
        real = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [self.provider, "CPUExecutionProvider"]
        there = {"get_inputs": real.get_inputs, "get_outputs": real.get_outputs, "run": real.run}
        return SimpleNamespace(get_providers=lambda: names, **there)


@pytest.mark.parametrize("device", [Device.OPENVINO, Device.COREML, Device.DIRECTML])
def test_what_a_provider_is_told(graph: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Recorder(device.row.provider)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    network = open_graph(graph, device, threads=2)
    threads = {device.row.threads: "2"} if device.row.threads else {}
    assert runtime.asked == [(device.row.provider, {**device.row.settings, **threads})]
    assert network.device == device
    assert_same(network(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize("device", [Device.OPENVINO, Device.COREML, Device.DIRECTML])
def test_layers_that_a_provider_lacks_are_said(graph: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", Recorder(device.row.provider, foreign=True))
    with pytest.warns(UserWarning, match=f"small.onnx: some of its layers run on the CPU, the others on {device}"):
        open_graph(graph, device)


@pytest.mark.parametrize("device", [Device.OPENVINO, Device.COREML, Device.DIRECTML])
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_the_real_provider_agrees_with_the_cpu(name: str, device: Device) -> None:
    """Where it is installed: hueglass[openvino] in an environment of its own, macOS, Windows."""
    if (why := onnx.missing(device)) is not None:
        pytest.skip(why)
    graph, reference = open_graph(EMBEDDED / name, device), open_graph(EMBEDDED / name)
    assert graph.device == device
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        assert_same(graph(**inputs), reference(**inputs), atol=TOLERANCE)


def test_a_bundle_on_openvino() -> None:
    if (why := onnx.missing(Device.OPENVINO)) is not None:
        pytest.skip(why)
    for precision in ("fp32", "fp16"):
        assert ModelBundle(device="openvino", precision=precision).device == "openvino"
