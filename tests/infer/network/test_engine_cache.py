"""The cache of TensorRT engines: what it gives back, and what it must never give back.

TensorRT and CuPy are stand-ins.
"""

import hashlib
import json
import re
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import BUILDING, built, built_or_found, engine_file, found
from support.fake_cupy import Machine
from support.fake_tensorrt import install
from support.graphs import OPEN, PROFILE, small_graph

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.network import engine_cache, tensorrt_builder
from hueglass.infer.network.engine_cache import cache_folder, load_engine, unavailable

pytestmark = pytest.mark.usefixtures("tensorrt")


def test_an_engine_gives_the_outputs_that_are_wanted(tmp_path: Path) -> None:
    graph = small_graph(tmp_path / "two.onnx", then="Relu", both=True)
    for outputs, names in ((None, ["output 0", "output 1"]), (1, ["output 0"])):
        engine = built(graph, outputs=outputs)
        assert sorted(engine.get_tensor_name(i) for i in range(engine.num_io_tensors)) == [*names, "picture"]
        found(graph, outputs=outputs)


def test_the_second_time_nothing_is_built(graph: Path, machine: Machine, cache: Path) -> None:
    built(graph)
    files = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert found(graph).session.get_inputs()[0].name == "picture"
    assert len(machine.builds) == 1
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == files
    assert sorted(Path(name).suffix for name in files) == [".cache", ".engine", ".json"]


def test_the_record_says_what_an_engine_was_made_from(graph: Path, cache: Path, version: str) -> None:
    built(graph)
    (path,) = cache.glob("small-*.json")
    record = json.loads(path.read_text())
    assert (record["tensorrt"], record["gpu"], record["compute_capability"]) == (version, "NVIDIA Fake 9000", "9.0")
    assert (record["precision"], record["profile"]) == ("as-written", {})
    engine = path.with_suffix(".engine")
    assert stat.S_IMODE(engine.stat().st_mode) == stat.S_IMODE(graph.stat().st_mode)  # the umask's, for both


