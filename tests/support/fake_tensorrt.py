"""TensorRT on a machine without a GPU, for what the code uses of it and no more.

It is strict: where the real one refuses, reports or corrupts memory, so does this, or it fails the test. An engine runs
its graph file by ONNX Runtime on the CPU. Names and signatures are those of TensorRT 10.13 and 11.4.
"""

import copy
import json
import sys
import weakref
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from .fake_cupy import FakeCupy, Machine

TIMINGS = b"timings of the fake "
FAILURES = {
    "build": "Error Code 10: Internal Error (Could not find any implementation\n for node {ForeignNode[...]}.)",
    "build memory": "[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (Requested size was 9.)",
    "context memory": "[executionContext.cpp::ExecutionContext::600] Error Code 1: Cuda Runtime (out of memory)",
    "execute": "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal access)\n",
}


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)


class FakeTensorRt(ModuleType):
    """The module of a version: 10.x has weak typing and its flags, 11.x has not."""

    ILogger, nptype = ILogger, np.dtype
    MemoryPoolType = Enum("MemoryPoolType", "WORKSPACE")
    TensorIOMode = Enum("TensorIOMode", "INPUT OUTPUT")
    TensorLocation = Enum("TensorLocation", "DEVICE HOST")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    logger: Any = None

    def __init__(self, version: str, machine: Machine) -> None:
        super().__init__("tensorrt")
        self.__version__, self.machine, self.weak = version, machine, version.startswith("10")
        self.BuilderFlag = Enum("BuilderFlag", "TF32 FP16 BF16 INT8" if self.weak else "TF32")
        self.Builder, self.Runtime = lambda logger: Builder(self, logger), lambda logger: Runtime(self, logger)
        self.OnnxParser = lambda network, logger: OnnxParser(self, logger, network)

    @property
    def owner(self) -> str:
        """Whose engines and timings can be used here."""
        return f"{self.__version__} {self.machine.gpu}"

    def error(self, message: str) -> None:
        """Reports it. What fails answers None here, where some of the real ones answer False."""
        self.logger.log(ILogger.ERROR, message)

    def fails(self, way: str) -> bool:
        if way in self.machine.fails:
            self.error(FAILURES[way])
        return way in self.machine.fails


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """A sequence, and not a tuple, as TensorRT's own Dims."""
    return [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]


def _tensors(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    return {value.name: value for value in (*model.graph.input, *reversed(model.graph.output))}  # not the file's order


@dataclass
class _OfGpu:
    """What needs a driver, and takes a logger: the first one stays, whatever is given later."""

    trt: FakeTensorRt
    logger: Any

    def __post_init__(self) -> None:
        self.trt.logger = self.trt.logger or self.logger
        if not self.trt.machine.driver:
            self.trt.error("CUDA initialization failure with error: 35. Please check your CUDA installation")
            raise TypeError("pybind11::init(): factory function returned nullptr")


class Network(SimpleNamespace):
    """`model`, `parser` and `names`, the outputs' in the file, are what the parser fills in."""

    num_inputs = property(lambda self: len(self.model.graph.input))
    num_outputs = property(lambda self: len(self.model.graph.output))
    get_output = property(lambda self: self.model.graph.output.__getitem__)
    unmark_output = property(lambda self: self.model.graph.output.remove)

    def get_input(self, index: int) -> SimpleNamespace:
        value = self.model.graph.input[index]
        return SimpleNamespace(name=value.name, shape=_shape(value))


@dataclass
class OnnxParser(_OfGpu):
    network: Network
    num_errors: int = 0

    def parse(self, data: bytes) -> bool:
        try:
            model = onnx.load_model_from_string(data)
            onnx.checker.check_model(model)
        except Exception:
            return self._refuse("Failed to parse ONNX model\nfrom the buffer.")
        for i, node in enumerate(model.graph.node):
            if node.op_type in self.trt.machine.unsupported:
                why = f"No importer registered for op: {node.op_type}.\nAttempting to import as plugin."
                return self._refuse(why, i, node.name, node.op_type)
        self.network.model, self.network.parser = model, weakref.ref(self)
        self.network.names = [value.name for value in model.graph.output]
        return True

    def _refuse(self, desc: str, node: int = -1, name: str = "", kind: str = "") -> bool:
        texts = {"desc": desc, "node": node, "node_name": name, "node_operator": kind}
        error = SimpleNamespace(**{key: lambda text=text: text for key, text in texts.items()})
        self.num_errors, self.get_error = 1, [error].__getitem__
        return False


@dataclass
class TimingCache:
    owner: str
    builds: int

    def serialize(self) -> memoryview:
        return memoryview(TIMINGS + json.dumps([self.owner, self.builds]).encode())


class Profile(dict):
    def set_shape(self, name: str, *sizes: tuple[int, ...]) -> None:
        self[name] = sizes


@dataclass
class BuilderConfig:
    trt: FakeTensorRt
    flags: set[Enum]
    profile: Profile = field(default_factory=Profile)
    workspace: int | None = None
    timings: Any = None
    set_flag = property(lambda self: self.flags.add)
    clear_flag = property(lambda self: self.flags.remove)

    def set_memory_pool_limit(self, pool: Enum, pool_size: int) -> None:
        self.workspace = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, data: bytes) -> TimingCache | None:
        if data and not data.startswith(TIMINGS):
            return self.trt.error("createTimingCache: Serialization assertion failed")
        return TimingCache(*(json.loads(data.removeprefix(TIMINGS)) if data else (self.trt.owner, 0)))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.timings = weakref.ref(cache)  # it is the caller's to keep until the engine is built
        return cache.owner == self.trt.owner


