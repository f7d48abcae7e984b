"""Stand-ins for TensorRT and CuPy on a machine without a GPU, for what the code uses of them and no more.

They are strict: where the real ones refuse, report or corrupt memory, so do these, or they fail the test. What is put
on a stream waits there until somebody synchronises, so that a result fetched too early is wrong here as well. "Memory
on the GPU" is ordinary memory with real addresses. An engine runs its graph file by ONNX Runtime on the CPU.

The names, the signatures and what is answered where are those of TensorRT 10.13 and 11.4 and of CuPy 14.
"""

import hashlib
import json
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

MAGIC = b"an engine of the fake"
TIMINGS = b"timings of the fake "


@dataclass
class Machine:
    """The GPU and what goes wrong on it."""

    gpu: str = "NVIDIA Fake 9000"
    capability: str = "90"
    driver: bool = True
    memory: int = 1 << 30
    unsupported: set[str] = field(default_factory=set)
    """Operators that the parser does not know."""
    fails: set[str] = field(default_factory=set)
    """Of "build", "build memory", "context memory", "execute", "device shape"."""
    builds: list[SimpleNamespace] = field(default_factory=list)
    """What was built: `typed`, `flags`, `creation`, `workspace`, `profile`, `timings` (of earlier builds)."""
    uploads: int = 0
    allocations: int = 0
    memories: "weakref.WeakValueDictionary[int, Memory]" = field(default_factory=weakref.WeakValueDictionary)
    streams: dict[int, "Stream"] = field(default_factory=dict)

    def at(self, pointer: int, size: int) -> "Memory":
        """The memory that holds `size` bytes at an address; on a real GPU anything else would be a fault."""
        assert pointer % 256 == 0, f"{pointer:#x} is not aligned"
        for memory in list(self.memories.values()):
            if memory.start <= pointer and pointer + size <= memory.start + memory.size:
                return memory
        raise AssertionError(f"no memory of {size} bytes at {pointer:#x}")


