"""Graphs run by ONNX Runtime, by that of its providers which serves the device."""

import contextlib
import io
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError

from . import engine_cache
from .devices import Device, known_device
from .graph import runtime_errors
from .tensorrt_builder import import_tensorrt
from .tensors import KINDS, GraphInput, Profile, check_inputs

SERVED = tuple(device for device in Device if device.row.provider)
"""The devices whose graphs run here."""
_CPU_REFUSED = "default CPU EP"
"""Is in what ONNX Runtime says where a layer would have to run on the CPU and must not."""


def missing(device: Device) -> str | None:
    """Why a device of SERVED cannot be used here, in one line; None if its provider is there."""
    try:
        _runtime_with(device)
    except HueglassError as error:
        return str(error)
    return None


def open_on(device: Device, path: Path, threads: int, profile: Profile | None, outputs: int | None) -> "OnnxGraph":
    """The graph file on one of SERVED. Open sizes need no profile there."""
    return OnnxGraph(path, device, threads, outputs)


class OnnxGraph:
    """A graph file run by ONNX Runtime on one of SERVED.

    `threads` is the number of CPU threads, 0 for the runtime's own choice; `outputs` how many of the first outputs are
    given, None for all. UsageError for an unknown device; HueglassError if ONNX Runtime is not installed, the device is
    not there, or the file is no graph. Layers that the device lacks run on the CPU, with a warning.

    On CUDA, where all sizes are fixed, inputs and outputs stay at their place on the GPU, and the layers are recorded
    once and launched together. Calls from several threads take turns. Outputs that are not given may have any size.

    So it is on "ort-tensorrt", ONNX Runtime's own TensorRT provider, which takes all layers of a graph with fixed sizes
    or is refused. It needs the version of TensorRT that ONNX Runtime was built for, and chooses TF32 where that is
    faster, which it has no option against. Its engines are kept by `engine_cache.provider_cache`.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int = 0, outputs: int | None = None) -> None:
        self._path, self.device = path, known_device(device)
        if self.device not in SERVED:
            raise UsageError(f"device {str(device)!r}, expected one of {', '.join(SERVED)}")
        ort = _runtime_with(self.device)
        self._bound: _Bound | None = None
        with runtime_errors(path, self.device):
            if self.device is Device.CPU:
                options = _options(ort, threads, strict=False)
                self._session = ort.InferenceSession(str(path), options, providers=[self.device.row.provider])
            elif self.device is Device.ORT_TENSORRT:
                self._session, self._bound = _on_tensorrt(ort, path, threads, outputs)
            else:
                self._session, self._bound = _on_provider(ort, path, self.device, threads, outputs)
        self._outputs = [x.name for x in self._session.get_outputs()[:outputs]]

    @cached_property
    def inputs(self) -> list[GraphInput]:
        """What has to be given, in the order of the file."""

        def sizes(shape: list[int | str | None]) -> tuple[int | None, ...]:
            return tuple(n if isinstance(n, int) else None for n in shape)

        return [GraphInput(x.name, x.type, sizes(x.shape)) for x in self._session.get_inputs()]

    # An input of a stranger's graph may be named "self".
    def __call__(self, /, **inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        with runtime_errors(self._path, self.device):
            if self._bound is None:
                return tuple(self._session.run(self._outputs, inputs))
            # What is copied into place is not looked at: doubles would be read as floats.
            check_inputs(self._path, self.inputs, inputs)
            return self._bound(inputs)


class _Bound:
    """A session on CUDA whose inputs and outputs stay where they are from call to call, as CUDA graphs demand.

    ONNX Runtime records such a graph for the thread that runs it, and allows one thread only. Callers come and go, so
    there is a thread here for all of them.
    """

    def __init__(self, ort: Any, session: Any, outputs: list[Any]) -> None:
        def memory(x: Any) -> Any:
            return ort.OrtValue.ortvalue_from_shape_and_type(x.shape, KINDS[x.type].type, "cuda", 0)

        self._session, self._binding = session, session.io_binding()
        self._inputs = {x.name: memory(x) for x in session.get_inputs()}
        self._outputs = {x.name: memory(x) for x in outputs}
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)
        self._thread = ThreadPoolExecutor(1, "cuda-graph")
        # The first run chooses algorithms and records them: here rather than on the first frame.
        self({x.name: np.zeros(x.shape, KINDS[x.type]) for x in session.get_inputs()})

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return self._thread.submit(self._run, inputs).result()

    def _run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        self._session.run_with_iobinding(self._binding)
        return tuple(value.numpy() for value in self._outputs.values())


def _runtime_with(device: Device) -> Any:
    """ONNX Runtime, where it has the device's provider. HueglassError, which says what installs it, where not."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise HueglassError('ONNX Runtime is not installed: pip install "hueglass[cpu]" or "hueglass[gpu]"') from None
    available = ort.get_available_providers()
    if device.row.provider not in available:
        here = ", ".join(other for other in SERVED if other.row.provider in available)
        remedy = f"{device.row.install}, with no other ONNX Runtime beside it"
        raise HueglassError(f"device '{device}': not in this ONNX Runtime, which has {here}: {remedy}")
    return ort


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


