"""TensorRT on a machine without a GPU, for what the code uses of it and no more.

It is strict: where the real one refuses, reports or corrupts memory, so does this, or it fails the test. An engine runs
its graph file by ONNX Runtime on the CPU. Names, signatures and answers are those of TensorRT 10.13 and 11.4.
"""

import hashlib
import json
import sys
import weakref
from dataclasses import dataclass
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from .fake_cupy import FakeCupy, Machine

MAGIC = b"an engine of the fake"
TIMINGS = b"timings of the fake "
Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)
TensorIOMode = Enum("TensorIOMode", "NONE INPUT OUTPUT", start=0)
TensorLocation = Enum("TensorLocation", "DEVICE HOST", start=0)
MemoryPoolType = Enum("MemoryPoolType", "WORKSPACE TACTIC_DRAM", start=0)
WEAK_FLAGS = "FP16 BF16 INT8 FP8 INT4 FP4 OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS"
"""Gone from 11 on."""
FLAGS = "DEBUG REFIT DISABLE_TIMING_CACHE TF32 VERSION_COMPATIBLE STRIP_PLAN"


class TensorRt:
    """The module's state: its version, the GPU, and its only logger."""

    def __init__(self, version: str, machine: Machine) -> None:
        self.version, self.machine = version, machine
        self.logger: Any = None

    @property
    def owner(self) -> str:
        """Whose engines and timings can be used here."""
        return f"{self.version} {self.machine.gpu}"

    def take_logger(self, logger: Any) -> None:
        """The first one stays, whatever is given later."""
        assert getattr(logger, "begun", False), "ILogger.__init__ was not called"
        self.logger = self.logger or logger
        if not self.machine.driver:
            self.error("CUDA initialization failure with error: 35. Please check your CUDA installation")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def error(self, message: str) -> bool:
        self.logger.log(Severity.ERROR, message)  # type: ignore[attr-defined]
        return False


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """A sequence, and not a tuple, as TensorRT's own Dims."""
    return [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]


def _dtype(value: onnx.ValueInfoProto) -> np.dtype:
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


class Network:
    def __init__(self, typed: bool) -> None:
        self.typed, self.outputs = typed, []  # type: ignore[var-annotated]
        self.model: Any = None
        self.parser: Any = lambda: None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input) if self.model else 0

    def get_input(self, index: int) -> SimpleNamespace:
        value = self.model.graph.input[index]
        return SimpleNamespace(name=value.name, shape=_shape(value))

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_output(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(name=self.outputs[index])

    def unmark_output(self, tensor: SimpleNamespace) -> None:
        self.outputs.remove(tensor.name)


class OnnxParser:
    def __init__(self, trt: TensorRt, network: Network, logger: Any) -> None:
        trt.take_logger(logger)
        self.trt, self.network, self.errors = trt, network, []  # type: ignore[var-annotated]

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> SimpleNamespace:
        desc, node, name, operator = self.errors[index]
        texts = {"desc": desc, "node": node, "node_name": name, "node_operator": operator}
        return SimpleNamespace(**{key: lambda text=text: text for key, text in texts.items()})

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            found = onnx.load_model_from_string(model)
            onnx.checker.check_model(found)
        except Exception:
            self.errors.append(("Failed to parse ONNX model\nfrom the buffer.", -1, "", ""))
            return False
        for i, node in enumerate(found.graph.node):
            if node.op_type in self.trt.machine.unsupported:
                desc = f"No importer registered for op: {node.op_type}.\nAttempting to import as plugin."
                self.errors.append((desc, i, node.name, node.op_type))
                return self.trt.error(f"In node {i}: UNSUPPORTED_NODE")
        self.network.model, self.network.parser = found, weakref.ref(self)
        self.network.outputs = [value.name for value in found.graph.output]
        return True


@dataclass
class TimingCache:
    owner: str
    builds: int

    def serialize(self) -> memoryview:
        return memoryview(TIMINGS + json.dumps([self.owner, self.builds]).encode())


class BuilderConfig:
    def __init__(self, trt: TensorRt, flags: Any) -> None:
        self.trt, self.kinds, self.flags = trt, flags, {flags.TF32}
        self.workspace: int | None = None
        self.shapes: dict[str, tuple] = {}
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

    def add_optimization_profile(self, profile: SimpleNamespace) -> int:
        self.shapes = profile.shapes
        return 0 if profile.shapes else -1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache | None:
        if not serialized_timing_cache:
            return TimingCache(self.trt.owner, 0)
        if not serialized_timing_cache.startswith(TIMINGS):
            self.trt.error("createTimingCache: Serialization assertion failed")
            return None
        return TimingCache(*json.loads(serialized_timing_cache[len(TIMINGS) :]))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.owner != self.trt.owner and not ignore_mismatch:
            return False
        self.timings = weakref.ref(cache)  # it is the caller's to keep until the engine is built
        return True


class Builder:
    def __init__(self, trt: TensorRt, flags: Any, logger: Any) -> None:
        trt.take_logger(logger)
        self.trt, self.flags, self.creation = trt, flags, 0

    def create_network(self, flags: int = 0) -> Network:
        self.creation = flags
        return Network(typed=not hasattr(self.flags, "FP16") or bool(flags & 0b10))

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self.trt, self.flags)

    def create_optimization_profile(self) -> SimpleNamespace:
        shapes: dict[str, tuple] = {}
        return SimpleNamespace(shapes=shapes, set_shape=lambda name, *sizes: shapes.update({name: sizes}))

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> memoryview | None:
        trt, flags = self.trt, {flag.name for flag in config.flags}
        if problem := self._problem(network, config, flags):
            trt.error(problem)
            return None
        made = {"typed": network.typed, "flags": flags, "creation": self.creation, "workspace": config.workspace}
        trt.machine.builds.append(SimpleNamespace(**made, profile=config.shapes, timings=None))
        if config.timings is not None:
            cache = config.timings()
            assert cache is not None, "the timing cache was freed before the engine was built"
            trt.machine.builds[-1].timings, cache.builds = cache.builds, cache.builds + 1
        head = {"owner": self.trt.owner, "profile": config.shapes, "output": network.outputs}
        body = json.dumps(head).encode() + b"\n" + network.model.SerializeToString()
        return memoryview(MAGIC + hashlib.sha256(body).digest() + body)

    def _problem(self, network: Network, config: BuilderConfig, flags: set[str]) -> str:
        """What a build would report."""
        assert network.parser() is not None, "the parser, and with it the weights, was freed before the engine"
        inputs = map(network.get_input, range(network.num_inputs))
        if "build" in self.trt.machine.fails:
            return "Error Code 10: Internal Error (Could not find any implementation\n for node {ForeignNode[...]}.)"
        if "build memory" in self.trt.machine.fails:
            return "[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (Requested size was 9.)"
        if {x.name for x in inputs if -1 in x.shape} - set(config.shapes):
            return "Network has dynamic or shape inputs, but no optimization profile has been defined."
        if network.typed and flags & set(WEAK_FLAGS.split()):
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
        if json.loads(head)["owner"] != self.trt.owner:
            self.trt.error("IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (version mismatch.)")
            return None
        return Engine(self.trt, json.loads(head), model)