class Memory:
    """Bytes at a multiple of 512, as CuPy gives them."""

    def __init__(self, machine: Machine, size: int) -> None:
        taken = sum(memory.size for memory in machine.memories.values())
        if taken + size > machine.memory:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {taken:,} bytes).")
        self.raw = np.full(size + 512, 0xCD, np.uint8)
        self.start, self.size = -(-self.raw.ctypes.data // 512) * 512, size
        self.bytes = self.raw[self.start - self.raw.ctypes.data :][:size]
        machine.memories[self.start] = self
        machine.allocations += 1


class OutOfMemoryError(MemoryError):
    pass


class CUDARuntimeError(RuntimeError):
    pass


# CuPy ------------------------------------------------------------------------------------------------------------


class Stream:
    """Holds what is asked of it until it is waited for."""

    current = threading.local()

    def __init__(self, machine: Machine, null: bool = False, non_blocking: bool = False) -> None:
        _need_driver(machine)
        self.ptr = 0 if null else 1000 + len(machine.streams)
        self.machine, self.non_blocking, self.done, self.queue = machine, non_blocking, 0, []  # type: ignore[var-annotated]
        machine.streams[self.ptr] = self

    def put(self, work: Callable[[], None]) -> None:
        self.queue.append(work)

    def advance(self, until: int) -> None:
        while self.done < until:
            self.done += 1
            self.queue[self.done - 1]()
            self.queue[self.done - 1] = None  # and with it the memory that it held

    def synchronize(self) -> None:
        self.advance(len(self.queue))

    def record(self) -> SimpleNamespace:
        return SimpleNamespace(stream=self, position=len(self.queue))

    def wait_event(self, event: SimpleNamespace) -> None:
        self.put(lambda: event.stream.advance(event.position))

    def __enter__(self) -> "Stream":
        self.current.__dict__.setdefault("stack", []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.current.stack.pop() is self


class Array:
    """A cupy.ndarray."""

    def __init__(self, machine: Machine, memory: Memory, view: np.ndarray) -> None:
        self.machine, self.memory, self.view = machine, memory, view
        self.shape, self.dtype = view.shape, view.dtype
        self.flags = SimpleNamespace(c_contiguous=view.flags.c_contiguous)
        self.data = SimpleNamespace(ptr=view.ctypes.data)

    def set(self, source: np.ndarray, stream: Stream | None = None) -> None:
        assert type(source) is np.ndarray
        if source.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {source.shape}")
        if source.dtype != self.dtype:
            raise TypeError(f"{source.dtype} array cannot be set to {self.dtype} array")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        staged = source.copy()
        self.machine.uploads += 1
        (stream or _current(self.machine)).put(lambda: self.view.__setitem__(..., staged))

    def get(self, stream: Stream | None = None) -> np.ndarray:
        """As CuPy before 13 did it where a stream is given: not waiting for the copy."""
        out = np.full(self.shape, 77, self.dtype)
        view = self.view
        (stream or _current(self.machine)).put(lambda: out.__setitem__(..., view))
        return out

    def __getitem__(self, index: Any) -> "Array":
        return Array(self.machine, self.memory, self.view[index])

    def __setitem__(self, index: Any, other: "Array") -> None:
        assert isinstance(other, Array)
        _current(self.machine).put(lambda: self.view.__setitem__(index, other.view))


def _need_driver(machine: Machine) -> None:
    if not machine.driver:
        message = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
        raise CUDARuntimeError(message)


def _current(machine: Machine) -> Stream:
    stack = Stream.current.__dict__.get("stack")
    return stack[-1] if stack else machine.streams.get(0) or Stream(machine, null=True)


def fake_cupy(machine: Machine) -> ModuleType:
    def empty(shape: tuple[int, ...], dtype: Any) -> Array:
        _need_driver(machine)
        dtype = np.dtype(dtype)
        memory = Memory(machine, max(1, int(np.prod(shape)) * dtype.itemsize))
        return Array(machine, memory, memory.bytes[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape))

    def asarray(source: np.ndarray) -> Array:
        array = empty(source.shape, source.dtype)
        array.set(source)
        return array

    def asnumpy(array: Array) -> np.ndarray:
        result = array.get()
        _current(machine).synchronize()
        return result

    def properties(number: int) -> dict:
        _need_driver(machine)
        return {"name": machine.gpu.encode(), "major": int(machine.capability[:-1])}

    def device() -> int:
        _need_driver(machine)
        return 0

    cupy: Any = ModuleType("cupy")
    cupy.empty, cupy.asarray, cupy.asnumpy, cupy.ndarray = empty, asarray, asnumpy, Array
    cupy.cuda = SimpleNamespace(
        Stream=lambda non_blocking=False: Stream(machine, non_blocking=non_blocking),
        get_current_stream=lambda: _current(machine),
        Device=lambda number: SimpleNamespace(compute_capability=machine.capability),
        runtime=SimpleNamespace(getDevice=device, getDeviceProperties=properties, CUDARuntimeError=CUDARuntimeError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )
    return cupy


# TensorRT --------------------------------------------------------------------------------------------------------


class Dims:
    """A shape: a sequence, and not a tuple."""

    def __init__(self, sizes: Any) -> None:
        self.sizes = [int(n) for n in sizes]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> int:
        return self.sizes[i]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | list | Dims) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)
TensorIOMode = Enum("TensorIOMode", "NONE INPUT OUTPUT", start=0)
TensorLocation = Enum("TensorLocation", "DEVICE HOST", start=0)
DataType = Enum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64", start=0)
MemoryPoolType = Enum("MemoryPoolType", "WORKSPACE TACTIC_DRAM", start=0)
WEAK_FLAGS = "FP16 BF16 INT8 FP8 INT4 FP4 OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS"
"""Gone from 11 on."""
FLAGS = "DEBUG REFIT DISABLE_TIMING_CACHE TF32 VERSION_COMPATIBLE STRIP_PLAN"
NUMPY = {
    DataType.FLOAT: np.float32,  # type: ignore[attr-defined]
    DataType.HALF: np.float16,  # type: ignore[attr-defined]
    DataType.INT32: np.int32,  # type: ignore[attr-defined]
    DataType.INT64: np.int64,  # type: ignore[attr-defined]
    DataType.UINT8: np.uint8,  # type: ignore[attr-defined]
    DataType.BOOL: np.bool_,  # type: ignore[attr-defined]
}


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)


def _dtype(value: onnx.ValueInfoProto) -> Any:
    known = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    return next((kind for kind, dtype in NUMPY.items() if np.dtype(dtype) == known), DataType.BF16)  # type: ignore[attr-defined]


