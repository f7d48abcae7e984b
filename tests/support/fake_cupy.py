"""CuPy made of numpy, and the GPU that it finds, on a machine without one: what the code uses of it and no more.

It is strict: where the real one refuses or reports, so does this. What is put on a stream of one's own waits there
until somebody synchronises, so that a result fetched too early is wrong here as well. "Memory on the GPU" is ordinary
memory with real addresses; kernels are render.cu compiled for the CPU (see cuda_on_cpu.cpp). Names are CuPy 14's.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from hueglass.infer.grid.cuda import kernels


@dataclass
class Machine:
    """The GPU, what goes wrong on it, and what was done. `memory` is in bytes."""

    gpu: str = "NVIDIA Fake 9000"
    capability: str = "90"
    driver: bool = True
    memory: int = 1 << 30
    uploads: int = 0
    allocations: int = 0
    unsupported: set[str] = field(default_factory=set)
    """Operators that TensorRT's parser does not know."""
    fails: set[str] = field(default_factory=set)
    """Of TensorRT: "build", "build memory", "context memory", "execute", "device shape"."""
    builds: list[SimpleNamespace] = field(default_factory=list)
    """TensorRT's: `typed`, `flags`, `creation`, `workspace`, `profile`, `timings` (of earlier builds)."""
    arrays: "WeakValueDictionary[int, Array]" = field(default_factory=WeakValueDictionary)
    streams: dict[int, "Stream"] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def device_count(self) -> int:
        if not self.driver:
            raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime")
        return 1

    def at(self, pointer: int, shape: list[int], dtype: np.dtype) -> np.ndarray:
        """What lies at an address, all of it in one array; on a real GPU anything else would be a fault."""
        assert pointer % 256 == 0, f"{pointer:#x} is not aligned"
        size = int(np.prod(shape)) * dtype.itemsize
        for start, array in self.arrays.items():
            if start <= pointer and pointer + size <= start + array.nbytes:
                return np.ndarray(shape, dtype, array, pointer - start)
        raise AssertionError(f"no memory of {size} bytes at {pointer:#x}")


@dataclass
class Stream:
    """Holds what is asked of it until it is waited for. The default stream, 0, is done at once."""

    machine: Machine
    ptr: int
    queue: list[Callable[[], None]] = field(default_factory=list)
    stack: ClassVar = threading.local()

    def __post_init__(self) -> None:
        self.machine.streams[self.ptr] = self

    def put(self, work: Callable[[], None]) -> None:
        self.queue.append(work)
        if self.ptr == 0:
            self.synchronize()

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def __enter__(self) -> None:
        self.stack.__dict__.setdefault("streams", []).append(self)

    def __exit__(self, *_: object) -> None:
        assert self.stack.streams.pop() is self


class Array(np.ndarray):
    """A cupy.ndarray."""

    device = SimpleNamespace(id=0)  # type: ignore[assignment]
    data = property(lambda self: SimpleNamespace(ptr=self.ctypes.data))  # type: ignore[assignment]

    def set(self, source: np.ndarray, stream: Any = None) -> None:
        assert type(source) is np.ndarray
        if source.shape != self.shape or source.dtype != self.dtype:
            raise TypeError(f"{source.dtype} {source.shape} cannot be set to {self.dtype} {self.shape}")
        staged = source.copy()
        stream.machine.uploads += 1
        stream.put(lambda: self.__setitem__(..., staged))

    def get(self, stream: Stream) -> np.ndarray:
        """As CuPy before 13 did it: not waiting for the copy."""
        out = np.full(self.shape, 77, self.dtype)
        stream.put(lambda: out.__setitem__(..., self))
        return out


class FakeCupy(ModuleType):
    """The module. `library` has the kernels."""

    ndarray = Array
    THREADS = 32
    """More of them in a block only take longer on a CPU."""

    def __init__(self, machine: Machine, library: Any = None) -> None:
        super().__init__("cupy")
        self.machine, self.library, default = machine, library, Stream(machine, 0)
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(machine, 1000 + len(machine.streams)),
            get_current_stream=lambda: (default, *Stream.stack.__dict__.get("streams", ()))[-1],
            Device=lambda number: SimpleNamespace(compute_capability=machine.capability),
            runtime=SimpleNamespace(
                getDeviceCount=machine.device_count,
                getDevice=lambda: 0,
                getDeviceProperties=lambda number: {"name": machine.gpu.encode()},
            ),
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            compiler=SimpleNamespace(CompileException=SyntaxError),
        )
        pool = {"free_all_blocks": lambda: None, "set_limit": lambda size: setattr(machine, "memory", size or 1 << 30)}
        self.get_default_memory_pool = lambda: SimpleNamespace(**pool)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """At a multiple of 512 bytes, filled with rubbish."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.machine.used + size > self.machine.memory:
            raise MemoryError(f"Out of memory allocating {size:,} bytes")
        raw = np.full(size + 512, 0xCD, np.uint8)
        array = raw[-raw.ctypes.data % 512 :][:size].view(dtype).reshape(shape).view(Array)
        self.machine.allocations += 1
        self.machine.arrays[array.ctypes.data] = array
        return array

    def asarray(self, source: np.ndarray) -> Array:
        array = self.empty(source.shape, source.dtype)
        array[...] = source
        return array

    def asnumpy(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        self.cuda.get_current_stream().synchronize()
        out = np.empty(array.shape, array.dtype) if out is None else out
        assert out.flags.c_contiguous
        out[...] = array
        return out

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:
        assert code == kernels.SOURCE.read_text()  # of which the library was made
        return SimpleNamespace(get_function=lambda name: functools.partial(self._launch, name))

    def _launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, shared_mem: int) -> None:
        arguments = [np.asarray(argument) for argument in args]
        assert all(argument.size == 1 for argument in arguments)  # as CuPy demands
        pointers = (ctypes.c_void_p * len(args))(*(argument.ctypes.data for argument in arguments))
        blocks, threads = (ctypes.c_uint * 2)(*grid), min(block[0], self.THREADS)
        assert self.library.launch_kernel(name.encode(), blocks, threads, shared_mem, pointers)
