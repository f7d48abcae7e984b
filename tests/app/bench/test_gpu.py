"""`bench --device cuda`: its figures are right where the device's clock is known, and it is honest without a GPU."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.cupy_on_cpu import CupyOnCpu, array_module

from hueglass.bench import gpu as bench_cuda
from hueglass.infer.errors import HueglassError
from hueglass.infer.network import engine_cache as engines


class Clock:
    """A device on which every stage takes as many milliseconds as it was the how manieth."""

    def __init__(self) -> None:
        self.now = 0.0

    def event(self) -> Any:
        event = SimpleNamespace(at=0.0, synchronize=lambda: None)

        def record() -> None:
            self.now += 1.0
            event.at = self.now

        event.record = record
        return event


@pytest.fixture
def fake(on_cpu: CupyOnCpu, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy of numpy that also has events, and a GPU of that name."""
    clock = Clock()
    cuda = SimpleNamespace(
        Event=clock.event,
        get_elapsed_time=lambda begin, end: end.at - begin.at,
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    )
    made = array_module(on_cpu, cuda=cuda, empty=on_cpu.empty)
    monkeypatch.setattr(bench_cuda, "import_cupy", lambda: made)
    monkeypatch.setattr(bench_cuda, "current_gpu", lambda: SimpleNamespace(name="a GPU"))
    real = bench_cuda.ModelBundle
    monkeypatch.setattr(bench_cuda, "ModelBundle", lambda device, precision: real(precision=precision))
    monkeypatch.setattr(bench_cuda, "SIZES", {"small": (90, 160), "odd": (61, 83)})
    monkeypatch.setattr(bench_cuda, "WARM_UP", 1)
    monkeypatch.setattr(bench_cuda, "ROUNDS", 3)
    return made


@pytest.mark.usefixtures("fake")
def test_every_stage_is_timed_by_the_devices_clock(run: Callable, tmp_path: Path) -> None:
    outcome = run("bench", "--device", "cuda", "--json", tmp_path / "b.json")
    assert (outcome.status, outcome.err) == (0, "")
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["machine"] == "a GPU, network by cpu in fp32"
    assert len(report["results"]) == 2 * len(bench_cuda.NAMES)
    assert {r["stage"] for r in report["results"]} == set(bench_cuda.NAMES)
    assert {r["median_ms"] for r in report["results"]} == {1.0}
    assert "small: the renderer reaches 100% of a copy's speed" in outcome.out


@pytest.mark.skipif(engines.unavailable() is None, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_without_a_gpu_it_is_one_line(run: Callable, device: str) -> None:
    outcome = run("bench", "--device", device)
    assert outcome.status == 1
    assert outcome.err.startswith("hueglass: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.gpu
def test_on_a_gpu(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        engines.import_cupy()
    except HueglassError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(bench_cuda, "SIZES", {"small": (270, 480)})
    outcome = run("bench", "--device", "cuda", "--json", tmp_path / "b.json")
    assert outcome.status == 0
    assert all(r["median_ms"] > 0 for r in json.loads((tmp_path / "b.json").read_text())["results"])