class Engine:
    def __init__(self, trt: TensorRt, head: dict, model: bytes) -> None:
        self.trt, self.model, self.profile = trt, onnx.load_model_from_string(model), head["profile"]
        self.ins = {value.name: value for value in self.model.graph.input}
        self.outs = {value.name: value for value in self.model.graph.output if value.name in head["output"]}
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    @property
    def num_io_tensors(self) -> int:
        return len(self.ins) + len(self.outs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.ins, *self.outs][index]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name in self.ins else TensorIOMode.OUTPUT  # type: ignore[attr-defined]

    def get_tensor_dtype(self, name: str) -> np.dtype:
        return _dtype((self.ins | self.outs)[name])

    def get_tensor_location(self, name: str) -> Any:
        return TensorLocation.HOST if "device shape" in self.trt.machine.fails else TensorLocation.DEVICE  # type: ignore[attr-defined]

    def get_tensor_shape(self, name: str) -> list[int]:
        return _shape((self.ins | self.outs)[name])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
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

    def set_input_shape(self, name: str, shape: tuple | list) -> bool:
        if name not in self.engine.ins:
            return self.trt.error(f"Given invalid tensor name: {name}.")
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        if len(shape) != len(least) or not all(a <= n <= c for a, n, c in zip(least, shape, most, strict=True)):
            return self.trt.error(f"Static dimension or profile mismatch while setting input shape for {name}.")
        self.shapes[name] = list(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        if name not in self.engine.ins and name not in self.engine.outs:
            return self.trt.error(f"Given invalid tensor name: {name}.")
        self.addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        if name in self.engine.ins:
            return self.shapes[name]
        model = onnx.ModelProto()
        model.CopyFrom(self.engine.model)
        del model.graph.value_info[:]
        for value in model.graph.input:
            for dim, n in zip(value.type.tensor_type.shape.dim, self.shapes[value.name], strict=True):
                if n >= 0:
                    dim.dim_value = n
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        return _shape(next(value for value in inferred.graph.output if value.name == name))

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine, engine = self.trt.machine, self.engine
        assert stream_handle != 0, "the default stream makes TensorRT wait for the whole device"
        names = [*engine.ins, *engine.outs]
        if set(names) - set(self.addresses):
            return self.trt.error("Neither address or allocator is set for a tensor.")
        if any(-1 in shape for shape in self.shapes.values()):
            return self.trt.error("Optimization profile or input shapes are not set.")
        if "execute" in self.trt.machine.fails:
            return self.trt.error("IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal access)\n")
        views = {}
        for name in names:
            shape, dtype = self.get_tensor_shape(name), engine.get_tensor_dtype(name)
            raw = machine.at(self.addresses[name], int(np.prod(shape)) * dtype.itemsize)
            views[name] = raw.view(dtype).reshape(shape)
        (output,) = engine.outs

        def work() -> None:
            feeds = {name: np.array(views[name]) for name in engine.ins}
            views[output][...] = engine.session.run([output], feeds)[0]

        machine.streams[stream_handle].put(work)
        return True


def fake_tensorrt(version: str, machine: Machine) -> Any:
    """The module of a version: 10.x has weak typing and its flags, 11.x has not."""
    state, eleven = TensorRt(version, machine), version.startswith("11")
    flags: Any = Enum("BuilderFlag", FLAGS if eleven else f"{WEAK_FLAGS} {FLAGS}", start=0)
    creation = {"STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 2} | ({} if eleven else {"EXPLICIT_BATCH": 0})

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

        def __init__(self) -> None:
            self.begun = True

    trt: Any = ModuleType("tensorrt")
    trt.__version__, trt.ILogger, trt.BuilderFlag = version, ILogger, flags
    trt.nptype = lambda kind: kind.type
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(**creation)
    trt.MemoryPoolType, trt.TensorIOMode, trt.TensorLocation = MemoryPoolType, TensorIOMode, TensorLocation
    trt.Builder = lambda logger: Builder(state, flags, logger)
    trt.Runtime = lambda logger: Runtime(state, logger)
    trt.OnnxParser = lambda network, logger: OnnxParser(state, network, logger)
    return trt


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine, version: str = "10.13.0.35") -> None:
    """Puts it, and CuPy, where `import` finds them, for the length of a test."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version, machine))
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy(machine))
