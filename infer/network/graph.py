"""Running one network graph: ONNX Runtime on the CPU, on CUDA or by its TensorRT provider, or a TensorRT engine."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import existing_file

from . import engine_cache as engines
from .engine_cache import Precision, Profile, Shape, shown

DEVICES = ("cpu", "cuda", "tensorrt", "ort-tensorrt", "auto")
"""What `open_graph` takes."""
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "ort-tensorrt": "TensorrtExecutionProvider",
}
"""What ONNX Runtime calls the devices that it serves."""
KINDS: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(bool)": np.dtype(np.bool_),
}
"""What ONNX Runtime calls the tensors that numpy has too."""
_RECORDING = {"cuda": "enable_cuda_graph", "ort-tensorrt": "trt_cuda_graph_enable"}
"""What providers call the option to record a CUDA graph."""
_CPU_REFUSED = "default CPU EP"
"""Is in what ONNX Runtime says where a layer would have to run on the CPU and must not."""
_ALIGNMENT = 256
"""Bytes: TensorRT reads and writes at multiples of it alone."""


class Graph(Protocol):
    """A network: float32 arrays in, by name; its one output, float32, out. `device` is where it really runs."""

    @property
    def device(self) -> str: ...

    def __call__(self, /, **inputs: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class GraphInput:
    """What a graph file says of an input: `kind` as "tensor(float)", `shape` with None for sizes left open."""

    name: str
    kind: str
    shape: tuple[int | None, ...]


def open_graph(
    path: Path, device: str = "cpu", threads: int = 0, profile: Profile | None = None
) -> "OnnxGraph | TensorRtGraph":
    """A graph file ready to run on one of DEVICES; `.device` of what is given says on which.

    "auto" takes the best that works here: a TensorRT engine, else CUDA, else the CPU. A warning names what is
    installed and does not work. Any other device is taken or refused: nothing falls back. `threads` is as in
    OnnxGraph, `profile` as in TensorRtGraph. Errors as these have them, and UsageError for an unknown device.
    """
    if device not in DEVICES:
        raise UsageError(f"device {device!r}, expected one of {', '.join(DEVICES)}")
    if device == "tensorrt":
        return TensorRtGraph(path, profile)
    if device != "auto":
        return OnnxGraph(path, device, threads)
    existing_file(path)
    if engines.unavailable() is None:
        with _tried("TensorRT"):
            return TensorRtGraph(path, profile)
    if PROVIDERS["cuda"] in _onnxruntime().get_available_providers():
        with _tried("CUDA"):
            return OnnxGraph(path, "cuda", threads)
    return OnnxGraph(path, "cpu", threads)


class OnnxGraph:
    """A graph file run by ONNX Runtime on one of PROVIDERS: of several outputs the first is given.

    `threads` is the number of CPU threads, 0 for the runtime's own choice. UsageError for an unknown device;
    HueglassError if ONNX Runtime is not installed, the device is not there, or the file is no graph.

    On CUDA, where all sizes are fixed, inputs and output stay at their place on the GPU, and the layers are recorded
    once and launched together. Sums are float32 there as well, not TF32. Calls from several threads take turns.

    So it is on "ort-tensorrt", ONNX Runtime's own TensorRT provider, which takes all layers of a graph with fixed sizes
    or is refused. It needs the version of TensorRT that ONNX Runtime was built for, and chooses TF32 where that is
    faster, which it has no option against. Its engines are kept by `engines.provider_cache`.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int = 0) -> None:
        if device not in PROVIDERS:
            raise UsageError(f"device {device!r}, expected one of {', '.join(PROVIDERS)}")
        ort = _onnxruntime()
        if PROVIDERS[device] not in ort.get_available_providers():
            raise HueglassError(f"device {device!r}: not in this ONNX Runtime, which has {_devices(ort)}")
        self._path, self.device = path, device
        self._bound: _Bound | None = None
        with _one_line(path, device):
            if device == "cpu":
                options = _options(ort, threads, strict=False)
                self._session = ort.InferenceSession(str(path), options, providers=[PROVIDERS["cpu"]])
            else:
                self._session, self._bound = (_on_cuda if device == "cuda" else _on_tensorrt)(ort, path, threads)

    @cached_property
    def inputs(self) -> list[GraphInput]:
        """What has to be given, in the order of the file."""

        def sizes(shape: list) -> tuple[int | None, ...]:
            return tuple(n if isinstance(n, int) else None for n in shape)

        return [GraphInput(x.name, x.type, sizes(x.shape)) for x in self._session.get_inputs()]

    def __call__(self, /, **inputs: np.ndarray) -> np.ndarray:  # an input of a stranger's graph may be named "self"
        with _one_line(self._path, self.device):
            if self._bound is None:
                return self._session.run(None, inputs)[0]
            # What is copied into place is not looked at: doubles would be read as floats.
            _check_inputs(self._path, self.inputs, inputs)
            return self._bound(inputs)