class TensorRt:
    """The module's state: its version, its machine, and its only logger."""

    def __init__(self, version: str, machine: Machine) -> None:
        self.version, self.machine, self.logger = version, machine, None  # type: ignore[var-annotated]
        self.major = int(version.split(".")[0])

    def take_logger(self, logger: Any) -> None:
        """The first one stays, whatever is given later."""
        assert getattr(logger, "begun", False), "ILogger.__init__ was not called"
        self.logger = self.logger or logger
        if not self.machine.driver:
            self.error("CUDA initialization failure with error: 35. Please check your CUDA installation")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def error(self, message: str) -> None:
        self.logger.log(Severity.ERROR, message)  # type: ignore[attr-defined]


class Network:
    def __init__(self, typed: bool) -> None:
        self.typed, self.model, self.outputs = typed, None, []  # type: ignore[var-annotated]
        self.parser: Any = lambda: None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input) if self.model else 0

    def get_input(self, index: int) -> SimpleNamespace:
        value = self.model.graph.input[index]
        return SimpleNamespace(name=value.name, shape=Dims(_shape(value)), dtype=_dtype(value))

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_output(self, index: int) -> SimpleNamespace:
        assert 0 <= index < len(self.outputs)
        return SimpleNamespace(name=self.outputs[index])

    def unmark_output(self, tensor: SimpleNamespace) -> None:
        self.outputs.remove(tensor.name)


class ParserError:
    def __init__(self, desc: str, node: int = -1, name: str = "", operator: str = "") -> None:
        self.parts = desc, node, name, operator

    def desc(self) -> str:
        return self.parts[0]

    def node(self) -> int:
        return self.parts[1]

    def node_name(self) -> str:
        return self.parts[2]

    def node_operator(self) -> str:
        return self.parts[3]


class OnnxParser:
    def __init__(self, trt: TensorRt, network: Network, logger: Any) -> None:
        trt.take_logger(logger)
        self.trt, self.network, self.errors = trt, network, []  # type: ignore[var-annotated]

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> ParserError:
        return self.errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            found = onnx.load_model_from_string(model)
            onnx.checker.check_model(found)
        except Exception:
            self.errors.append(ParserError("Failed to parse ONNX model\nfrom the buffer."))
            return False
        for i, node in enumerate(found.graph.node):
            if node.op_type in self.trt.machine.unsupported:
                desc = f"No importer registered for op: {node.op_type}.\nAttempting to import as plugin."
                self.errors.append(ParserError(desc, i, node.name, node.op_type))
                self.trt.error(f"In node {i}: UNSUPPORTED_NODE")
                return False
        self.network.model, self.network.parser = found, weakref.ref(self)
        self.network.outputs = [value.name for value in found.graph.output]
        return True


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not len(min) == len(opt) == len(max) or not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        self.shapes[input] = (tuple(min), tuple(opt), tuple(max))


class TimingCache:
    def __init__(self, owner: str, builds: int) -> None:
        self.owner, self.builds = owner, builds

    def serialize(self) -> memoryview:
        return memoryview(TIMINGS + json.dumps([self.owner, self.builds]).encode())


class BuilderConfig:
    def __init__(self, trt: TensorRt, flags: Any) -> None:
        self.trt, self.kinds, self.flags, self.workspace = trt, flags, {flags.TF32}, None  # type: ignore[var-annotated]
        self.profiles: list[OptimizationProfile] = []
        self.timings: Any = None

    def set_flag(self, flag: Any) -> None:
        assert isinstance(flag, self.kinds)
        self.flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        assert isinstance(flag, self.kinds)
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE  # type: ignore[attr-defined]
        self.workspace = int(pool_size)

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        if not profile.shapes:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache | None:
        if not serialized_timing_cache:
            return TimingCache(self.owner, 0)
        if not serialized_timing_cache.startswith(TIMINGS):
            self.trt.error("createTimingCache: Serialization assertion failed")
            return None
        return TimingCache(*json.loads(serialized_timing_cache[len(TIMINGS) :]))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.owner != self.owner and not ignore_mismatch:
            return False
        self.timings = weakref.ref(cache)  # it is the caller's to keep until the engine is built
        return True

    @property
    def owner(self) -> str:
        return f"{self.trt.version} {self.trt.machine.gpu}"


