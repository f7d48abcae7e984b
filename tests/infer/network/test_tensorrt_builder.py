"""Building TensorRT engines: what is asked of TensorRT, and one line that names the file where it fails.

TensorRT and CuPy are stand-ins.
"""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.fake_cupy import FakeCupy, Machine
from support.fake_tensorrt import TIMINGS, FakeTensorRt
from support.graphs import OPEN, PROFILE, REMEDY, small_graph

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.network.tensorrt_builder import build_engine

pytestmark = pytest.mark.usefixtures("tensorrt")


def built(path: Path, *arguments: object, **options: object) -> bytes:
    return build_engine(path, path.read_bytes(), *arguments, **options)  # type: ignore[arg-type]


def refused(kind: type[HueglassError], path: Path, *arguments: object, **options: object) -> str:
    """The one line that `build_engine` fails with."""
    with pytest.raises(HueglassError) as caught:
        built(path, *arguments, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_driver_to_build_with(graph: Path, machine: Machine, version: str) -> None:
    machine.driver = False
    assert f"TensorRT {version} cannot be used here: CUDA initialization failure" in refused(HueglassError, graph)


def test_no_package_to_build_with(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert 'pip install "hueglass[tensorrt]"' in refused(HueglassError, graph)


def test_networks_are_strongly_typed_in_every_version(graph: Path, machine: Machine, version: str) -> None:
    built(graph)
    (build,) = machine.builds
    assert build.typed
    assert build.creation == (0b10 if version.startswith("10") else 0)
    assert (build.flags, build.workspace, build.profile, build.timings) == (set(), None, {}, None)


def test_options_reach_the_builder(graph: Path, machine: Machine) -> None:
    built(graph, precision="tf32", workspace=1 << 20)
    assert (machine.builds[0].flags, machine.builds[0].workspace) == ({"TF32"}, 1 << 20)


@pytest.mark.parametrize("content", [b"nonsense", TIMINGS + b'["another GPU", 7]'])
def test_timings_of_others_are_begun_anew(graph: Path, tmp_path: Path, machine: Machine, content: bytes) -> None:
    timings = tmp_path / "timings"
    timings.write_bytes(content)
    built(graph, timing_cache=timings)
    assert machine.builds[-1].timings == 0
    built(graph, timing_cache=timings)
    assert machine.builds[-1].timings == 1


def test_a_layer_that_tensorrt_lacks_is_named(tmp_path: Path, machine: Machine) -> None:
    machine.unsupported.add("Relu")
    line = refused(HueglassError, small_graph(tmp_path / "small.onnx", then="Relu"))
    assert "small.onnx: node the_last (Relu): TensorRT cannot read it: No importer registered for op: Relu. Att" in line


def test_what_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no graph")
    expected = "no.onnx: TensorRT cannot read it: Failed to parse ONNX model from the buffer."
    assert expected in refused(HueglassError, tmp_path / "no.onnx")


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
    assert line.endswith(REMEDY)


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


def test_errors_are_those_of_the_last_try(graph: Path, machine: Machine) -> None:
    """TensorRT keeps one logger for a process: what it said of one graph is not to be said of the next."""
    machine.fails.add("build")
    assert "ForeignNode" in refused(HueglassError, graph)
    machine.fails = {"build memory"}
    assert "ForeignNode" not in refused(HueglassError, graph)


def test_the_stand_ins_are_strict(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """What code for TensorRT gets wrong most often is noticed here."""
    machine = Machine()
    eleven, cupy = FakeTensorRt("11.4", machine), FakeCupy(machine)
    assert not hasattr(eleven.BuilderFlag, "FP16")
    assert not hasattr(eleven.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")
    ten = FakeTensorRt("10.13", machine)
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
