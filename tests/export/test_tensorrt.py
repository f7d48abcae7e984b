"""Engines of a bundle ahead of their use: all graphs but the CPU's, the portable one for 720p to 4K."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hueglass.export import tensorrt
from hueglass.infer.errors import HueglassError
from hueglass.infer.model.manifest import EMBEDDED, MANIFEST, PORTABLE, STUDENT, read_manifest
from hueglass.infer.network.engine_cache import unavailable


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What engines are asked for, on a machine that has a GPU."""
    asked: dict[str, object] = {}
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: None)
    monkeypatch.setattr(tensorrt, "current_gpu", lambda: SimpleNamespace(name="a GPU"))
    monkeypatch.setattr(tensorrt, "load_engine", lambda path, profile: asked.update({path.name: profile}))
    return asked


def test_every_graph_gets_an_engine_but_the_cpus(built: dict[str, object]) -> None:
    names = list(tensorrt.build_engines(EMBEDDED))
    assert names == list(built)
    assert set(names) == {name for name in read_manifest(EMBEDDED).graphs if "int8" not in name}
    sizes = ((1, 3, 720, 1280), (1, 3, 1080, 1920), (1, 3, 2160, 3840))
    open_sizes = {name: profile for name, profile in built.items() if profile is not None}
    assert open_sizes == {"portable.onnx": {"frame": sizes}, "portable.fp16.onnx": {"frame": sizes}}


def test_a_damaged_graph_is_not_built(built: dict[str, object], tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "b", ignore=shutil.ignore_patterns("looks", "*.py", "__pycache__"))
    (tmp_path / "b" / STUDENT).write_bytes(b"no graph")
    with pytest.raises(HueglassError, match=f"{STUDENT}: is not the graph"):
        list(tensorrt.build_engines(tmp_path / "b"))
    assert STUDENT not in built


def test_a_portable_graph_of_frozen_size_is_named(tmp_path: Path) -> None:
    manifest = json.loads((EMBEDDED / MANIFEST).read_text())
    manifest["graphs"][PORTABLE]["inputs"]["frame"] = [1, 3, 270, 480]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(HueglassError, match=r"portable\.onnx: has open sizes in no input, expected in frame"):
        tensorrt.profile_of(PORTABLE, read_manifest(tmp_path))


@pytest.mark.skipif(unavailable() is None, reason="there is a GPU")
def test_without_a_gpu_nothing_is_built() -> None:
    with pytest.raises(HueglassError, match=r"TensorRT|CuPy|GPU"):
        next(tensorrt.build_engines(EMBEDDED))


@pytest.mark.skipif(unavailable() is None, reason="there is a GPU")
@pytest.mark.parametrize("command", ["photo", "video"])
def test_a_device_that_is_not_here_is_refused_in_one_line(run: Callable, tmp_path: Path, command: str) -> None:
    (tmp_path / "in.png").write_bytes(b"")
    outcome = run(command, tmp_path / "in.png", tmp_path / "out.mp4", "--look", "sunset", "--device", "tensorrt")
    assert outcome.status in (1, 2)
    assert outcome.err.startswith("hueglass: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (why := unavailable()) is not None:
        pytest.skip(why)
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path))
    assert STUDENT in list(tensorrt.build_engines(EMBEDDED))
    assert list((tmp_path / "engines").glob("student-*.engine"))


@pytest.mark.skipif(unavailable() is None, reason="there is a GPU")
def test_an_export_with_engines_is_refused_before_the_long_work(run: Callable, tmp_path: Path) -> None:
    outcome = run("export", EMBEDDED, "-o", tmp_path / "b", "--tensorrt")
    assert outcome.status == 1
    assert outcome.err.startswith("hueglass: --tensorrt: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "b").exists()
