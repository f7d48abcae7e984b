"""Running one network graph: ONNX Runtime on the CPU or on CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import HueglassError, UsageError

DEVICES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Graph(Protocol):
    """A network: float32 arrays in, by name; its one output, float32, out."""

    def __call__(self, /, **inputs: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class GraphInput:
    """What a graph file says of an input: `kind` as "tensor(float)", `shape` with None for sizes left open."""

    name: str
    kind: str
    shape: tuple[int | None, ...]


class OnnxGraph:
    """A graph file run by ONNX Runtime: of several outputs the first is given.

    `threads` is the number of CPU threads, 0 for the runtime's own choice. UsageError for an unknown device;
    HueglassError if ONNX Runtime is not installed, the device is not there, or the file is no graph.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int = 0) -> None:
        if device not in DEVICES:
            raise UsageError(f"device {device!r}, expected one of {', '.join(DEVICES)}")
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised; the runtime is not to print them as well
        # Threads that sleep between two layers cost a fifth of the time; threads that go on spinning after the
        # last one would take the cores from the renderer and the decoder.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if DEVICES[device] not in ort.get_available_providers():
            raise HueglassError(f"device {device!r}: not in this ONNX Runtime, which has {_devices(ort)}")
        providers = list(dict.fromkeys((DEVICES[device], DEVICES["cpu"])))
        self._path = path
        with _one_line(path):
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        # Without this look the runtime falls back to the CPU and says nothing.
        if DEVICES[device] not in self._session.get_providers():
            raise HueglassError(f"device {device!r}: cannot be used here, expected a working driver and its libraries")

    @property
    def inputs(self) -> list[GraphInput]:
        """What has to be given, in the order of the file."""

        def sizes(shape: list) -> tuple[int | None, ...]:
            return tuple(n if isinstance(n, int) else None for n in shape)

        return [GraphInput(x.name, x.type, sizes(x.shape)) for x in self._session.get_inputs()]

    def __call__(self, /, **inputs: np.ndarray) -> np.ndarray:  # an input of a stranger's graph may be named "self"
        with _one_line(self._path):
            return self._session.run(None, inputs)[0]


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turns any error of the runtime, which has a class per kind of trouble, into one line."""
    try:
        yield
    except Exception as error:
        raise HueglassError(f"{path}: cannot be run: {str(error).splitlines()[0]}") from None


def _devices(ort) -> str:  # type: ignore[no-untyped-def]
    return ", ".join(name for name, provider in DEVICES.items() if provider in ort.get_available_providers())


def _onnxruntime():  # type: ignore[no-untyped-def]
    try:
        import onnxruntime
    except ImportError:
        raise HueglassError('ONNX Runtime is not installed: pip install "hueglass[cpu]" or "hueglass[gpu]"') from None
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return onnxruntime
