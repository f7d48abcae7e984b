"""Graphs on every device: the same numbers everywhere, the device that was asked for or a refusal, one line for errors.

TensorRT, CuPy, and both in ONNX Runtime are stand-ins; tests marked `gpu` use the real ones where there is a GPU.
"""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from support.fake_tensorrt import Array, Machine, Stream, install, small_graph

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import EMBEDDED, LOOK_ENCODER, SEGMENTER, STUDENT, ModelBundle
from hueglass.infer.network import engine_cache as engines
from hueglass.infer.network.graph import DEVICES, GraphInput, OnnxGraph, TensorRtGraph, open_graph

EMBEDDED_GRAPHS = (STUDENT, LOOK_ENCODER, SEGMENTER)
OPEN = (1, 3, "h", "w")
PROFILE = {"picture": ((1, 3, 2, 2), (1, 3, 8, 8), (1, 3, 16, 16))}
PICTURE = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
REMEDY = "close what else uses the GPU, or take --device cpu"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "small.onnx")


@pytest.fixture
def open_sizes(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "open.onnx", OPEN)


def feeds(path: Path, seed: int) -> dict[str, np.ndarray]:
    """Random inputs of an embedded graph."""
    rng = np.random.default_rng(seed)
    return {x.name: rng.random([n or 1 for n in x.shape], np.float32) for x in OnnxGraph(path).inputs}


def line_of(call: Any, kind: type[HueglassError] = HueglassError) -> str:
    """What an error says, which has to be one line."""
    with pytest.raises(HueglassError) as caught:
        call()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


# TensorRT ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture(params=["10.13.0.35", "11.4.0.106"], ids=["10", "11"])
def tensorrt(request: pytest.FixtureRequest, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install(monkeypatch, machine, request.param)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*building a TensorRT engine")
        yield


@pytest.fixture
def cupy(tensorrt: None) -> Any:
    return sys.modules["cupy"]


@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_an_engine_gives_what_the_graph_gives(name: str, tensorrt: None) -> None:
    """To the bit, frame after frame: whatever is bound to the wrong place or fetched too early shows."""
    engine, graph = TensorRtGraph(EMBEDDED / name), OnnxGraph(EMBEDDED / name)
    assert engine.device == "tensorrt"
    assert engine.inputs == graph.inputs
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        ours = engine(**inputs)
        assert type(ours) is np.ndarray
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, graph(**inputs))


def test_memory_on_the_gpu_is_kept_between_frames(tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(EMBEDDED / STUDENT)
    results = [engine(**feeds(EMBEDDED / STUDENT, seed)) for seed in range(3)]
    assert machine.allocations == 4  # three inputs and the output
    assert not (results[0] == results[1]).all()  # a result is not overwritten by the next


def test_inputs_of_any_strides(graph: Path, tensorrt: None) -> None:
    wide = np.random.default_rng(0).random((1, 3, 4, 8), np.float32)
    engine = TensorRtGraph(graph)
    for view in (wide[..., ::2], wide[..., 3::-1], np.asfortranarray(wide[..., :4])):
        np.testing.assert_array_equal(engine(picture=view), 2 * view)


def test_open_sizes_within_the_profile(open_sizes: Path, tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(open_sizes, PROFILE)
    assert engine.inputs == [GraphInput("picture", "tensor(float)", (1, 3, None, None))]
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 8, 8), (1, 3, 2, 16), (1, 3, 16, 2), (1, 3, 16, 2)):
        picture = rng.random(shape, np.float32)
        np.testing.assert_array_equal(engine(picture=picture), 2 * picture)
    assert machine.allocations == 2 * 3
    assert sum(memory.size for memory in machine.memories.values()) == 2 * 4 * 3 * 32


@pytest.mark.parametrize(("then", "dtype"), [("ArgMax", np.int64), ("Identity", np.float32)])
def test_outputs_of_other_types(tmp_path: Path, tensorrt: None, then: str, dtype: type) -> None:
    path = small_graph(tmp_path / "other.onnx", then=then)
    ours = TensorRtGraph(path)(picture=PICTURE)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, OnnxGraph(path)(picture=PICTURE))