def _on_provider(ort: Any, path: Path, device: Device, threads: int, outputs: int | None) -> tuple[Any, _Bound | None]:
    """A session on a device, and what runs it where it is bound. Layers that the device lacks run on the CPU, with a
    warning."""
    _load_libraries(ort)
    settings = dict(device.row.settings)
    if threads and device.row.threads:
        settings[device.row.threads] = str(threads)
    try:
        return _recorded_if_it_can_be(ort, path, _options(ort, threads, strict=True), device, settings, outputs)
    except Exception as error:
        if _CPU_REFUSED not in str(error):  # as is said also of all layers, where the device is missing
            raise
    found = _recorded_if_it_can_be(ort, path, _options(ort, threads, strict=False), device, settings, outputs)
    warnings.warn(f"{path}: some of its layers run on the CPU, the others on {device}", stacklevel=6)
    return found


def _on_tensorrt(ort: Any, path: Path, threads: int, outputs: int | None) -> tuple[Any, _Bound]:
    """A session of the TensorRT provider, which takes all layers, and what runs it."""
    trt = import_tensorrt()  # brings the libraries in, which the provider needs
    _load_libraries(ort)
    with engine_cache.provider_cache(path, ort.__version__) as folder:
        cache = {} if folder is None else {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        try:
            options = _options(ort, threads, strict=True)
            session, bound = _recorded_if_it_can_be(ort, path, options, Device.ORT_TENSORRT, cache, outputs)
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
    ort: Any, path: Path, options: Any, device: Device, settings: dict[str, str], outputs: int | None
) -> tuple[Any, _Bound | None]:
    """A session on a device, and what runs it where that records CUDA graphs and all sizes are fixed. Graphs with
    loops, or with layers on the CPU, cannot be recorded: they are opened once more without."""
    option = device.row.recording
    for recorded in ({option: "1"}, {option: "0"}) if option else ({},):
        last = recorded != {option: "1"}
        try:
            # The CPU is there without being named. Without `enable_fallback` the runtime would print what fails, go on
            # on the CPU, and call that a success.
            providers = [(device.row.provider, {**recorded, **settings})]
            session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            if device.row.provider in session.get_providers():
                wanted = session.get_outputs()[:outputs]
                if option and _all_fixed([*session.get_inputs(), *wanted]):
                    return session, _Bound(ort, session, wanted)
                if last:
                    return session, None
        except Exception:
            if last:
                raise
    raise HueglassError(f"device '{device}': cannot be used here, expected a working driver and its libraries")


def _all_fixed(tensors: list[Any]) -> bool:
    return all(x.type in KINDS and all(isinstance(n, int) for n in x.shape) for x in tensors)