class Builder:
    def __init__(self, trt: TensorRt, flags: Any, logger: Any) -> None:
        trt.take_logger(logger)
        self.trt, self.flags, self.creation = trt, flags, 0

    def create_network(self, flags: int = 0) -> Network:
        self.creation = flags
        return Network(typed=self.trt.major >= 11 or bool(flags & 0b10))

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self.trt, self.flags)

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> memoryview | None:
        problem = self._problem(network, config)
        if problem:
            self.trt.error(problem)
            return None
        timings = None
        if config.timings is not None:
            cache = config.timings()
            assert cache is not None, "the timing cache was freed before the engine was built"
            timings, cache.builds = cache.builds, cache.builds + 1
        profile = config.profiles[0].shapes if config.profiles else {}
        flags = {flag.name for flag in config.flags}
        self.trt.machine.builds.append(
            SimpleNamespace(
                typed=network.typed,
                flags=flags,
                creation=self.creation,
                workspace=config.workspace,
                profile=profile,
                timings=timings,
            )
        )
        head = {"version": self.trt.version, "gpu": self.trt.machine.gpu, "profile": profile, "output": network.outputs}
        body = json.dumps(head).encode() + b"\n" + network.model.SerializeToString()
        return memoryview(MAGIC + hashlib.sha256(body).digest() + body)

    def _problem(self, network: Network, config: BuilderConfig) -> str:
        """What a build would report."""
        machine = self.trt.machine
        assert network.parser() is not None, (
            "the parser, and with it the weights, was freed before the engine was built"
        )
        open_inputs = [x.name for x in map(network.get_input, range(network.num_inputs)) if -1 in tuple(x.shape)]
        covered = {name for profile in config.profiles for name in profile.shapes}
        if "build" in machine.fails:
            return "Error Code 10: Internal Error (Could not find any implementation\n for node {ForeignNode[...]}.)"
        if "build memory" in machine.fails:
            return (
                "[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (Requested size was 9 bytes.)"
            )
        if set(open_inputs) - covered:
            return "Network has dynamic or shape inputs, but no optimization profile has been defined."
        if network.typed and {flag.name for flag in config.flags} & set(WEAK_FLAGS.split()):
            return "Error Code 4: API Usage Error (Precision flags cannot be set on a strongly typed network.)"
        return ""


class Runtime:
    def __init__(self, trt: TensorRt, logger: Any) -> None:
        trt.take_logger(logger)
        self.trt = trt

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "Engine | None":
        whole = bytes(serialized_engine)
        digest, body = whole[len(MAGIC) :][:32], whole[len(MAGIC) + 32 :]
        if not whole.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
            self.trt.error("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magicTag failed.)")
            return None
        head, model = body.split(b"\n", 1)
        found = json.loads(head)
        if (found["version"], found["gpu"]) != (self.trt.version, self.trt.machine.gpu):
            self.trt.error("IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (version mismatch.)")
            return None
        return Engine(self.trt, found, model)


