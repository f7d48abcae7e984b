"""TensorRT engines: what is built, what the cache gives back, and what it must never give back.

TensorRT and CuPy are stand-ins (fake_tensorrt.py); tests marked `gpu` use the real ones.
"""

import json
import re
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from support.fake_tensorrt import TIMINGS, Engine, Machine, fake_cupy, fake_tensorrt, install, small_graph
from support.places import ROOT

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.network import engine_cache as engines
from hueglass.infer.network.engine_cache import build_engine, cache_folder, load_engine, unavailable

BUILDING = "building a TensorRT engine for"
OPEN = (1, 3, "h", "w")
PROFILE = {"picture": ((1, 3, 2, 2), (1, 3, 8, 8), (1, 3, 16, 16))}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of engines."""
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture(params=["10.13.0.35", "11.4.0.106"], ids=["10", "11"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def tensorrt(monkeypatch: pytest.MonkeyPatch, machine: Machine, version: str) -> None:
    install(monkeypatch, machine, version)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "small.onnx")


def built(path: Path, **options: object) -> Engine:
    """An engine that had to be built, with nothing to complain of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = load_engine(path, **options)  # type: ignore[arg-type]
    assert [BUILDING in str(w.message) for w in caught] == [True]
    return engine


def found(path: Path, **options: object) -> Engine:
    """An engine of the cache: nothing is said and nothing is built."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_engine(path, **options)  # type: ignore[arg-type]


def refused(kind: type[HueglassError], *arguments: object, **options: object) -> str:
    """The one line that `build_engine` fails with."""
    with pytest.raises(HueglassError) as caught:
        build_engine(*arguments, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_networks_are_strongly_typed_in_every_version(graph: Path, machine: Machine, version: str) -> None:
    build_engine(graph)
    (build,) = machine.builds
    assert build.typed
    assert build.creation == (0b10 if version.startswith("10") else 0)
    assert (build.flags, build.workspace, build.profile, build.timings) == (set(), None, {}, None)


def test_options_reach_the_builder(graph: Path, machine: Machine) -> None:
    build_engine(graph, precision="tf32", workspace=1 << 20)
    assert (machine.builds[0].flags, machine.builds[0].workspace) == ({"TF32"}, 1 << 20)


def test_an_engine_gives_the_first_output_alone(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(small_graph(tmp_path / "two.onnx", then="Relu")))
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("scaled", 1, (1, 3, 4, 4)))
    onnx.save(model, tmp_path / "two.onnx")
    engine = built(tmp_path / "two.onnx")
    assert [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)] == ["picture", "scaled"]


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


def engine_file(cache: Path) -> Path:
    (path,) = cache.glob("*.engine")
    return path


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
    digest = engines.hashlib.sha256(path.read_bytes()).hexdigest()
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
    real = engines._deserialised
    monkeypatch.setattr(engines, "_deserialised", lambda trt, data: loaded.append(data) or real(trt, data))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="checksum"):
        load_engine(graph)
    assert len(loaded) == 1
    assert loaded[0] != bad


def test_two_that_build_at_once(graph: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins and ends while the first builds; then the engine of one lies beside the record of the other."""
    real = engines._built

    def slow(*arguments: object) -> bytes:
        monkeypatch.setattr(engines, "_built", real)
        assert built(graph).model is not None
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "_built", slow)
    assert built_or_found(graph).model == found(graph).model
    path = engine_file(cache)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "engine_sha256": 64 * "0"}))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="checksum"):
        load_engine(graph)
    found(graph)
    assert not [p for p in cache.iterdir() if ".part" in p.name]


AT_ONCE = """
import sys, warnings
from pathlib import Path
import pytest
from support.fake_tensorrt import Machine, install
from hueglass.infer.network.engine_cache import load_engine

install(pytest.MonkeyPatch(), Machine())
print("ready", flush=True)
sys.stdin.readline()
warnings.simplefilter("ignore")
for turn in range(40):
    assert load_engine(Path(sys.argv[1])).model is not None
    if turn % 4 == int(sys.argv[2]):  # so that there is always somebody building
        for path in Path(sys.argv[3]).glob("small-*"):
            path.unlink(missing_ok=True)
"""


