"""That NVIDIA's compiler takes the kernels: where its library is installed, which needs no device."""

import ctypes
import ctypes.util
import importlib.util
import re
from pathlib import Path

import pytest

from hueglass.infer.grid.cuda import kernels as cuda


class Nvrtc:
    """The library that CuPy compiles with, without CuPy and without a device."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def architectures(self) -> list[int]:
        count = ctypes.c_int()
        assert self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
        found = (ctypes.c_int * count.value)()
        assert self._library.nvrtcGetSupportedArchs(found) == 0
        return list(found)

    def compile(self, kind: str, *options: str) -> tuple[str, bytes]:
        """The compiler's log, and `kind`: PTX or CUBIN."""
        program = ctypes.c_void_p()
        create = self._library.nvrtcCreateProgram
        assert create(ctypes.byref(program), cuda.SOURCE.read_bytes(), b"render.cu", 0, None, None) == 0
        # What CuPy gives to every kernel, and what cuda.py asks for.
        every = [*options, "--std=c++17", "-ftz=true", "--device-as-default-execution-space"]
        strings = (ctypes.c_char_p * len(every))(*(option.encode() for option in every))
        status = self._library.nvrtcCompileProgram(program, len(every), strings)
        log = self._text(program, "ProgramLog").rstrip(b"\0").decode()
        assert status == 0, log
        result = self._text(program, kind)
        self._library.nvrtcDestroyProgram(ctypes.byref(program))
        return log, result

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        assert getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert getattr(self._library, f"nvrtcGet{what}")(program, buffer) == 0
        return buffer.raw


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    """That of the wheels of nvidia, which CuPy and torch bring, or of the system."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [] if spec else [])]
    files = [f for folder in folders for f in sorted(folder.glob("*/lib/libnvrtc*.so.*")) if ".alt." not in f.name]
    try:
        for builtins in files:
            if "builtins" in builtins.name:
                ctypes.CDLL(str(builtins))  # NVRTC looks for it by its name, and finds what is loaded
        found = [str(f) for f in files if "builtins" not in f.name] or [ctypes.util.find_library("nvrtc")]
        if found[0] is not None:
            return Nvrtc(ctypes.CDLL(found[0]))
    except OSError as error:
        pytest.skip(f"NVRTC cannot be loaded: {error}")
    pytest.skip("NVRTC is not installed")


def test_the_compiler_takes_the_kernels(nvrtc: Nvrtc) -> None:
    """For every architecture that it knows, with all numbers of a thread in registers."""
    known = nvrtc.architectures()
    assert {80, 90} <= set(known)
    for architecture in known:
        log, ptx = nvrtc.compile("PTX", f"--gpu-architecture=compute_{architecture}")
        assert re.findall(rb"\.entry (\w+)", ptx) == [b"render_rgb", b"render_yuv", b"thumbnail"]
        assert b".local" not in ptx
        assert log == ""


@pytest.mark.parametrize("architecture", [80, 90])
def test_the_kernels_spill_no_registers(nvrtc: Nvrtc, architecture: int) -> None:
    """In machine code, as CuPy has it made."""
    log, code = nvrtc.compile("CUBIN", f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v")
    assert code[1:4] == b"ELF"
    found = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    if not found:
        pytest.skip("this NVRTC says nothing of registers")
    assert found == [("0", "0", "0")] * 3
