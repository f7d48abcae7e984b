"""The GPU: whether there is one, and the one door to CuPy, which holds the memory on it.

CuPy is optional, and imported when it is first needed.
"""

import importlib
import re
from dataclasses import dataclass
from types import ModuleType

from hueglass.infer.errors import HueglassError, one_line

OUT_OF_MEMORY = re.compile(r"out ?of ?memory|failed to allocate|cannot allocate|std::bad_alloc", re.IGNORECASE)
"""How TensorRT, CUDA, CuPy and ONNX Runtime say so."""
MEMORY_REMEDY = "close what else uses the GPU, or take device 'cpu'"


class OutOfDeviceMemory(HueglassError):
    """The GPU has no memory for the work, nor for a small part of it at a time: it is for the CPU."""


@dataclass(frozen=True)
class Gpu:
    """The GPU in use: `name` as the driver gives it, `capability` as "9.0"."""

    name: str
    capability: str


def import_cupy() -> ModuleType:
    """CuPy. HueglassError if it is missing or cannot be loaded."""
    try:
        return importlib.import_module("cupy")
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        problem = "is not installed" if missing else f"cannot be loaded: {one_line(error)}"
        raise HueglassError(f'CuPy {problem}: pip install "hueglass[gpu]"') from None


def cupy_with_gpu() -> ModuleType:
    """CuPy, where it finds a GPU. HueglassError as `import_cupy`, or if there is none, or no driver for it."""
    cupy = import_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises a class of its own, known once it is loaded
        raise _no_gpu(one_line(error)) from None
    if count == 0:
        raise _no_gpu("none is there")
    return cupy


def current_gpu() -> Gpu:
    """The GPU that this thread uses. HueglassError as `cupy_with_gpu`."""
    cuda = cupy_with_gpu().cuda
    try:
        number = cuda.runtime.getDevice()
        name = cuda.runtime.getDeviceProperties(number)["name"]
        capability = cuda.Device(number).compute_capability
    except Exception as error:
        raise _no_gpu(one_line(error)) from None
    return Gpu(name.decode() if isinstance(name, bytes) else name, f"{capability[:-1]}.{capability[-1]}")


def _no_gpu(why: str) -> HueglassError:
    return HueglassError(f"no GPU can be used here: {why}, expected one with a working driver")
