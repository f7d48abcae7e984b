"""`bench --device ...`: every stage of a frame's way is timed, and without the device it is one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_cupy import FakeCupy

from hueglass.bench import device as bench_device
from hueglass.infer.errors import HueglassError
from hueglass.infer.network.devices import Device
from hueglass.infer.network.engine_cache import unavailable
from hueglass.infer.network.gpu import cupy_with_gpu
from hueglass.infer.network.onnx import missing


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_device, "SIZES", {"small": (90, 160), "odd": (61, 83)})
    monkeypatch.setattr(bench_device, "WARM_UP", 1)
    monkeypatch.setattr(bench_device, "ROUNDS", 3)


@pytest.mark.usefixtures("small")
def test_every_stage_is_timed(run: Callable, tmp_path: Path, on_cpu: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network on the CPU, the renderer on a GPU that is a stand-in."""
    real = bench_device.ModelBundle
    monkeypatch.setattr(bench_device, "ModelBundle", lambda device, precision: real(precision=precision))
    monkeypatch.setattr(real, "device", Device.CUDA)
    outcome = run("bench", "--device", "cuda", "--json", tmp_path / "b.json")
    assert (outcome.status, outcome.err) == (0, "")
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["machine"] == "NVIDIA Fake 9000, network by cuda in fp32"
    assert len(report["results"]) == 2 * len(bench_device.NAMES)
    assert {r["stage"] for r in report["results"]} == set(bench_device.NAMES)
    assert all(0 < r["median_ms"] <= r["p95_ms"] for r in report["results"])
    assert on_cpu.machine.allocations > 2 * bench_device.ROUNDS  # frames were there


@pytest.mark.usefixtures("small")
def test_a_device_that_does_not_render(run: Callable, tmp_path: Path) -> None:
    if (why := missing(Device.OPENVINO)) is not None:
        pytest.skip(why)
    assert run("bench", "--device", "openvino", "--json", tmp_path / "b.json").status == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["machine"] == "network by openvino in fp32"
    assert {r["stage"] for r in report["results"]} == set(bench_device.NAMES) - {"upload", "download"}


@pytest.mark.skipif(unavailable() is None, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_without_a_gpu_it_is_one_line(run: Callable, device: str) -> None:
    outcome = run("bench", "--device", device)
    assert outcome.status == 1
    assert outcome.err.startswith("hueglass: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.gpu
def test_on_a_gpu(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        cupy_with_gpu()
    except HueglassError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(bench_device, "SIZES", {"small": (270, 480)})
    outcome = run("bench", "--device", "cuda", "--json", tmp_path / "b.json")
    assert outcome.status == 0
    assert all(r["median_ms"] > 0 for r in json.loads((tmp_path / "b.json").read_text())["results"])
