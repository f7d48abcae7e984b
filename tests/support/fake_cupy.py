"""CuPy made of numpy, and the GPU that it finds, on a machine without one: what the code uses of it and no more.

It is strict: where the real one refuses or reports, so does this. What is put on a stream of one's own waits there
until somebody synchronises, so that a result fetched too early is wrong here as well. "Memory on the GPU" is ordinary
memory with real addresses; kernels are render.cu compiled for the CPU (see cuda_on_cpu.h). Names are CuPy 14's.
"""

import ctypes
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from hueglass.infer.grid.cuda import kernels


class OutOfMemoryError(MemoryError):
    pass


@dataclass
class Machine:
    """The GPU, what goes wrong on it, and what was done. `memory` is in bytes, `used` by arrays that live."""

    gpu: str = "NVIDIA Fake 9000"
    capability: str = "90"
    driver: bool = True
    memory: int = 1 << 30
    used: int = 0
    uploads: int = 0
    allocations: int = 0
    unsupported: set[str] = field(default_factory=set)
    """Operators that TensorRT's parser does not know."""
    fails: set[str] = field(default_factory=set)
    """Of TensorRT: "build", "build memory", "context memory", "execute", "device shape"."""
    builds: list[SimpleNamespace] = field(default_factory=list)
    """TensorRT's: `typed`, `flags`, `creation`, `workspace`, `profile`, `timings` (of earlier builds)."""
    arrays: "weakref.WeakValueDictionary[int, Any]" = field(default_factory=weakref.WeakValueDictionary)
    streams: dict[int, "Stream"] = field(default_factory=dict)

    def need_driver(self) -> None:
        if not self.driver:
            raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime")

    def at(self, pointer: int, size: int) -> np.ndarray:
        """The `size` bytes at an address, all of one array; on a real GPU anything else would be a fault."""
        assert pointer % 256 == 0, f"{pointer:#x} is not aligned"
        for start, array in list(self.arrays.items()):
            if start <= pointer and pointer + size <= start + array.nbytes:
                return array.reshape(-1).view(np.uint8)[pointer - start :][:size]
        raise AssertionError(f"no memory of {size} bytes at {pointer:#x}")

    def release(self, size: int) -> None:
        self.used -= size


class Stream:
    """Holds what is asked of it until it is waited for. The default stream is done at once."""

    stack = threading.local()

    def __init__(self, machine: Machine, number: int) -> None:
        machine.need_driver()
        self.ptr, self.queue = number, []  # type: ignore[var-annotated]
        machine.streams[number] = self

    def put(self, work: Callable[[], None]) -> None:
        self.queue.append(work)
        if self.ptr == 0:
            self.synchronize()

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def __enter__(self) -> "Stream":
        self.stack.__dict__.setdefault("streams", []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.stack.streams.pop() is self


class Array(np.ndarray):
    """A cupy.ndarray."""

    cupy: "FakeCupy"

    def __array_finalize__(self, other: Any) -> None:
        self.cupy = getattr(other, "cupy", None)  # type: ignore[assignment]

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=0)

    def set(self, source: np.ndarray, stream: Stream | None = None) -> None:
        assert type(source) is np.ndarray
        if source.shape != self.shape or source.dtype != self.dtype:
            raise TypeError(f"{source.dtype} {source.shape} cannot be set to {self.dtype} {self.shape}")
        assert self.flags.c_contiguous
        staged = source.copy()
        self.cupy.machine.uploads += 1
        (stream or self.cupy.current()).put(lambda: self.__setitem__(..., staged))

    def get(self, stream: Stream | None = None) -> np.ndarray:
        """As CuPy before 13 did it where a stream is given: not waiting for the copy."""
        out = np.full(self.shape, 77, self.dtype)
        (stream or self.cupy.current()).put(lambda: out.__setitem__(..., self))
        return out


class FakeCupy(ModuleType):
    """The module. `library` has the kernels."""

    ndarray = Array
    THREADS = 32
    """More of them in a block only take longer on a CPU."""

    def __init__(self, machine: Machine, library: ctypes.CDLL | None = None) -> None:
        super().__init__("cupy")
        self.machine, self.library = machine, library
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking=False: Stream(machine, 1000 + len(machine.streams)),
            get_current_stream=self.current,
            Device=lambda number: SimpleNamespace(compute_capability=machine.capability),
            runtime=SimpleNamespace(
                getDeviceCount=lambda: machine.need_driver() or 1,
                getDevice=lambda: machine.need_driver() or 0,
                getDeviceProperties=lambda number: {"name": machine.gpu.encode()},
            ),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=SyntaxError),
        )

    def current(self) -> Stream:
        streams = Stream.stack.__dict__.get("streams")
        return streams[-1] if streams else self.machine.streams.get(0) or Stream(self.machine, 0)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """At a multiple of 512 bytes, filled with rubbish."""
        self.machine.need_driver()
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.machine.used + size > self.machine.memory:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes")
        raw = np.full(size + 512, 0xCD, np.uint8)
        array = raw[-raw.ctypes.data % 512 :][:size].view(dtype).reshape(shape).view(Array)
        array.cupy = self
        self.machine.used += size
        self.machine.allocations += 1
        self.machine.arrays[array.ctypes.data] = array
        weakref.finalize(array, self.machine.release, size)
        return array

    def asarray(self, source: np.ndarray) -> Array:
        array = self.empty(source.shape, source.dtype)
        array[...] = source
        return array

    def asnumpy(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        self.current().synchronize()
        out = np.empty(array.shape, array.dtype) if out is None else out
        assert out.flags.c_contiguous
        out[...] = array
        return out

    def get_default_memory_pool(self) -> Any:
        def set_limit(size: int) -> None:
            self.machine.memory = size or 1 << 30

        return SimpleNamespace(free_all_blocks=lambda: None, set_limit=set_limit)

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:
        assert code == kernels.SOURCE.read_text()  # of which the library was made
        return SimpleNamespace(get_function=lambda name: lambda *args, **kwargs: self._launch(name, *args, **kwargs))

    def _launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, shared_mem: int) -> None:
        arguments = [np.asarray(argument) for argument in args]
        assert all(argument.size == 1 for argument in arguments)  # as CuPy demands
        pointers = (ctypes.c_void_p * len(args))(*(argument.ctypes.data for argument in arguments))
        blocks, threads = (ctypes.c_uint * 2)(*grid), min(block[0], self.THREADS)
        assert self.library is not None
        assert self.library.launch_kernel(name.encode(), blocks, threads, shared_mem, pointers) == 0
