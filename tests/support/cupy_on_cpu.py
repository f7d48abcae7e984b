"""CuPy made of numpy, with render.cu compiled for the CPU (see cuda_on_cpu.h): as much of it as is used."""

import ctypes
import shutil
import subprocess
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hueglass.infer.grid.cuda import kernels as cuda


class ArrayOnCpu(np.ndarray):
    """What cuda.py asks of a cupy.ndarray, and numpy has not."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=0)


class OutOfMemoryOnCpu(MemoryError):
    """Stands for cupy.cuda.memory.OutOfMemoryError."""


class CupyOnCpu:
    """As much of CuPy as cuda.py uses. Memory can be limited as in CuPy's pool, and is free when arrays are gone."""

    ndarray = ArrayOnCpu
    THREADS = 32
    """More of them in a block only take longer on a CPU."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._used, self._limit = 0, 0
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(getDeviceCount=lambda: 1, getDevice=lambda: 0),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryOnCpu),
            compiler=SimpleNamespace(CompileException=SyntaxError),
        )

    def empty(self, shape: tuple[int, ...], dtype: type) -> ArrayOnCpu:
        array = np.empty(shape, dtype).view(ArrayOnCpu)
        if self._limit and self._used + array.nbytes > self._limit:
            raise OutOfMemoryOnCpu(f"out of memory allocating {array.nbytes} bytes")
        self._used += array.nbytes
        weakref.finalize(array, self._release, array.nbytes)
        return array

    def _release(self, size: int) -> None:
        self._used -= size

    def asarray(self, array: np.ndarray) -> ArrayOnCpu:
        copy = self.empty(array.shape, array.dtype)  # type: ignore[arg-type]
        copy[...] = array
        return copy

    def asnumpy(self, array: ArrayOnCpu, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty(array.shape, array.dtype) if out is None else out
        assert out.flags.c_contiguous
        out[...] = array
        return out

    def get_default_memory_pool(self) -> Any:
        def set_limit(size: int) -> None:
            self._limit = size

        return SimpleNamespace(free_all_blocks=lambda: None, set_limit=set_limit)

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:
        """The kernels that the library was made of, whatever the code."""
        assert code == cuda.SOURCE.read_text()
        return SimpleNamespace(get_function=lambda name: lambda *args, **kwargs: self._launch(name, *args, **kwargs))

    def _launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int
    ) -> None:
        arguments = [np.asarray(argument) for argument in args]
        assert all(argument.size == 1 for argument in arguments)  # as CuPy demands
        pointers = (ctypes.c_void_p * len(args))(*(argument.ctypes.data for argument in arguments))
        blocks, threads = (ctypes.c_uint * 2)(*grid), min(block[0], self.THREADS)
        assert self._library.launch_kernel(name.encode(), blocks, threads, shared_mem, pointers) == 0


def array_module(fake: CupyOnCpu, **more: Any) -> SimpleNamespace:
    """numpy with what CuPy has besides."""
    own = {"asarray": lambda x, dtype=None: fake.asarray(np.asarray(x, dtype)), "asnumpy": fake.asnumpy, **more}
    return SimpleNamespace(**{name: getattr(np, name) for name in np.__all__ if name not in own}, **own)


def compile_kernels(folder: Path) -> ctypes.CDLL:
    """render.cu compiled for the CPU."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    here, out = Path(__file__).parent, folder / "kernels.so"
    options = ["-std=c++20", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    # A word that begins between two words is read all the same here, and is an error on a device: here it traps.
    options += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    probe = "#include <thread>\nstd::jthread t;"
    tried = subprocess.run(
        [compiler, *options, "-xc++", "-fsyntax-only", "-"], input=probe, text=True, capture_output=True
    )
    if tried.returncode:
        pytest.skip("this g++ does not know C++20")
    done = subprocess.run([compiler, *options, here / "cuda_on_cpu.cpp", "-o", out], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))
