"""The kernels of render.cu for the CPU, see cuda_on_cpu.h."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest


def compile_kernels(folder: Path) -> ctypes.CDLL:
    """render.cu compiled for the CPU."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    here, out = Path(__file__).parent, folder / "kernels.so"
    options = ["-std=c++20", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    # A word that begins between two words is read all the same here, and is an error on a device: here it traps.
    options += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    probe = [compiler, *options, "-xc++", "-fsyntax-only", "-"]
    if subprocess.run(probe, input="#include <thread>\nstd::jthread t;", text=True, capture_output=True).returncode:
        pytest.skip("this g++ does not know C++20")
    done = subprocess.run([compiler, *options, here / "cuda_on_cpu.cpp", "-o", out], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))