def wrong_inputs() -> list[tuple[dict[str, np.ndarray], str]]:
    return [
        ({}, "given nothing, expected picture"),
        ({"photo": PICTURE}, "given photo, expected picture"),
        ({"picture": PICTURE, "self": PICTURE}, "given picture, self, expected picture"),
        ({"picture": PICTURE.astype(float)}, "input 'picture' is float64 (1, 3, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE[:, :2]}, "input 'picture' is float32 (1, 2, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE[0]}, "input 'picture' is float32 (3, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE.reshape(1, 3, 2, 8)}, "is float32 (1, 3, 2, 8), expected float32 (1, 3, 4, 4)"),
    ]


@pytest.mark.parametrize(("inputs", "expected"), wrong_inputs())
def test_inputs_that_do_not_fit_an_engine(
    graph: Path, tensorrt: None, machine: Machine, inputs: dict[str, np.ndarray], expected: str
) -> None:
    engine = TensorRtGraph(graph)
    assert expected in line_of(lambda: engine(**inputs))
    assert machine.uploads == 0
    np.testing.assert_array_equal(engine(picture=PICTURE), 2 * PICTURE)


@pytest.mark.parametrize("shape", [(1, 3, 1, 8), (1, 3, 17, 8), (1, 3, 8, 40)])
def test_sizes_beyond_the_profile(open_sizes: Path, tensorrt: None, shape: tuple[int, ...]) -> None:
    engine = TensorRtGraph(open_sizes, PROFILE)
    expected = f"open.onnx: input 'picture' is {shape}, expected (1, 3, 2, 2) to (1, 3, 16, 16) as built"
    assert line_of(lambda: engine(picture=np.zeros(shape, np.float32))).endswith(expected)


def test_open_sizes_without_a_profile(open_sizes: Path, tensorrt: None) -> None:
    assert "is (1, 3, ?, ?), expected a profile" in line_of(lambda: TensorRtGraph(open_sizes), UsageError)


def test_sizes_that_follow_from_values(tmp_path: Path, tensorrt: None) -> None:
    engine = TensorRtGraph(small_graph(tmp_path / "nonzero.onnx", then="NonZero"))
    assert "gives (4, ?), expected sizes that follow from the input's" in line_of(lambda: engine(picture=PICTURE))


def test_inputs_that_are_sizes(graph: Path, tensorrt: None, machine: Machine) -> None:
    machine.fails.add("device shape")
    assert "'picture' sets the sizes of other tensors" in line_of(lambda: TensorRtGraph(graph))


def test_no_memory_for_the_engine(graph: Path, tensorrt: None, machine: Machine) -> None:
    machine.fails.add("context memory")
    line = line_of(lambda: TensorRtGraph(graph))
    assert "small.onnx: cannot be run on tensorrt: [executionContext.cpp" in line
    assert line.endswith(REMEDY)


def test_no_memory_for_the_frames(tensorrt: None, machine: Machine) -> None:
    machine.memory = 1 << 20
    engine = TensorRtGraph(EMBEDDED / STUDENT)
    line = line_of(lambda: engine(**feeds(EMBEDDED / STUDENT, 0)))
    assert "student.onnx: cannot be run on tensorrt: Out of memory allocating" in line
    assert line.endswith(REMEDY)
    machine.memory = 1 << 30
    inputs = feeds(EMBEDDED / STUDENT, 1)
    np.testing.assert_array_equal(engine(**inputs), OnnxGraph(EMBEDDED / STUDENT)(**inputs))


def test_a_gpu_that_fails(graph: Path, tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(graph)
    machine.fails.add("execute")
    engines._log(engine._trt).log(engine._trt.ILogger.ERROR, "of long ago")
    assert "small.onnx: cannot be run on tensorrt: IExecutionContext::enqueueV3" in line_of(
        lambda: engine(picture=PICTURE)
    )


def test_a_failure_without_a_word(graph: Path, tensorrt: None, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TensorRtGraph(graph)
    monkeypatch.setattr(engine._context, "execute_async_v3", lambda stream: False)
    assert "TensorRT says not why it cannot be run" in line_of(lambda: engine(picture=PICTURE))


def test_threads_take_turns(tensorrt: None) -> None:
    engine, graph = TensorRtGraph(EMBEDDED / SEGMENTER), OnnxGraph(EMBEDDED / SEGMENTER)
    wrong = []

    def work(seed: int) -> None:
        for i in range(4):
            inputs = feeds(EMBEDDED / SEGMENTER, 10 * seed + i)
            if not np.array_equal(engine(**inputs), graph(**inputs)):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_arrays_on_the_gpu_stay_there(tensorrt: None, cupy: Any, machine: Machine) -> None:
    engine, graph = TensorRtGraph(EMBEDDED / STUDENT), OnnxGraph(EMBEDDED / STUDENT)
    for seed in range(2):
        inputs = feeds(EMBEDDED / STUDENT, seed)
        on_device = {name: cupy.asarray(value) for name, value in inputs.items()}
        uploads, allocations = machine.uploads, machine.allocations
        result = engine.run_on_device(**on_device)
        assert isinstance(result, Array)
        assert (machine.uploads, machine.allocations - allocations) == (uploads, int(seed == 0))  # the output
        np.testing.assert_array_equal(cupy.asnumpy(result), graph(**inputs))


def test_arrays_on_the_gpu_keep_the_order_of_the_callers_stream(graph: Path, cupy: Any) -> None:
    """What the caller has asked for is done before, what it asks for next is done after; nobody waits for either."""
    engine = TensorRtGraph(graph)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        array = cupy.asarray(PICTURE)
        result = engine.run_on_device(picture=array)
        array.set(np.zeros_like(PICTURE))  # as if its memory was given to somebody else
        fetched = result.get()
    assert stream.done == 0
    engine._stream.synchronize()  # as if it was the faster of the two
    stream.synchronize()
    np.testing.assert_array_equal(fetched, 2 * PICTURE)


@pytest.mark.parametrize("view", [np.s_[:1, :, :, ::2], np.s_[1:, :, :2, :]], ids=["strides", "unaligned"])
def test_arrays_on_the_gpu_that_cannot_be_read_in_place(tmp_path: Path, cupy: Any, view: Any) -> None:
    pictures = np.random.default_rng(0).random((2, 1, 2, 8), np.float32)
    cut = pictures[view]
    engine = TensorRtGraph(small_graph(tmp_path / "cut.onnx", cut.shape))
    on_device = cupy.asarray(pictures)[view]
    assert not on_device.flags.c_contiguous or on_device.data.ptr % 256 == 64
    result = engine.run_on_device(picture=on_device)
    np.testing.assert_array_equal(cupy.asnumpy(result), 2 * cut)


def test_both_ways_of_calling_in_turn(graph: Path, cupy: Any) -> None:
    """An engine does not go on reading where the caller's array was."""
    engine = TensorRtGraph(graph)
    np.testing.assert_array_equal(engine(picture=PICTURE), 2 * PICTURE)
    np.testing.assert_array_equal(cupy.asnumpy(engine.run_on_device(picture=cupy.asarray(3 * PICTURE))), 6 * PICTURE)
    np.testing.assert_array_equal(engine(picture=PICTURE), 2 * PICTURE)


def test_wrong_arrays_on_the_gpu(graph: Path, cupy: Any) -> None:
    engine = TensorRtGraph(graph)
    for inputs, expected in wrong_inputs():
        on_device = {name: cupy.asarray(np.ascontiguousarray(value)) for name, value in inputs.items()}
        assert expected in line_of(lambda on_device=on_device: engine.run_on_device(**on_device))
    assert "cannot be run" in line_of(lambda: engine.run_on_device(picture=PICTURE))


def test_the_callers_stream_is_current_again(graph: Path, cupy: Any) -> None:
    engine = TensorRtGraph(graph)
    for call in (lambda: engine(picture=PICTURE), lambda: engine(picture=PICTURE[0])):
        try:
            call()
        except HueglassError:
            assert cupy.cuda.get_current_stream().ptr == 0
    assert not Stream.current.__dict__.get("stack")


# CUDA in ONNX Runtime ------------------------------------------------------------------------------------------------


class FakeOnnxRuntime(ModuleType):
    """ONNX Runtime with a CUDA and a TensorRT provider that compute on the CPU, and do what the real ones do besides.

    `fault` is one of "no libraries", "no driver", "loops" (no CUDA graph of such a network), "capture" (recording it
    fails), "memory", "at run", "foreign layer" (that the provider lacks).
    """

    __version__ = "1.31.1"

    def __init__(self, fault: str = "") -> None:
        super().__init__("onnxruntime")
        self.fault, self.sessions, self.severity = fault, [], None  # type: ignore[var-annotated]
        self.builds = 0
        self.SessionOptions = ort.SessionOptions
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._value)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def set_default_logger_severity(self, severity: int) -> None:
        self.severity = severity

    def preload_dlls(self) -> None:
        print("Failed to load libcublasLt.so.13: cannot open shared object file")

    def _value(self, shape: list[int], element_type: Any, device_type: str, device_id: int) -> Any:
        assert (device_type, device_id) == ("cuda", 0)
        if self.fault == "memory":
            raise RuntimeError("Failed to allocate memory for requested buffer of size 786432\nmore")
        return FakeValue(ort.OrtValue.ortvalue_from_shape_and_type(shape, element_type, "cpu", 0))

    def InferenceSession(self, path: str, options: Any, providers: list, enable_fallback: int = 1) -> "FakeSession":
        session = FakeSession(self, path, options, providers, enable_fallback)
        self.sessions.append(session)
        return session


class FakeValue:
    """Memory on the GPU: what is read of it is a copy."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def update_inplace(self, data: np.ndarray) -> None:
        self.real.update_inplace(data)

    def numpy(self) -> np.ndarray:
        return self.real.numpy().copy()


class FakeBinding:
    def __init__(self, real: Any) -> None:
        self.real = real

    def bind_ortvalue_input(self, name: str, value: FakeValue) -> None:
        self.real.bind_ortvalue_input(name, value.real)

    def bind_ortvalue_output(self, name: str, value: FakeValue) -> None:
        self.real.bind_ortvalue_output(name, value.real)


ENGINE = "TensorrtExecutionProvider_TRTKernel_graph_main_graph_1234_0_0_sm90.engine"
"""What the provider calls an engine, whatever the weights are."""


class FakeSession:
    def __init__(self, runtime: FakeOnnxRuntime, path: str, options: Any, providers: list, fallback: int) -> None:
        self.runtime, self.threads, self.runs, self.bound_runs = runtime, set(), 0, 0  # type: ignore[var-annotated]
        self.options = next((p[1] for p in providers if isinstance(p, tuple)), None)
        self.providers = [p[0] if isinstance(p, tuple) else p for p in providers]
        if not self.options:
            self.real = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            return
        self.providers.append("CPUExecutionProvider")  # always there
        if runtime.fault == "no libraries":
            self.providers = ["CPUExecutionProvider"]
        if runtime.fault in ("no libraries", "foreign layer"):
            ort.InferenceSession(path, options, providers=[], enable_fallback=0)  # refuses the CPU where it is told to
            if self.recorded and runtime.fault == "foreign layer":
                raise RuntimeError("This session cannot use the graph capture feature\nmore")
        elif runtime.fault == "no driver" or (runtime.fault == "loops" and self.recorded):
            if fallback:
                print("*************** EP Error ***************")
                self.providers = ["CPUExecutionProvider"]
                return
            what = "CUDA failure 35: CUDA driver version is insufficient" if runtime.fault == "no driver" else "loops"
            raise RuntimeError(what + "\nand more")
        if self.providers[0] == "TensorrtExecutionProvider":
            self.real = self._by_tensorrt(path)
        else:
            self.real = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def _by_tensorrt(self, path: str) -> Any:
        if getattr(sys.modules.get("tensorrt"), "__version__", "").partition(".")[0] != "10":
            raise RuntimeError(
                "/src/pybind_state.cc:729 void Register() Please install TensorRT libraries as\nmentioned"
            )
        data = Path(path).read_bytes()
        if self.options.get("trt_engine_cache_enable") == "1":
            engine = Path(self.options["trt_engine_cache_path"]) / ENGINE
            if engine.is_file():
                return ort.InferenceSession(engine.read_bytes(), providers=["CPUExecutionProvider"])
            engine.write_bytes(data)
        self.runtime.builds += 1
        return ort.InferenceSession(data, providers=["CPUExecutionProvider"])

    @property
    def recorded(self) -> bool:
        return "1" in [(self.options or {}).get(name) for name in ("enable_cuda_graph", "trt_cuda_graph_enable")]

    def get_providers(self) -> list[str]:
        return self.providers

    def get_inputs(self) -> list:
        return self.real.get_inputs()

    def get_outputs(self) -> list:
        return self.real.get_outputs()

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self.real.io_binding())

    def run(self, names: Any, inputs: dict) -> list:
        assert not self.recorded, "a CUDA graph reads what is bound, and this is not"
        self.runs += 1
        if self.runtime.fault == "at run" and self.options:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered\nmore")
        return self.real.run(names, inputs)

    def run_with_iobinding(self, binding: FakeBinding) -> None:
        if self.recorded and self.runtime.fault == "capture":
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")
        if self.runtime.fault == "at run" and self.bound_runs:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered\nmore")
        self.threads.add(threading.get_ident())
        assert len(self.threads) == 1, "a CUDA graph is run by the thread that recorded it"
        self.bound_runs += 1
        self.real.run_with_iobinding(binding.real)


@pytest.fixture
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    runtime = FakeOnnxRuntime(getattr(request, "param", ""))
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    return runtime


@pytest.mark.parametrize("cuda", ["", "loops", "capture"], indirect=True)
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_cuda_gives_what_the_cpu_gives(name: str, cuda: FakeOnnxRuntime) -> None:
    graph, reference = OnnxGraph(EMBEDDED / name, "cuda", 2), OnnxGraph(EMBEDDED / name)
    session = cuda.sessions[-2]
    assert graph.device == "cuda"
    assert session.options == {"enable_cuda_graph": "0" if cuda.fault else "1", "use_tf32": "0"}
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        np.testing.assert_array_equal(graph(**inputs), reference(**inputs))
    assert (session.runs, session.bound_runs) == (0, 4)  # the first when it is opened


def test_cuda_graphs_are_run_by_one_thread(graph: Path, cuda: FakeOnnxRuntime) -> None:
    network, results = OnnxGraph(graph, "cuda"), {}

    def work(i: int) -> None:
        results[i] = [network(picture=i * PICTURE) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for i, found in results.items():
        np.testing.assert_array_equal(found, 20 * [2 * i * PICTURE])


def test_open_sizes_on_cuda(open_sizes: Path, cuda: FakeOnnxRuntime) -> None:
    """Nothing is bound, and nothing recorded."""
    graph = OnnxGraph(open_sizes, "cuda")
    assert [session.recorded for session in cuda.sessions] == [True, False]
    for shape in ((1, 3, 5, 7), (1, 3, 2, 2)):
        picture = np.ones(shape, np.float32)
        np.testing.assert_array_equal(graph(picture=picture), 2 * picture)
    assert (cuda.sessions[1].runs, cuda.sessions[1].bound_runs) == (2, 0)


@pytest.mark.parametrize(("inputs", "expected"), wrong_inputs())
def test_inputs_that_do_not_fit_on_cuda(graph: Path, cuda: FakeOnnxRuntime, inputs: dict, expected: str) -> None:
    """The real `update_inplace` takes doubles for floats, and any shape of as many numbers: this one does too."""
    network = OnnxGraph(graph, "cuda")
    assert expected in line_of(lambda: network(**inputs))
    np.testing.assert_array_equal(network(picture=PICTURE), 2 * PICTURE)


@pytest.mark.parametrize("view", [np.s_[..., ::2], np.s_[..., 3::-1]])
def test_inputs_of_any_strides_on_cuda(graph: Path, cuda: FakeOnnxRuntime, view: Any) -> None:
    wide = np.random.default_rng(0).random((1, 3, 4, 8), np.float32)
    np.testing.assert_array_equal(OnnxGraph(graph, "cuda")(picture=wide[view]), 2 * wide[view])


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("no libraries", "device 'cuda': cannot be used here, expected a working driver and its libraries"),
        ("no driver", "small.onnx: cannot be run on cuda: CUDA failure 35: CUDA driver version is insufficient"),
        ("memory", "Failed to allocate memory for requested buffer of size 786432; " + REMEDY),
    ],
    indirect=["cuda"],
)
def test_cuda_is_had_or_refused(
    graph: Path, cuda: FakeOnnxRuntime, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing falls back to the CPU, and nothing is printed that is not an error of ours."""
    for opened in (lambda: OnnxGraph(graph, "cuda"), lambda: open_graph(graph, "cuda")):
        assert line_of(opened).endswith(expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cuda", ["foreign layer"], indirect=True)
def test_layers_that_cuda_lacks(graph: Path, cuda: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match=r"small\.onnx: some of its layers run on the CPU, the others on cuda"):
        network = OnnxGraph(graph, "cuda")
    assert network.device == "cuda"
    np.testing.assert_array_equal(network(picture=PICTURE), 2 * PICTURE)
    assert not cuda.sessions[-1].recorded
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cuda", ["at run"], indirect=True)
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), OPEN], ids=["bound", "open"])
def test_cuda_that_fails_at_work(tmp_path: Path, cuda: FakeOnnxRuntime, shape: tuple) -> None:
    graph = OnnxGraph(small_graph(tmp_path / "a.onnx", shape), "cuda")
    assert line_of(lambda: graph(picture=PICTURE)).endswith(
        "a.onnx: cannot be run on cuda: CUDA failure 700: an illegal memory access was encountered"
    )


