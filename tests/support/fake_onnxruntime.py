"""ONNX Runtime with a CUDA and a TensorRT provider that compute on the CPU, and do what the real ones do besides."""

import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnxruntime as ort

ENGINE = "TensorrtExecutionProvider_TRTKernel_graph_main_graph_1234_0_0_sm90.engine"
"""What the TensorRT provider calls an engine, whatever the weights are."""
CPU = ["CPUExecutionProvider"]
ILLEGAL = "CUDA failure 700: an illegal memory access was encountered"


class FakeOnnxRuntime(ModuleType):
    """The module. `fault` is one of "no libraries", "no driver", "loops" (no CUDA graph of such a network), "capture"
    (recording it fails), "memory", "at run", "foreign layer" (that the provider lacks)."""

    __version__ = "1.31.1"
    SessionOptions = ort.SessionOptions

    def __init__(self, fault: str = "") -> None:
        super().__init__("onnxruntime")
        self.fault, self.builds, self.severity, self.sessions = fault, 0, None, []
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._value)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU]

    def set_default_logger_severity(self, severity: Any) -> None:
        self.severity = severity

    def preload_dlls(self) -> None:
        print("Failed to load libcublasLt.so.13: cannot open shared object file")

    def fail(self, fault: str, message: str) -> None:
        if self.fault == fault:
            raise RuntimeError(f"{message}\nand more")

    def _value(self, shape: list[int], element_type: Any, device_type: str, device_id: int) -> Any:
        """Memory on the GPU: what is read of it is a copy."""
        assert (device_type, device_id) == ("cuda", 0)
        self.fail("memory", "Failed to allocate memory for requested buffer of size 786432")
        value: Any = ort.OrtValue.ortvalue_from_shape_and_type(shape, element_type, "cpu", 0)
        read = value.numpy
        value.numpy = lambda: read().copy()
        return value

    def InferenceSession(self, path: str, options: Any, providers: list, enable_fallback: int = 1) -> "FakeSession":
        self.sessions.append(FakeSession(self, path, options, providers, enable_fallback))
        return self.sessions[-1]


class FakeSession:
    def __init__(self, runtime: FakeOnnxRuntime, path: str, options: Any, providers: list, fallback: int) -> None:
        self.runtime, self.runs, self.bound_runs, self.thread = runtime, 0, 0, 0
        self.providers, self.options = (CPU, None) if providers == CPU else ([providers[0][0], *CPU], providers[0][1])
        settings, on_gpu, graph = self.options or {}, self.options is not None, path
        self.recorded = "1" in (settings.get("enable_cuda_graph"), settings.get("trt_cuda_graph_enable"))
        if on_gpu:
            self._open(path, options, fallback)
        if self.providers[0] == "TensorrtExecutionProvider":
            graph = self._built(Path(path), settings)
        self.real = ort.InferenceSession(graph, None if on_gpu else options, providers=CPU)
        self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs
        self.get_providers, self.io_binding = lambda: self.providers, self.real.io_binding

    def _open(self, path: str, options: Any, fallback: int) -> None:
        fault, fail = self.runtime.fault, self.runtime.fail
        assert not fallback, "where it fails, the runtime would print an error, and go on on the CPU"
        if fault == "no libraries":
            self.providers = CPU
        if fault in ("no libraries", "foreign layer"):
            ort.InferenceSession(path, options, providers=[], enable_fallback=0)  # refuses the CPU where it is told to
        fail("no driver", "CUDA failure 35: CUDA driver version is insufficient")
        if self.recorded:
            fail("foreign layer", "This session cannot use the graph capture feature")
            fail("loops", "This session cannot use the graph capture feature")

    def _built(self, path: Path, settings: dict[str, str]) -> bytes:
        """What the TensorRT provider makes of a graph file, or finds in its cache: the graph."""
        if getattr(sys.modules.get("tensorrt"), "__version__", "").partition(".")[0] != "10":
            raise RuntimeError("pybind_state.cc:729 void Register() Please install TensorRT libraries as\nmentioned")
        engine = Path(settings.get("trt_engine_cache_path", "")) / ENGINE
        if engine.is_file():
            return engine.read_bytes()
        self.runtime.builds += 1
        if settings.get("trt_engine_cache_enable") == "1":
            engine.write_bytes(path.read_bytes())
        return path.read_bytes()

    def run(self, names: list[str], inputs: dict) -> list:
        assert not self.recorded, "a CUDA graph reads what is bound, and this is not"
        self.runs += 1
        if self.options:
            self.runtime.fail("at run", ILLEGAL)
        return self.real.run(names, inputs)

    def run_with_iobinding(self, binding: Any) -> None:
        if self.recorded:
            self.runtime.fail("capture", "CUDA failure 900: operation not permitted when stream is capturing")
        if self.bound_runs:
            self.runtime.fail("at run", ILLEGAL)
        self.thread = self.thread or threading.get_ident()
        assert self.thread == threading.get_ident(), "a CUDA graph is run by the thread that recorded it"
        self.bound_runs += 1
        self.real.run_with_iobinding(binding)