@pytest.mark.parametrize("version", ["10.13.0.35"])
def test_processes_that_build_at_once(graph: Path, cache: Path) -> None:
    command = [sys.executable, "-c", AT_ONCE, str(graph)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    several = [
        subprocess.Popen([*command, str(i), str(cache)], cwd=ROOT / "tests", text=True, **pipes)  # type: ignore[call-overload]
        for i in range(3)
    ]
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in several:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    built_or_found(graph)
    found(graph)
    assert not [path for path in cache.iterdir() if ".part" in path.name]


def built_or_found(path: Path) -> Engine:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_engine(path)


def test_a_build_that_fails_leaves_nothing(graph: Path, machine: Machine, cache: Path) -> None:
    machine.fails.add("build")
    with pytest.raises(HueglassError, match=r"small\.onnx: TensorRT cannot build it: Error Code 10.* for node"):
        built_or_found(graph)
    assert not cache.exists()


def test_an_engine_that_cannot_be_loaded_is_not_kept(graph: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_deserialised", lambda trt, data: None)
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


@pytest.mark.parametrize("content", [b"nonsense", TIMINGS + b'["another GPU", 7]'])
def test_timings_of_others_are_begun_anew(graph: Path, tmp_path: Path, machine: Machine, content: bytes) -> None:
    timings = tmp_path / "timings"
    timings.write_bytes(content)
    build_engine(graph, timing_cache=timings)
    assert machine.builds[-1].timings == 0
    build_engine(graph, timing_cache=timings)
    assert machine.builds[-1].timings == 1


def test_a_layer_that_tensorrt_lacks_is_named(tmp_path: Path, machine: Machine) -> None:
    machine.unsupported.add("Relu")
    line = refused(HueglassError, small_graph(tmp_path / "small.onnx", then="Relu"))
    assert "small.onnx: node the_last (Relu): TensorRT cannot read it: No importer registered for op: Relu. Att" in line


def test_what_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    expected = "no.onnx: TensorRT cannot read it: Failed to parse ONNX model from the buffer."
    assert expected in refused(HueglassError, tmp_path / "no.onnx")


def test_missing_files(tmp_path: Path) -> None:
    assert "none.onnx: no such file" in refused(UsageError, tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "empty.onnx: is empty" in refused(HueglassError, tmp_path / "empty.onnx")
    with pytest.raises(UsageError, match="no such file"):
        load_engine(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (None, "input 'picture' is (1, 3, ?, ?), expected a profile"),
        ({"other": PROFILE["picture"]}, "input 'picture' is (1, 3, ?, ?), expected a profile"),
        ({**PROFILE, "other": PROFILE["picture"]}, "no input 'other' with open sizes"),
        ({"picture": ((1, 3, 8, 8), (1, 3, 2, 2), (1, 3, 16, 16))}, "profile (1, 3, 8, 8) to (1, 3, 2, 2) to"),
        ({"picture": ((1, 4, 8, 8),) * 3}, "rising sizes that fit (1, 3, ?, ?)"),
        ({"picture": ((1, 3, 0, 8),) * 3}, "rising sizes that fit (1, 3, ?, ?)"),
        ({"picture": ((3, 8, 8),) * 3}, "rising sizes that fit (1, 3, ?, ?)"),
        ({"picture": ((1, 3, 8, 8),) * 2}, "rising sizes that fit (1, 3, ?, ?)"),
    ],
)
def test_profiles_that_do_not_fit(tmp_path: Path, profile: dict | None, expected: str) -> None:
    line = refused(UsageError, small_graph(tmp_path / "open.onnx", OPEN), profile)
    assert f"open.onnx: {expected}" in line or (expected in line and "open.onnx: " in line)


def test_a_profile_for_fixed_sizes_is_refused(graph: Path) -> None:
    assert "no input 'picture' with open sizes" in refused(UsageError, graph, {"picture": ((1, 3, 4, 4),) * 3})


def test_unknown_precision(graph: Path) -> None:
    assert "precision 'fp16', expected one of as-written, tf32" in refused(UsageError, graph, precision="fp16")


def test_out_of_memory_names_the_remedy(graph: Path, machine: Machine) -> None:
    machine.fails.add("build memory")
    line = refused(HueglassError, graph)
    assert "OutOfMemory" in line
    assert line.endswith("close what else uses the GPU, or take --device cpu")


def test_no_driver(graph: Path, machine: Machine, version: str) -> None:
    machine.driver = False
    assert f"TensorRT {version} cannot be used here: CUDA initialization failure" in refused(HueglassError, graph)
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
    assert 'pip install "hueglass[tensorrt]"' in refused(HueglassError, graph)
    assert "hueglass[tensorrt]" in str(unavailable())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import no_such_module_of_theirs", "TensorRT cannot be loaded: No module named 'no_such_module_of_theirs'"),
        ("raise OSError('libnvinfer.so.10: cannot open')", "TensorRT cannot be loaded: libnvinfer.so.10: cannot open"),
        ("__version__ = '8.6.1'", "TensorRT 8.6.1, expected 10 or 11"),
        ("__version__ = '12.0'", "TensorRT 12.0, expected 10 or 11"),
    ],
)
def test_packages_that_cannot_be_used(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tensorrt.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "tensorrt")
    line = refused(HueglassError, graph)
    assert expected in line
    assert line.endswith('pip install "hueglass[tensorrt]"')
    sys.modules.pop("tensorrt", None)