def change_graph(graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> dict:
    small_graph(graph, scale=3)
    return {}


def change_version(graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> dict:
    install(monkeypatch, machine, "11.9.1")
    return {}


def change_gpu(graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> dict:
    machine.gpu = "NVIDIA Fake 9000 Ti"
    return {}


def change_capability(graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> dict:
    machine.capability = "120"
    return {}


def change_precision(graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> dict:
    return {"precision": "tf32"}


@pytest.mark.parametrize(
    "change", [change_graph, change_version, change_gpu, change_capability, change_precision], ids=lambda f: f.__name__
)
def test_what_an_engine_depends_on_makes_another(
    graph: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, change: Callable, cache: Path
) -> None:
    """And the one before stays: whoever goes back finds it."""
    before = built(graph).model
    options = change(graph, machine, monkeypatch)
    after = built(graph, **options).model
    assert len(machine.builds) == 2
    assert (before == after) == (change is not change_graph)
    assert len(list(cache.glob("*.engine"))) == 2
    found(graph, **options)


def test_profiles_make_engines_of_their_own(tmp_path: Path, machine: Machine) -> None:
    graph = small_graph(tmp_path / "open.onnx", OPEN)
    built(graph, profile=PROFILE)
    assert machine.builds[0].profile == PROFILE
    built(graph, profile={"picture": 3 * ((1, 3, 8, 8),)})
    found(graph, profile=PROFILE)
    assert len(machine.builds) == 2


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lose_record(path: Path) -> None:
    path.with_suffix(".json").unlink()


def tear_record(path: Path) -> None:
    record = path.with_suffix(".json")
    record.write_text(record.read_text()[:-20])


def foreign_record(path: Path) -> None:
    record = path.with_suffix(".json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "gpu": "another"}))


def fuller_record(path: Path) -> None:
    record = path.with_suffix(".json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 2, "more": 1}))


def no_object(path: Path) -> None:
    path.with_suffix(".json").write_text("[]")


def whole_but_foreign(path: Path) -> None:
    """The checksum is right, and TensorRT cannot load it."""
    path.write_bytes(b"an engine of somebody else")
    record = path.with_suffix(".json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps({**json.loads(record.read_text()), "engine_sha256": digest}))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip_a_bit, "its checksum is wrong"),
        (truncate, "its checksum is wrong"),
        (empty, "its checksum is wrong"),
        (lose_record, "it or its record cannot be read"),
        (tear_record, "it or its record cannot be read"),
        (foreign_record, "its record is of another engine"),
        (fuller_record, "its record is of another engine"),
        (no_object, "its record is of another engine"),
        (whole_but_foreign, r"TensorRT cannot load it: .*magicTag failed"),
    ],
)
def test_what_does_not_agree_is_named_and_built_anew(
    graph: Path, machine: Machine, cache: Path, damage: Callable, why: str
) -> None:
    good = built(graph)
    path = engine_file(cache)
    whole, record = path.read_bytes(), path.with_suffix(".json").read_bytes()
    damage(path)
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match=f"{path.name}: not used: {why}"):
        again = load_engine(graph)
    assert again.model == good.model
    assert len(machine.builds) == 2
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == (whole, record)
    found(graph)


def test_what_fails_its_checks_is_never_shown_to_tensorrt(
    graph: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(graph)
    path = engine_file(cache)
    bad = path.read_bytes() + b"more"
    path.write_bytes(bad)
    loaded = []
    real = engine_cache.deserialised
    monkeypatch.setattr(engine_cache, "deserialised", lambda trt, data: loaded.append(data) or real(trt, data))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="checksum"):
        load_engine(graph)
    assert len(loaded) == 1
    assert loaded[0] != bad


def test_a_build_that_fails_leaves_nothing(graph: Path, machine: Machine, cache: Path) -> None:
    machine.fails.add("build")
    with pytest.raises(HueglassError, match=r"small\.onnx: TensorRT cannot build it: Error Code 10.* for node"):
        built_or_found(graph)
    assert not cache.exists()


def test_an_engine_that_cannot_be_loaded_is_not_kept(graph: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cache, "deserialised", lambda trt, data: None)
    with pytest.raises(HueglassError, match="built an engine that it cannot load"):
        built_or_found(graph)
    assert list(cache.glob("small-*")) == []


def test_a_cache_that_cannot_be_written_is_no_failure(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "file"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_engine(graph).model is not None
    building, timings, engine = (str(w.message) for w in caught)
    assert BUILDING in building
    assert re.search(r"file/engines/timing-.*\.cache: cannot be written: Not a directory", timings)
    assert re.search(r"file/engines/small-.*\.engine: cannot be written: Not a directory", engine)
    assert (tmp_path / "file").read_text() == "mine"


def test_timings_are_kept_for_all_graphs(graph: Path, tmp_path: Path, machine: Machine, cache: Path) -> None:
    built(graph)
    built(small_graph(tmp_path / "other.onnx", scale=5))
    assert [build.timings for build in machine.builds] == [0, 1]
    assert len(list(cache.glob("timing-*.cache"))) == 1
    machine.gpu = "another"
    built(graph)
    assert machine.builds[-1].timings == 0
    assert len(list(cache.glob("timing-*.cache"))) == 2


def test_errors_that_nothing_came_of_are_not_blamed(graph: Path, machine: Machine, cache: Path) -> None:
    trt = tensorrt_builder.import_tensorrt()
    log = tensorrt_builder._log(trt)
    built(graph)
    log.log(trt.ILogger.ERROR, "of long ago")
    whole_but_foreign(engine_file(cache))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="cannot load it: IRuntime"):
        load_engine(graph)
    log.log(trt.ILogger.ERROR, "of long ago")
    log.log(trt.ILogger.WARNING, "no error")
    machine.fails = {"build"}
    small_graph(graph, scale=9)
    with pytest.raises(HueglassError, match="cannot build it: Error Code 10"):
        built_or_found(graph)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"HUEGLASS_CACHE": "/else/where"}, "/else/where"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/hueglass"),
        ("linux", {"HOME": "/h"}, "/h/.cache/hueglass"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/hueglass"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/hueglass/cache"),
    ],
)
def test_cache_folder(platform: str, variables: dict, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUEGLASS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected)


def test_file_names_are_plain(tmp_path: Path, cache: Path) -> None:
    built(small_graph(tmp_path / ("sky & sea ü " + "x" * 100 + ".onnx")))
    assert engine_file(cache).name.startswith("sky_sea_")
    assert len(engine_file(cache).name) < 90


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(HueglassError, match=r"empty\.onnx: is empty"):
        load_engine(tmp_path / "empty.onnx")
    with pytest.raises(UsageError, match=r"none\.onnx: no such file"):
        load_engine(tmp_path / "none.onnx")


def test_no_driver(graph: Path, machine: Machine) -> None:
    machine.driver = False
    with pytest.raises(HueglassError, match=r"no GPU can be used here: cudaErrorInsufficientDriver: .*, expected"):
        load_engine(graph)
    reason = unavailable()
    assert reason is not None
    assert "no GPU can be used here" in reason


def test_no_packages(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(HueglassError, match=r'CuPy .*pip install "hueglass\[gpu\]"'):
        load_engine(graph)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "hueglass[tensorrt]" in str(unavailable())


def test_usable() -> None:
    assert unavailable() is None