def test_the_cpu_is_opened_as_ever(graph: Path, cuda: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    """Where CUDA is installed too: no libraries are loaded for it, and the session is a plain one."""
    network = OnnxGraph(graph, threads=1)
    (session,) = cuda.sessions
    assert (network.device, session.options, session.providers) == ("cpu", None, ["CPUExecutionProvider"])
    assert session.real.get_session_options().intra_op_num_threads == 1
    assert session.real.get_session_options().get_session_config_entry("session.force_spinning_stop") == "1"
    np.testing.assert_array_equal(network(picture=PICTURE), 2 * PICTURE)
    assert (session.runs, session.bound_runs, cuda.severity) == (1, 0, None)
    assert capfd.readouterr() == ("", "")


# TensorRT in ONNX Runtime --------------------------------------------------------------------------------------------


@pytest.fixture
def provider(cuda: FakeOnnxRuntime, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    install(monkeypatch, machine)
    return cuda


def kept(tmp_path: Path) -> list[Path]:
    """The folders of engines in the cache."""
    return sorted((tmp_path / "cache" / "engines").iterdir())


@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_the_provider_gives_what_the_cpu_gives(name: str, provider: FakeOnnxRuntime) -> None:
    graph, reference = open_graph(EMBEDDED / name, "ort-tensorrt", 2), OnnxGraph(EMBEDDED / name)
    session = provider.sessions[0]
    assert graph.device == "ort-tensorrt"
    assert session.recorded
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        np.testing.assert_array_equal(graph(**inputs), reference(**inputs))
    assert (session.runs, session.bound_runs) == (0, 4)


@pytest.mark.parametrize("cuda", ["capture"], indirect=True)
def test_the_provider_without_recording(graph: Path, provider: FakeOnnxRuntime) -> None:
    np.testing.assert_array_equal(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), 2 * PICTURE)
    assert [session.recorded for session in provider.sessions] == [True, False]


def test_the_providers_engine_is_kept(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime) -> None:
    for _ in range(3):
        np.testing.assert_array_equal(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), 2 * PICTURE)
    assert provider.builds == 1
    (folder,) = kept(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [ENGINE, "record.json"]


def test_networks_alike_have_engines_of_their_own(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, machine: Machine
) -> None:
    """The provider itself would take the engine of one for that of the other; and an H100's for an H200's."""
    other = small_graph(tmp_path / "other.onnx", scale=3.0)
    for _ in range(2):
        np.testing.assert_array_equal(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), 2 * PICTURE)
        np.testing.assert_array_equal(OnnxGraph(other, "ort-tensorrt")(picture=PICTURE), 3 * PICTURE)
    assert (provider.builds, len(kept(tmp_path))) == (2, 2)
    small_graph(graph, scale=5.0)
    np.testing.assert_array_equal(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), 5 * PICTURE)
    machine.gpu = "NVIDIA Fake 9001"
    OnnxGraph(graph, "ort-tensorrt")
    provider.__version__ = "1.32.0"
    OnnxGraph(graph, "ort-tensorrt")
    assert (provider.builds, len(kept(tmp_path))) == (5, 5)