class TensorRtGraph:
    """A graph file run as a TensorRT engine on the GPU, built where the cache has none: of several outputs the first.

    `profile` is for inputs with open sizes, `precision` for float32: see `engines`. UsageError for a missing file or
    profile; HueglassError if TensorRT, CuPy or a GPU is not there, or the graph cannot be built or run.

    Memory on the GPU is kept from call to call. Calls from several threads take turns.
    """

    device = "tensorrt"

    def __init__(self, path: Path, profile: Profile | None = None, precision: Precision = "as-written") -> None:
        self._path = path
        self._cupy, self._trt = engines.import_cupy(), engines.import_tensorrt()
        self._engine = engines.load_engine(path, profile, precision)
        with _one_line(path, self.device):
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            takes = [self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names]
            self.inputs = [self._described(name) for name, is_input in zip(names, takes, strict=True) if is_input]
            (self._output,) = (name for name, is_input in zip(names, takes, strict=True) if not is_input)
            self._output_type = KINDS[self._described(self._output).kind]
            self._context = self._done(self._engine.create_execution_context(), "made ready")
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._memory: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, /, **inputs: np.ndarray) -> np.ndarray:
        """As `OnnxGraph`. HueglassError, one line, where an input does not fit or the GPU fails."""
        with self._lock, _one_line(self._path, self.device), self._stream:
            self._check(inputs)
            sources = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
            for name, source in sources.items():
                self._room(name, source.shape, source.dtype).set(source, stream=self._stream)
            result = self._run({name: self._memory[name] for name in sources}).get(stream=self._stream)
            self._stream.synchronize()  # CuPy before 13 leaves it to its callers
            return result

    def run_on_device(self, /, **inputs: Any) -> Any:
        """CuPy arrays in, CuPy array out, nothing leaves the GPU and nothing is waited for.

        Everything happens in the order of the caller's current stream. The result is this graph's own memory: the
        next call overwrites it. Inputs are read where they lie if they are contiguous and lie at a multiple of 256
        bytes, as whole CuPy arrays do. Errors as a call with numpy arrays, save that what fails on the GPU later is
        found by the next that waits for it.
        """
        caller = self._cupy.cuda.get_current_stream()
        with self._lock, _one_line(self._path, self.device), self._stream:
            self._check(inputs)
            self._stream.wait_event(caller.record())
            result = self._run({name: self._in_place(name, array) for name, array in inputs.items()})
            caller.wait_event(self._stream.record())
            return result

    def _described(self, name: str) -> GraphInput:
        """An input, or the output, in ONNX Runtime's words."""
        if self._engine.get_tensor_location(name) != self._trt.TensorLocation.DEVICE:
            raise HueglassError(f"{self._path}: {name!r} sets the sizes of other tensors, which is not served")
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        kind = next(kind for kind, known in KINDS.items() if known == dtype)
        shape = tuple(self._engine.get_tensor_shape(name))
        return GraphInput(name, kind, tuple(None if n < 0 else n for n in shape))

    def _check(self, inputs: Mapping[str, Any]) -> None:
        _check_inputs(self._path, self.inputs, inputs)
        for x in self.inputs:
            if None not in x.shape:
                continue
            least, _, most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(x.name, 0))
            shape = inputs[x.name].shape
            if not all(low <= n <= high for low, n, high in zip(least, shape, most, strict=True)):
                found = f"input {x.name!r} is {shown(shape)}"
                raise HueglassError(f"{self._path}: {found}, expected {shown(least)} to {shown(most)} as built")

    def _run(self, inputs: Mapping[str, Any]) -> Any:
        """Queues the network for arrays on the GPU; gives the array that will hold the result."""
        engines.said(self._trt)  # what is reported from here on is about this run
        for name, array in inputs.items():
            self._done(self._context.set_input_shape(name, array.shape), "given its shapes")
            self._done(self._context.set_tensor_address(name, array.data.ptr), "given its inputs")
        shape = tuple(self._context.get_tensor_shape(self._output))
        if any(n < 0 for n in shape):
            raise HueglassError(f"{self._path}: gives {shown(shape)}, expected sizes that follow from the input's")
        result = self._room(self._output, shape, self._output_type)
        self._done(self._context.set_tensor_address(self._output, result.data.ptr), "given its output")
        self._done(self._context.execute_async_v3(self._stream.ptr), "run")
        return result

    def _room(self, name: str, shape: Shape, dtype: np.dtype) -> Any:
        """The memory for a tensor: that of the call before, unless the shape is another."""
        if name not in self._memory or self._memory[name].shape != shape:
            self._memory.pop(name, None)  # before there is more
            self._memory[name] = self._cupy.empty(shape, dtype)
        return self._memory[name]

    def _in_place(self, name: str, array: Any) -> Any:
        """The caller's array, or a copy of it in our memory where TensorRT could not read it."""
        if array.flags.c_contiguous and array.data.ptr % _ALIGNMENT == 0:
            return array
        room = self._room(name, array.shape, array.dtype)
        room[...] = array
        return room

    def _done(self, answer: Any, what: str) -> Any:
        """TensorRT answers False or None where something failed, and logs why."""
        if answer is None or answer is False:
            raise RuntimeError(engines.said(self._trt) or f"TensorRT says not why it cannot be {what}")
        return answer