class Builder(_OfGpu):
    create_optimization_profile = Profile

    def create_network(self, flags: int) -> Network:
        return Network(creation=flags, typed=not self.trt.weak or bool(flags & 0b10))

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self.trt, {self.trt.BuilderFlag.TF32})

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> memoryview | None:
        flags, cache = {flag.name for flag in config.flags}, config.timings and config.timings()
        assert network.parser() is not None, "the parser, and with it the weights, was freed before the engine"
        assert (cache is None) == (config.timings is None), "the timing cache was freed before the engine was built"
        if self.trt.fails("build") or self.trt.fails("build memory"):
            return None
        if network.typed and flags - {"TF32"}:
            return self.trt.error("API Usage Error (Precision flags cannot be set on a strongly typed network.)")
        made = {"workspace": config.workspace, "profile": config.profile, "timings": cache and cache.builds}
        build = SimpleNamespace(typed=network.typed, flags=flags, creation=network.creation, **made)
        self.trt.machine.builds.append(build)
        if cache:
            cache.builds += 1
        renamed = zip(network.names, network.model.graph.output, strict=False)
        nodes = [onnx.helper.make_node("Identity", [a], [b.name]) for a, b in renamed if a != b.name]
        network.model.graph.node.extend(nodes)
        head = f"{self.trt.owner}\n{json.dumps(config.profile)}\n"
        return memoryview(head.encode() + network.model.SerializeToString())


class Runtime(_OfGpu):
    def deserialize_cuda_engine(self, data: bytes) -> "Engine | None":
        owner, _, rest = bytes(data).partition(b"\n")
        if owner != self.trt.owner.encode():
            return self.trt.error("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magicTag failed.)")
        profile, _, model = rest.partition(b"\n")
        return Engine(self.trt, json.loads(profile), model)


class Engine:
    def __init__(self, trt: FakeTensorRt, profile: dict, model: bytes) -> None:
        self.trt, self.profile, self.model = trt, profile, onnx.load_model_from_string(model)
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.tensors = _tensors(self.model)
        self.num_io_tensors, self.get_tensor_name = len(self.tensors), [*self.tensors].__getitem__

    def get_tensor_mode(self, name: str) -> Enum:
        return self.trt.TensorIOMode["OUTPUT" if self.tensors[name] in self.model.graph.output else "INPUT"]

    def get_tensor_dtype(self, name: str) -> np.dtype:
        return onnx.helper.tensor_dtype_to_np_dtype(self.tensors[name].type.tensor_type.elem_type)

    def get_tensor_location(self, name: str) -> Enum:
        return self.trt.TensorLocation["HOST" if "device shape" in self.trt.machine.fails else "DEVICE"]

    def get_tensor_shape(self, name: str) -> list[int]:
        return _shape(self.tensors[name])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return self.profile.get(name) or 3 * [self.get_tensor_shape(name)]

    def create_execution_context(self) -> "Context | None":
        return None if self.trt.fails("context memory") else Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.trt, self.model = engine, engine.trt, copy.deepcopy(engine.model)
        del self.model.graph.value_info[:]  # it is of open sizes
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool | None:
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        if len(shape) != len(least) or not all(a <= n <= c for a, n, c in zip(least, shape, most, strict=True)):
            return self.trt.error(f"Static dimension or profile mismatch while setting input shape for {name}.")
        for dim, n in zip(_tensors(self.model)[name].type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = n
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool | None:
        if name not in self.engine.tensors:
            return self.trt.error(f"Given invalid tensor name: {name}.")
        self.addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        """An output's follows from the inputs'."""
        return _shape(_tensors(onnx.shape_inference.infer_shapes(self.model, data_prop=True))[name])

    def execute_async_v3(self, stream_handle: int) -> bool | None:
        engine, names, at = self.engine, self.engine.tensors, self.trt.machine.at
        assert stream_handle != 0, "the default stream makes TensorRT wait for the whole device"
        shapes = {name: self.get_tensor_shape(name) for name in names}
        if names.keys() - self.addresses or any(-1 in shape for shape in shapes.values()):
            return self.trt.error("Neither address or allocator is set for a tensor, or an input's shape is not set.")
        if self.trt.fails("execute"):
            return None
        views = {name: at(self.addresses[name], shapes[name], engine.get_tensor_dtype(name)) for name in names}

        def work() -> None:
            given = {x.name: np.array(views[x.name]) for x in engine.session.get_inputs()}
            for x, found in zip(engine.session.get_outputs(), engine.session.run(None, given), strict=True):
                views[x.name][...] = found

        self.trt.machine.streams[stream_handle].put(work)
        return True


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine, version: str = "10.13.0.35") -> None:
    """Puts it, and CuPy, where `import` finds them, for the length of a test."""
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(version, machine))
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(machine))