@pytest.mark.parametrize("harm", ["other engine", "no engine", "one more", "no record", "no JSON", "foreign record"])
def test_a_providers_engine_that_was_changed(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, harm: str) -> None:
    OnnxGraph(graph, "ort-tensorrt")
    (folder,) = kept(tmp_path)
    record = folder / "record.json"
    {
        "other engine": lambda: small_graph(folder / ENGINE, scale=7.0),
        "no engine": (folder / ENGINE).unlink,
        "one more": lambda: (folder / "more.engine").write_bytes(b"more"),
        "no record": record.unlink,
        "no JSON": lambda: record.write_bytes(b"{"),
        "foreign record": lambda: record.write_bytes(record.read_bytes().replace(b"Fake 9000", b"Fake 9001")),
    }[harm]()
    with pytest.warns(UserWarning, match="not used: "):
        network = OnnxGraph(graph, "ort-tensorrt")
    np.testing.assert_array_equal(network(picture=PICTURE), 2 * PICTURE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OnnxGraph(graph, "ort-tensorrt")
    assert (provider.builds, kept(tmp_path)) == (2, [folder])


def test_two_build_the_same_for_the_provider(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime) -> None:
    with engines.provider_cache(graph, provider.__version__) as growing:
        assert growing is not None
        OnnxGraph(graph, "ort-tensorrt")
    assert provider.builds == 1
    assert len(kept(tmp_path)) == 1
    OnnxGraph(graph, "ort-tensorrt")
    assert provider.builds == 1


def test_no_place_for_the_providers_engine(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        network = OnnxGraph(graph, "ort-tensorrt")
    np.testing.assert_array_equal(network(picture=PICTURE), 2 * PICTURE)


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("foreign layer", "small.onnx: has layers that ONNX Runtime's TensorRT provider does not take"),
        ("memory", "Failed to allocate memory for requested buffer of size 786432; " + REMEDY),
    ],
    indirect=["cuda"],
)
def test_the_provider_is_had_or_refused(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """No layer goes elsewhere, nothing is printed, and no engine is left that was not used."""
    assert expected in line_of(lambda: open_graph(graph, "ort-tensorrt"))
    assert capfd.readouterr() == ("", "")
    assert kept(tmp_path) == []


def test_the_provider_without_its_tensorrt(
    graph: Path, machine: Machine, cuda: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, machine, "11.4.0.106")
    line = line_of(lambda: open_graph(graph, "ort-tensorrt"))
    assert (
        line == "device 'ort-tensorrt': TensorRT 11.4.0.106, expected the version that ONNX Runtime 1.31.1 is made for"
    )
    machine.driver = False
    assert "no GPU can be used here" in line_of(lambda: open_graph(graph, "ort-tensorrt"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "hueglass[tensorrt]" in line_of(lambda: open_graph(graph, "ort-tensorrt"))


def test_open_sizes_with_the_provider(open_sizes: Path, provider: FakeOnnxRuntime) -> None:
    assert line_of(lambda: OnnxGraph(open_sizes, "ort-tensorrt")).endswith(
        "open.onnx: has open sizes, expected fixed ones on 'ort-tensorrt'"
    )


@pytest.mark.parametrize("cuda", ["at run"], indirect=True)
def test_a_provider_that_fails_at_work(graph: Path, provider: FakeOnnxRuntime) -> None:
    network = OnnxGraph(graph, "ort-tensorrt")
    assert "small.onnx: cannot be run on ort-tensorrt: CUDA failure 700" in line_of(lambda: network(picture=PICTURE))


def test_the_provider_in_half_precision(provider: FakeOnnxRuntime) -> None:
    """It mixes types as it likes where it may use halves at all, and refuses graphs with halves where it may not."""
    line = line_of(lambda: ModelBundle(device="ort-tensorrt", precision="fp16"), UsageError)
    assert line == "precision fp16 on device 'ort-tensorrt', expected device 'tensorrt', which keeps to it"
    assert ModelBundle(device="ort-tensorrt").device == "ort-tensorrt"


# Which device --------------------------------------------------------------------------------------------------------


def chosen(path: Path, **options: Any) -> tuple[str, list[str]]:
    """The device that "auto" took, and the warnings of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = open_graph(path, "auto", **options)
    np.testing.assert_array_equal(graph(picture=PICTURE), 2 * PICTURE)
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
    expected = "device 'tpu', expected one of cpu, cuda, tensorrt, ort-tensorrt, auto"
    assert line_of(lambda: open_graph(graph, "tpu"), UsageError) == expected
    assert DEVICES == ("cpu", "cuda", "tensorrt", "ort-tensorrt", "auto")
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


def test_threads_of_the_cpu(graph: Path) -> None:
    network = open_graph(graph, "cpu", 1)
    assert isinstance(network, OnnxGraph)
    assert network._session.get_session_options().intra_op_num_threads == 1
    assert network._bound is None


# A real GPU ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_tensorrt() -> None:
    reason = engines.unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def real_cuda(graph: Path) -> None:
    try:
        OnnxGraph(graph, "cuda")
    except HueglassError as error:
        pytest.skip(str(error))


TOLERANCE = 1e-3
"""Of coefficients and codes about 1, and of maps: the order of the sums is another, and that is all."""


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_real_cuda_agrees_with_the_cpu(name: str, real_cuda: None) -> None:
    graph, reference = OnnxGraph(EMBEDDED / name, "cuda"), OnnxGraph(EMBEDDED / name)
    assert graph._bound is not None
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        np.testing.assert_allclose(graph(**inputs), reference(**inputs), atol=TOLERANCE)


@pytest.mark.gpu
def test_real_cuda_takes_open_sizes_and_other_threads(open_sizes: Path, graph: Path, real_cuda: None) -> None:
    picture = np.random.default_rng(0).random((1, 3, 5, 7), np.float32)
    np.testing.assert_array_equal(OnnxGraph(open_sizes, "cuda")(picture=picture), 2 * picture)
    network, found = OnnxGraph(graph, "cuda"), []
    thread = threading.Thread(target=lambda: found.append(network(picture=PICTURE)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found, [2 * PICTURE])


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_the_real_provider_agrees_with_the_cpu(name: str, graph: Path) -> None:
    try:
        OnnxGraph(graph, "ort-tensorrt")
    except HueglassError as error:
        pytest.skip(str(error))
    reference, inputs = OnnxGraph(EMBEDDED / name), feeds(EMBEDDED / name, 0)
    for _ in range(2):  # the second from the cache
        network = OnnxGraph(EMBEDDED / name, "ort-tensorrt")
        np.testing.assert_allclose(network(**inputs), reference(**inputs), atol=10 * TOLERANCE)  # factors of 10 bits


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_real_tensorrt_agrees_with_the_cpu(name: str, real_tensorrt: None) -> None:
    reference, inputs = OnnxGraph(EMBEDDED / name), feeds(EMBEDDED / name, 0)
    with pytest.warns(UserWarning, match="building a TensorRT engine"):
        graph = TensorRtGraph(EMBEDDED / name)
    np.testing.assert_allclose(graph(**inputs), reference(**inputs), atol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # from the cache
        again = TensorRtGraph(EMBEDDED / name)
    np.testing.assert_array_equal(again(**inputs), graph(**inputs))
    cupy = engines.import_cupy()
    on_device = again.run_on_device(**{name: cupy.asarray(value) for name, value in inputs.items()})
    np.testing.assert_array_equal(cupy.asnumpy(on_device), graph(**inputs))


@pytest.mark.gpu
def test_real_tensorrt_with_a_profile(open_sizes: Path, real_tensorrt: None) -> None:
    graph = TensorRtGraph(open_sizes, PROFILE)
    for shape in ((1, 3, 8, 8), (1, 3, 2, 16)):
        picture = np.random.default_rng(0).random(shape, np.float32)
        np.testing.assert_array_equal(graph(picture=picture), 2 * picture)
    assert "as built" in line_of(lambda: graph(picture=np.zeros((1, 3, 17, 8), np.float32)))


@pytest.mark.gpu
def test_real_tensorrt_refuses_an_engine_that_is_none(real_tensorrt: None) -> None:
    assert engines._deserialised(engines.import_tensorrt(), os.urandom(1000)) is None
    assert engines.said(engines.import_tensorrt()) != ""