class _Bound:
    """A session on CUDA whose inputs and output stay where they are from call to call, as CUDA graphs demand.

    ONNX Runtime records such a graph for the thread that runs it, and allows one thread only. Callers come and go, so
    there is a thread here for all of them.
    """

    def __init__(self, ort: Any, session: Any) -> None:
        def memory(x: Any) -> Any:
            return ort.OrtValue.ortvalue_from_shape_and_type(x.shape, KINDS[x.type].type, "cuda", 0)

        output = session.get_outputs()[0]
        self._session, self._binding = session, session.io_binding()
        self._inputs, self._output = {x.name: memory(x) for x in session.get_inputs()}, memory(output)
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output(output.name, self._output)
        self._thread = ThreadPoolExecutor(1, "cuda-graph")
        # The first run chooses algorithms and records them: here rather than on the first frame.
        self({x.name: np.zeros(x.shape, KINDS[x.type]) for x in session.get_inputs()})

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._thread.submit(self._run, inputs).result()

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        self._session.run_with_iobinding(self._binding)
        return self._output.numpy()


def _options(ort: Any, threads: int, strict: bool) -> Any:
    """`strict`: a graph of which a layer would run on the CPU for want of a better place is an error."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised; the runtime is not to print them as well
    # Threads that sleep between two layers cost a fifth of the time; threads that go on spinning after the last one
    # would take the cores from the renderer and the decoder.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if strict:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _on_cuda(ort: Any, path: Path, threads: int) -> tuple[Any, _Bound | None]:
    """A session on CUDA, and what runs it where all sizes are fixed. Layers that CUDA lacks run on the CPU, with a
    warning."""
    _load_libraries(ort)
    settings = {"use_tf32": "0"}
    try:
        return _recorded_if_it_can_be(ort, path, _options(ort, threads, strict=True), "cuda", settings)
    except Exception as error:
        if _CPU_REFUSED not in str(error):  # as is said also of all layers, where CUDA is missing
            raise
    found = _recorded_if_it_can_be(ort, path, _options(ort, threads, strict=False), "cuda", settings)
    warnings.warn(f"{path}: some of its layers run on the CPU, the others on cuda", stacklevel=5)
    return found


def _on_tensorrt(ort: Any, path: Path, threads: int) -> tuple[Any, _Bound]:
    """A session of the TensorRT provider, which takes all layers, and what runs it."""
    trt = engines.import_tensorrt()  # brings the libraries in, which the provider needs
    _load_libraries(ort)
    with engines.provider_cache(path, ort.__version__) as folder:
        cache = {} if folder is None else {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        try:
            options = _options(ort, threads, strict=True)
            session, bound = _recorded_if_it_can_be(ort, path, options, "ort-tensorrt", cache)
        except Exception as error:
            if _CPU_REFUSED in str(error):
                raise HueglassError(f"{path}: has layers that ONNX Runtime's TensorRT provider does not take") from None
            if "install TensorRT" not in str(error):
                raise
            wanted = f"the version that ONNX Runtime {ort.__version__} is made for"
            raise HueglassError(f"device 'ort-tensorrt': TensorRT {trt.__version__}, expected {wanted}") from None
        if bound is None:
            raise HueglassError(f"{path}: has open sizes, expected fixed ones on 'ort-tensorrt'")
        return session, bound


def _load_libraries(ort: Any) -> None:
    ort.set_default_logger_severity(4)  # a provider that cannot be loaded is reported by us
    with contextlib.redirect_stdout(io.StringIO()):  # so are missing libraries, which it would print
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()


def _recorded_if_it_can_be(
    ort: Any, path: Path, options: Any, device: str, settings: dict[str, str]
) -> tuple[Any, _Bound | None]:
    """A session on a GPU, and what runs it where all sizes are fixed. Graphs with loops, or with layers on the CPU,
    cannot be recorded: they are opened once more without."""
    name = PROVIDERS[device]
    for recorded in ("1", "0"):
        try:
            # The CPU is there without being named. Without `enable_fallback` the runtime would print what fails, go on
            # on the CPU, and call that a success.
            providers = [(name, {_RECORDING[device]: recorded, **settings})]
            session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            if name in session.get_providers():
                if _all_fixed(session):
                    return session, _Bound(ort, session)
                if recorded == "0":
                    return session, None
        except Exception:
            if recorded == "0":
                raise
    raise HueglassError(f"device {device!r}: cannot be used here, expected a working driver and its libraries")


def _all_fixed(session: Any) -> bool:
    tensors = [*session.get_inputs(), session.get_outputs()[0]]
    return all(x.type in KINDS and all(isinstance(n, int) for n in x.shape) for x in tensors)


def _check_inputs(path: Path, expected: list[GraphInput], given: Mapping[str, Any]) -> None:
    """HueglassError, in one line, unless all inputs are there and are of the right type and shape."""
    if {x.name for x in expected} != set(given):
        names = ", ".join(sorted(given)) or "nothing"
        raise HueglassError(f"{path}: cannot be run: given {names}, expected {', '.join(x.name for x in expected)}")
    for x in expected:
        array, dtype = given[x.name], KINDS[x.kind]
        fits = len(array.shape) == len(x.shape) and all(
            n in (None, m) for n, m in zip(x.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != dtype:
            found = f"input {x.name!r} is {array.dtype} {shown(array.shape)}"
            wanted = shown(tuple(-1 if n is None else n for n in x.shape))
            raise HueglassError(f"{path}: cannot be run: {found}, expected {dtype} {wanted}")


@contextmanager
def _one_line(path: Path, device: str) -> Iterator[None]:
    """Turns any error of the runtimes, which have a class per kind of trouble, into one line."""
    try:
        yield
    except HueglassError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if device != "cpu" and (isinstance(error, MemoryError) or engines.OUT_OF_MEMORY.search(reason)):
            reason += f"; {engines.MEMORY_REMEDY}"
        where = "" if device == "cpu" else f" on {device}"
        raise HueglassError(f"{path}: cannot be run{where}: {reason}") from None


@contextmanager
def _tried(name: str) -> Iterator[None]:
    """For "auto": what cannot be used is a warning, and the next best is taken."""
    try:
        yield
    except HueglassError as error:
        warnings.warn(f"{error}; goes on without {name}", stacklevel=4)


def _devices(ort: Any) -> str:
    return ", ".join(name for name, provider in PROVIDERS.items() if provider in ort.get_available_providers())


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise HueglassError('ONNX Runtime is not installed: pip install "hueglass[cpu]" or "hueglass[gpu]"') from None
    return onnxruntime
