"""ONNX Runtime with a CUDA and a TensorRT provider that compute on the CPU, and do what the real ones do besides."""

import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

ENGINE = "TensorrtExecutionProvider_TRTKernel_graph_main_graph_1234_0_0_sm90.engine"
"""What the TensorRT provider calls an engine, whatever the weights are."""
CPU = ["CPUExecutionProvider"]
ILLEGAL = "CUDA failure 700: an illegal memory access was encountered\nmore"


class FakeOnnxRuntime(ModuleType):
    """The module. `fault` is one of "no libraries", "no driver", "loops" (no CUDA graph of such a network), "capture"
    (recording it fails), "memory", "at run", "foreign layer" (that the provider lacks)."""

    __version__ = "1.31.1"

    def __init__(self, fault: str = "") -> None:
        super().__init__("onnxruntime")
        self.fault, self.builds = fault, 0
        self.sessions: list[FakeSession] = []
        self.severity: int | None = None
        self.SessionOptions = ort.SessionOptions
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._value)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU]

    def set_default_logger_severity(self, severity: int) -> None:
        self.severity = severity

    def preload_dlls(self) -> None:
        print("Failed to load libcublasLt.so.13: cannot open shared object file")

    def _value(self, shape: list[int], element_type: Any, device_type: str, device_id: int) -> SimpleNamespace:
        """Memory on the GPU: what is read of it is a copy."""
        assert (device_type, device_id) == ("cuda", 0)
        if self.fault == "memory":
            raise RuntimeError("Failed to allocate memory for requested buffer of size 786432\nmore")
        real = ort.OrtValue.ortvalue_from_shape_and_type(shape, element_type, "cpu", 0)
        return SimpleNamespace(real=real, update_inplace=real.update_inplace, numpy=lambda: np.array(real.numpy()))

    def InferenceSession(self, path: str, options: Any, providers: list, enable_fallback: int = 1) -> "FakeSession":
        session = FakeSession(self, path, options, providers, enable_fallback)
        self.sessions.append(session)
        return session


class FakeSession:
    def __init__(self, runtime: FakeOnnxRuntime, path: str, options: Any, providers: list, fallback: int) -> None:
        self.runtime, self.runs, self.bound_runs = runtime, 0, 0
        self.threads: set[int] = set()
        self.options = next((p[1] for p in providers if isinstance(p, tuple)), None)
        self.providers = [p[0] if isinstance(p, tuple) else p for p in providers]
        if not self.options:
            self.real = ort.InferenceSession(path, options, providers=CPU)
        else:
            self.providers += CPU  # always there
            self._fail_to_open(path, options, fallback)
            tensorrt = self.providers[0] == "TensorrtExecutionProvider"
            self.real = self._by_tensorrt(path) if tensorrt else ort.InferenceSession(path, providers=CPU)
        self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs

    def _fail_to_open(self, path: str, options: Any, fallback: int) -> None:
        fault = self.runtime.fault
        if fault == "no libraries":
            self.providers = CPU
        if fault in ("no libraries", "foreign layer"):
            ort.InferenceSession(path, options, providers=[], enable_fallback=0)  # refuses the CPU where it is told to
        if fault == "foreign layer" and self.recorded:
            raise RuntimeError("This session cannot use the graph capture feature\nmore")
        if fault == "no driver" or (fault == "loops" and self.recorded):
            assert not fallback, "the runtime would print an error, and go on on the CPU"
            what = "CUDA failure 35: CUDA driver version is insufficient" if fault == "no driver" else "loops"
            raise RuntimeError(what + "\nand more")

    def _by_tensorrt(self, path: str) -> Any:
        if getattr(sys.modules.get("tensorrt"), "__version__", "").partition(".")[0] != "10":
            raise RuntimeError("pybind_state.cc:729 void Register() Please install TensorRT libraries as\nmentioned")
        data = Path(path).read_bytes()
        if self.options.get("trt_engine_cache_enable") == "1":
            engine = Path(self.options["trt_engine_cache_path"]) / ENGINE
            if engine.is_file():
                return ort.InferenceSession(engine.read_bytes(), providers=CPU)
            engine.write_bytes(data)
        self.runtime.builds += 1
        return ort.InferenceSession(data, providers=CPU)

    @property
    def recorded(self) -> bool:
        return "1" in [(self.options or {}).get(name) for name in ("enable_cuda_graph", "trt_cuda_graph_enable")]

    def get_providers(self) -> list[str]:
        return self.providers

    def io_binding(self) -> SimpleNamespace:
        real = self.real.io_binding()
        return SimpleNamespace(
            real=real,
            bind_ortvalue_input=lambda name, value: real.bind_ortvalue_input(name, value.real),
            bind_ortvalue_output=lambda name, value: real.bind_ortvalue_output(name, value.real),
        )

    def run(self, names: Any, inputs: dict) -> list:
        assert not self.recorded, "a CUDA graph reads what is bound, and this is not"
        self.runs += 1
        if self.runtime.fault == "at run" and self.options:
            raise RuntimeError(ILLEGAL)
        return self.real.run(names, inputs)

    def run_with_iobinding(self, binding: SimpleNamespace) -> None:
        if self.recorded and self.runtime.fault == "capture":
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")
        if self.runtime.fault == "at run" and self.bound_runs:
            raise RuntimeError(ILLEGAL)
        self.threads.add(threading.get_ident())
        assert len(self.threads) == 1, "a CUDA graph is run by the thread that recorded it"
        self.bound_runs += 1
        self.real.run_with_iobinding(binding.real)