def test_usable() -> None:
    assert unavailable() is None


def test_errors_are_those_of_the_last_try(graph: Path, machine: Machine) -> None:
    """TensorRT keeps one logger for a process: what it said of one graph is not to be said of the next."""
    machine.fails.add("build")
    assert "ForeignNode" in refused(HueglassError, graph)
    machine.fails = {"build memory"}
    assert "ForeignNode" not in refused(HueglassError, graph)


def test_errors_that_nothing_came_of_are_not_blamed(graph: Path, machine: Machine, cache: Path) -> None:
    trt = engines.import_tensorrt()
    log = engines._log(trt)
    built(graph)
    log.log(trt.ILogger.ERROR, "of long ago")
    whole_but_foreign(engine_file(cache))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="cannot load it: IRuntime"):
        load_engine(graph)
    log.log(trt.ILogger.ERROR, "of long ago")
    log.log(trt.ILogger.WARNING, "no error")
    machine.fails = {"build"}
    assert "cannot build it: Error Code 10" in refused(HueglassError, graph)


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


def test_the_stand_ins_are_strict(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """What code for TensorRT gets wrong most often is noticed here."""
    machine = Machine()
    eleven, cupy = fake_tensorrt("11.4", machine), fake_cupy(machine)
    assert not hasattr(eleven.BuilderFlag, "FP16")
    assert not hasattr(eleven.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")
    ten = fake_tensorrt("10.13", machine)
    log = ten.ILogger()
    builder = ten.Builder(log)
    log.log = lambda severity, message: messages.append(message)  # type: ignore[attr-defined]
    messages: list[str] = []
    assert _build(ten, builder, log, graph, 0b10, "FP16") is None
    assert "strongly typed" in messages.pop()
    engine = ten.Runtime(log).deserialize_cuda_engine(_build(ten, builder, log, graph, 0b10))
    context, stream = engine.create_execution_context(), cupy.cuda.Stream(non_blocking=True)
    assert not context.set_input_shape("picture", (1, 3, 5, 4))
    assert not context.set_tensor_address("Picture", 0)
    assert not context.execute_async_v3(stream.ptr)
    array = cupy.empty((1, 3, 4, 4), np.float32)
    context.set_tensor_address("picture", array.data.ptr)
    context.set_tensor_address("scaled", array.data.ptr + 256)
    with pytest.raises(AssertionError, match="no memory"):
        context.execute_async_v3(stream.ptr)
    with pytest.raises(TypeError):
        array.set(np.zeros((1, 3, 4, 4)))
    late = array.get(stream=stream)
    assert (late == 77).all()
    stream.synchronize()
    assert (late != 77).all()


def _build(trt: ModuleType, builder: object, log: object, graph: Path, creation: int, flag: str = "") -> object:
    network = builder.create_network(creation)  # type: ignore[attr-defined]
    parser = trt.OnnxParser(network, log)
    assert parser.parse(graph.read_bytes())
    config = builder.create_builder_config()  # type: ignore[attr-defined]
    if flag:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    return builder.build_serialized_network(network, config)  # type: ignore[attr-defined]
