"""Graphs run as TensorRT engines, without ONNX Runtime."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError

from .devices import Device
from .engine_cache import load_engine, unavailable
from .gpu import import_cupy
from .graph import runtime_errors
from .tensorrt_builder import EnginePrecision, import_tensorrt, output_name, take_error
from .tensors import KINDS, GraphInput, Profile, TensorShape, check_inputs, shown


def missing(device: Device) -> str | None:
    """Why TensorRT cannot be used here, in one line; None if it can."""
    return unavailable()


def open_on(device: Device, path: Path, threads: int, profile: Profile | None, outputs: int | None) -> "TensorRtGraph":
    """The graph file as an engine."""
    return TensorRtGraph(path, profile, outputs=outputs)


class TensorRtGraph:
    """A graph file run as a TensorRT engine on the GPU, built where the cache has none.

    `profile` is for inputs with open sizes, `precision` for float32: see `tensorrt_builder`; `outputs` is as in
    `OnnxGraph`. UsageError for a missing file or profile; HueglassError if TensorRT, CuPy or a GPU is not there, or the
    graph cannot be built or run.

    Memory on the GPU is kept from call to call. Calls from several threads take turns.
    """

    device = Device.TENSORRT

    def __init__(
        self,
        path: Path,
        profile: Profile | None = None,
        precision: EnginePrecision = "as-written",
        outputs: int | None = None,
    ) -> None:
        self._path = path
        self._cupy, self._trt = import_cupy(), import_tensorrt()
        self._engine = load_engine(path, profile, precision, outputs=outputs)
        with runtime_errors(path, self.device):
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            takes = [self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names]
            self.inputs = [self._described(name) for name, is_input in zip(names, takes, strict=True) if is_input]
            outs = [output_name(i) for i in range(len(names) - len(self.inputs))]
            self._outputs = {name: KINDS[self._described(name).kind] for name in outs}
            self._context = self._done(self._engine.create_execution_context(), "made ready")
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._buffers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, /, **inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """As `OnnxGraph`. HueglassError, one line, where an input does not fit or the GPU fails."""
        with self._lock, runtime_errors(self._path, self.device), self._stream:
            self._check(inputs)
            for name, array in inputs.items():
                source = np.ascontiguousarray(array)
                self._buffer(name, source.shape, source.dtype).set(source, stream=self._stream)
            results = tuple(result.get(stream=self._stream) for result in self._run(inputs))
            self._stream.synchronize()  # CuPy before 13 leaves it to its callers
            return results

    def _described(self, name: str) -> GraphInput:
        """An input or an output in ONNX Runtime's words."""
        if self._engine.get_tensor_location(name) != self._trt.TensorLocation.DEVICE:
            raise HueglassError(f"{self._path}: {name!r} sets the sizes of other tensors, which is not served")
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        kind = next(kind for kind, known in KINDS.items() if known == dtype)
        shape = tuple(self._engine.get_tensor_shape(name))
        return GraphInput(name, kind, tuple(None if n < 0 else n for n in shape))

    def _check(self, inputs: Mapping[str, Any]) -> None:
        check_inputs(self._path, self.inputs, inputs)
        for x in self.inputs:
            if None not in x.shape:
                continue
            least, _, most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(x.name, 0))
            shape = inputs[x.name].shape
            if not all(low <= n <= high for low, n, high in zip(least, shape, most, strict=True)):
                found = f"input {x.name!r} is {shown(shape)}"
                raise HueglassError(f"{self._path}: {found}, expected {shown(least)} to {shown(most)} as built")

    def _run(self, names: Mapping[str, Any]) -> list[Any]:
        """Queues the network for the inputs in the buffers of these names; gives those that will hold the results."""
        take_error(self._trt)  # what is reported from here on is about this run
        for name in names:
            array = self._buffers[name]
            self._done(self._context.set_input_shape(name, array.shape), "given its shapes")
            self._done(self._context.set_tensor_address(name, array.data.ptr), "given its inputs")
        results = [self._place_for(name, dtype) for name, dtype in self._outputs.items()]
        self._done(self._context.execute_async_v3(self._stream.ptr), "run")
        return results

    def _place_for(self, output: str, dtype: np.dtype) -> Any:
        """The buffer that the network will write an output to: its size follows from those of the inputs."""
        shape = tuple(self._context.get_tensor_shape(output))
        if any(n < 0 for n in shape):
            raise HueglassError(f"{self._path}: gives {shown(shape)}, expected sizes that follow from the input's")
        result = self._buffer(output, shape, dtype)
        self._done(self._context.set_tensor_address(output, result.data.ptr), "given its outputs")
        return result

    def _buffer(self, name: str, shape: TensorShape, dtype: np.dtype) -> Any:
        """The memory for a tensor: that of the call before, unless the shape is another."""
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers.pop(name, None)  # before there is more
            self._buffers[name] = self._cupy.empty(shape, dtype)
        return self._buffers[name]

    def _done(self, answer: Any, what: str) -> Any:
        """TensorRT answers False or None where something failed, and logs why."""
        if answer is None or answer is False:
            raise RuntimeError(take_error(self._trt) or f"TensorRT says not why it cannot be {what}")
        return answer
