"""render.cu compiled for the CPU, see cuda_on_cpu.cpp."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def compile_kernels(folder: Path) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None or sys.platform == "darwin":
        pytest.skip("there is no g++ with the barriers of POSIX")
    source, out = Path(__file__).with_suffix(".cpp"), folder / "kernels.so"
    options = ["-std=c++17", "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    # A word that begins between two words is read all the same here, and is an error on a device: here it traps.
    options += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    done = subprocess.run([compiler, *options, source, "-o", out], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))