class Engine:
    def __init__(self, trt: TensorRt, head: dict, model: bytes) -> None:
        self.trt, self.model = trt, onnx.load_model_from_string(model)
        self.profile = {name: [Dims(shape) for shape in shapes] for name, shapes in head["profile"].items()}
        self.ins = {value.name: value for value in self.model.graph.input}
        self.outs = {value.name: value for value in self.model.graph.output if value.name in head["output"]}
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    @property
    def num_io_tensors(self) -> int:
        return len(self.ins) + len(self.outs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.ins, *self.outs][index]

    def get_tensor_mode(self, name: str) -> Any:
        if name not in self.ins and name not in self.outs:
            return TensorIOMode.NONE  # type: ignore[attr-defined]
        return TensorIOMode.INPUT if name in self.ins else TensorIOMode.OUTPUT  # type: ignore[attr-defined]

    def get_tensor_dtype(self, name: str) -> Any:
        return _dtype((self.ins | self.outs)[name])

    def get_tensor_location(self, name: str) -> Any:
        return TensorLocation.HOST if "device shape" in self.trt.machine.fails else TensorLocation.DEVICE  # type: ignore[attr-defined]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(_shape((self.ins | self.outs)[name]))

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        assert profile_index == 0
        return self.profile.get(name) or 3 * [self.get_tensor_shape(name)]

    def create_execution_context(self) -> "Context | None":
        if "context memory" in self.trt.machine.fails:
            self.trt.error("[executionContext.cpp::ExecutionContext::600] Error Code 1: Cuda Runtime (out of memory)")
            return None
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.shapes = {name: _shape(value) for name, value in engine.ins.items()}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple | list | Dims) -> bool:
        assert isinstance(shape, tuple | list | Dims)
        if name not in self.engine.ins:
            return self._refused(f"Given invalid tensor name: {name}.")
        least, _, most = map(tuple, self.engine.get_tensor_profile_shape(name, 0))
        fits = len(shape) == len(least) and all(a <= n <= c for a, n, c in zip(least, shape, most, strict=True))
        if not fits:
            return self._refused(f"Static dimension or profile mismatch while setting input shape for {name}.")
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        if name not in self.engine.ins and name not in self.engine.outs:
            return self._refused(f"Given invalid tensor name: {name}.")
        self.addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self.engine.ins:
            return Dims(self.shapes[name])
        model = onnx.ModelProto()
        model.CopyFrom(self.engine.model)
        del model.graph.value_info[:]
        for value in model.graph.input:
            for dim, n in zip(value.type.tensor_type.shape.dim, self.shapes[value.name], strict=True):
                if n >= 0:
                    dim.dim_value = n
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        return Dims(_shape(next(value for value in inferred.graph.output if value.name == name)))

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine, engine = self.trt.machine, self.engine
        stream = machine.streams[stream_handle]
        assert stream.ptr != 0, "the default stream makes TensorRT wait for the whole device"
        names = [*engine.ins, *engine.outs]
        if set(names) - set(self.addresses):
            return self._refused("Neither address or allocator is set for a tensor.")
        if any(-1 in shape for shape in self.shapes.values()):
            return self._refused("Optimization profile or input shapes are not set.")
        if "execute" in machine.fails:
            return self._refused("IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal access)\n")
        views = {}
        for name in names:
            shape, dtype = tuple(self.get_tensor_shape(name)), np.dtype(NUMPY[engine.get_tensor_dtype(name)])
            size = int(np.prod(shape)) * dtype.itemsize
            memory = machine.at(self.addresses[name], size)
            views[name] = memory.bytes[self.addresses[name] - memory.start :][:size].view(dtype).reshape(shape)
        (output,) = engine.outs

        def work() -> None:
            feeds = {name: views[name].copy() for name in engine.ins}
            views[output][...] = engine.session.run([output], feeds)[0]

        stream.put(work)
        return True

    def _refused(self, message: str) -> bool:
        self.trt.error(message)
        return False


def fake_tensorrt(version: str, machine: Machine) -> ModuleType:
    """The module of a version: 10.x has weak typing and its flags, 11.x has not."""
    state = TensorRt(version, machine)
    flags: Any = Enum("BuilderFlag", FLAGS if state.major >= 11 else f"{WEAK_FLAGS} {FLAGS}", start=0)
    names = {"STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 2} | ({} if state.major >= 11 else {"EXPLICIT_BATCH": 0})

    class ILogger:
        Severity = Severity
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

        def __init__(self) -> None:
            self.begun = True

    class CreationFlag(int):
        pass

    def nptype(kind: Any) -> Any:
        if kind not in NUMPY:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return NUMPY[kind]

    trt: Any = ModuleType("tensorrt")
    trt.__version__, trt.ILogger, trt.nptype, trt.BuilderFlag = version, ILogger, nptype, flags
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(**{name: CreationFlag(n) for name, n in names.items()})
    trt.MemoryPoolType, trt.TensorIOMode, trt.TensorLocation = MemoryPoolType, TensorIOMode, TensorLocation
    trt.DataType = DataType
    trt.Builder = lambda logger: Builder(state, flags, logger)
    trt.Runtime = lambda logger: Runtime(state, logger)
    trt.OnnxParser = lambda network, logger: OnnxParser(state, network, logger)
    return trt


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine, version: str = "10.13.0.35") -> None:
    """Puts both where `import` finds them, for the length of a test."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version, machine))
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(machine))


def small_graph(path: Path, shape: tuple = (1, 3, 4, 4), scale: float = 2.0, then: str = "") -> Path:
    """A graph file: `scaled` = `picture` * scale, and `then` an operator on it, as `out`."""
    helper = onnx.helper
    nodes = [helper.make_node("Mul", ["picture", "scale"], ["scaled"], name="scaling")]
    outputs = [helper.make_tensor_value_info("scaled", onnx.TensorProto.FLOAT, shape)]
    if then:
        kind = onnx.TensorProto.INT64 if then in ("NonZero", "ArgMax") else onnx.TensorProto.FLOAT
        nodes.append(helper.make_node(then, ["scaled"], ["out"], name="the_last"))
        outputs = [helper.make_tensor_value_info("out", kind, None)]
    takes = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, shape)
    stored = onnx.numpy_helper.from_array(np.float32(scale), "scale")
    graph = helper.make_graph(nodes, "small", [takes], outputs, [stored])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path
