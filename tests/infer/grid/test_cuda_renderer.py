"""The CUDA renderer against the references, on two machines.

Where CuPy has a device, the real thing runs there (marked gpu). Everywhere, the same render.cu is compiled for the CPU
(see cuda_on_cpu.h) and called through the same cuda.py, with as much of CuPy as that uses made of numpy. A CPU shows
neither the speed nor what comes of threads in lockstep. That NVIDIA's compiler takes the kernels is tested where its
library is installed, which needs no device.
"""

import ctypes
import ctypes.util
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.fake_cupy import FakeCupy
from support.grids import CASES, assert_agree, expected, noise, random_grid

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import bilateral, yuv
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.grid.cuda.layout import Part
from hueglass.infer.grid.renderer import CudaRenderer
from hueglass.infer.network.gpu import OutOfDeviceMemory, cupy_with_gpu
from hueglass.infer.resize import resized_square

SHARE = 0.001
"""The share of values that may differ at all, by one level: only where a sum falls on a rounding boundary."""
FITTING = [case for case in CASES if case != "largest"]
KINDS = [(matrix, full) for matrix in (1, 5, 9) for full in (False, True)]
SIZES = [(34, 66), (33, 65), (1, 1), (2, 2), (3, 1), (1, 130), (61, 83)]

# ----------------------------------------------------------------------------------- the two machines


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy made of numpy, and CuPy."""
    if request.param == "cpu":
        return request.getfixturevalue("on_cpu")
    try:
        return cupy_with_gpu()
    except HueglassError as error:
        pytest.skip(str(error))


# ------------------------------------------------------------------------------------------ thumbnails


@pytest.mark.parametrize("size", [(97, 131), (256, 300), (64, 64), (31, 47), (1, 500)])
def test_thumbnails_are_means_over_areas(cupy: Any, size: tuple[int, int]) -> None:
    image = noise(*size)
    found = cupy.asnumpy(cuda.thumbnail(cupy.asarray(image), 24))
    if min(size) >= 24:
        wanted = cv2.resize(image.astype(np.float32), (24, 24), interpolation=cv2.INTER_AREA)
        assert np.abs(found - wanted).max() <= 0.51
        near = resized_square(image, 24).astype(int)
        assert np.abs(found - near).mean() < 12  # of noise, which is where the two differ most
    assert found.shape == (24, 24, 3)


def test_thumbnails_come_in_batches(cupy: Any) -> None:
    frames = np.stack([noise(40, 60), noise(40, 60)[::-1], np.full((40, 60, 3), 7, np.uint8)])
    together = cupy.asnumpy(cuda.thumbnail(cupy.asarray(frames), 16))
    for frame, found in zip(frames, together, strict=True):
        alone = cuda.thumbnail(cupy.asarray(np.ascontiguousarray(frame)), 16)
        np.testing.assert_array_equal(found, cupy.asnumpy(alone))
    assert (together[2] == 7).all()


# ------------------------------------------------------------------------------------------------ RGB


@pytest.mark.parametrize("case", FITTING)
def test_agrees_with_the_reference(cupy: Any, case: str) -> None:
    grid, image, reference = expected(case)
    assert_agree(cupy.asnumpy(cuda.render(cupy.asarray(grid), cupy.asarray(image))), reference, SHARE)


@pytest.mark.parametrize("case", ["grey ramp", "colour ramps", "7x5", "uneven"])
def test_agrees_with_the_compiled_renderer(cupy: Any, case: str) -> None:
    grid, image, _ = expected(case)
    result = cupy.asnumpy(cuda.render(cupy.asarray(grid), cupy.asarray(image)))
    assert_agree(result, native.render(grid, image), 0.06)


def test_the_identity_changes_no_level(cupy: Any) -> None:
    image = expected("colour ramps")[1]
    result = cuda.render(cupy.asarray(bilateral.identity_grid()), cupy.asarray(image))
    np.testing.assert_array_equal(cupy.asnumpy(result), image)


@pytest.mark.parametrize("threads", [1, 7, 100])
def test_any_number_of_threads_does_it(on_cpu: FakeCupy, threads: int) -> None:
    grid, image, reference = expected("7x5")
    on_cpu.THREADS = threads
    assert_agree(on_cpu.asnumpy(cuda.render(on_cpu.asarray(grid), on_cpu.asarray(image))), reference, SHARE)


@pytest.mark.parametrize("begin", range(5))
def test_rows_may_lie_apart(cupy: Any, begin: int) -> None:
    """From any byte on, aligned or not, at any width; what lies between is not touched."""
    grid, image = random_grid(), noise(6, 50)
    for width in (1, 4, 7, 16, 33):
        wide, canvas = cupy.asarray(image), cupy.asarray(np.full((6, 61, 3), 99, np.uint8))
        part = np.s_[:, begin : begin + width]
        target = canvas[:, 2 : 2 + width]
        assert cuda.render(cupy.asarray(grid), wide[part], target) is target
        result = cupy.asnumpy(canvas)
        assert_agree(result[:, 2 : 2 + width], bilateral.render(grid, image[part]), SHARE)
        assert (result[:, :2] == 99).all()
        assert (result[:, 2 + width :] == 99).all()


def test_in_place(cupy: Any) -> None:
    grid, image = random_grid(), noise(31, 653)
    wanted = cupy.asnumpy(cuda.render(cupy.asarray(grid), cupy.asarray(image)))
    device = cupy.asarray(image)
    assert cuda.render(cupy.asarray(grid), device, device) is device
    np.testing.assert_array_equal(cupy.asnumpy(device), wanted)


def test_batches_have_a_grid_for_each_frame(cupy: Any) -> None:
    grids = np.stack([random_grid(spread=spread) for spread in (0.1, 0.3, 1)])
    images = np.stack([noise(11, 20 + i)[:, :20] for i in range(6)])
    result = cuda.render(cupy.asarray(grids), cupy.asarray(images)[::2])
    assert result.shape == (3, 11, 20, 3)
    for one, grid, image in zip(cupy.asnumpy(result), grids, images[::2], strict=True):
        assert_agree(one, bilateral.render(grid, image), SHARE)


def test_parts_of_a_frame_are_what_they_are_in_the_whole(cupy: Any) -> None:
    grid, image = cupy.asarray(random_grid()), cupy.asarray(noise(37, 20))
    whole = cupy.asnumpy(cuda.render(grid, image))
    for top, bottom in ((0, 5), (5, 6), (6, 37)):
        part = cuda.render(grid, image[top:bottom], part=Part(top, 37))
        np.testing.assert_array_equal(cupy.asnumpy(part), whole[top:bottom])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
def test_survives_wild_numbers(cupy: Any, value: float) -> None:
    """Nothing is promised about the colours, except black for NaN, and that nothing is written beside the frame."""
    wild = np.full(bilateral.GRID_SHAPE, value, np.float32)
    wild[::2] *= -1
    canvas = cupy.asarray(np.full((9, 30, 3), 99, np.uint8))
    cuda.render(cupy.asarray(wild), cupy.asarray(noise(9, 20)), canvas[:, 5:25])
    result = cupy.asnumpy(canvas)
    assert (result[:, [*range(5), *range(25, 30)]] == 99).all()
    if np.isnan(value):
        assert (result[:, 5:25] == 0).all()


def test_a_stream(cupy: Any) -> None:
    """Work is queued while the stream is the current one."""
    seen = []
    launch = cuda._launch

    @contextmanager
    def stream() -> Iterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_launch", lambda *args: (seen.append("launch"), launch(*args)))
        cuda.render(cupy.asarray(random_grid()), cupy.asarray(noise(4, 4)), stream=stream())
    assert seen == ["in", "launch", "out"]


@pytest.mark.gpu
def test_a_stream_of_a_device() -> None:
    try:
        real = cupy_with_gpu()
    except HueglassError as error:
        pytest.skip(str(error))
    grid, image, reference = expected("641x359")
    stream = real.cuda.Stream(non_blocking=True)
    with stream:
        inputs = real.asarray(grid), real.asarray(image)
    result = cuda.render(*inputs, stream=stream)
    stream.synchronize()
    assert_agree(real.asnumpy(result), reference, SHARE)


# --------------------------------------------------------------------------------------------- Y'CbCr


def noisy(height: int, width: int, matrix: int = 1, full: bool = False) -> YuvImage:
    rng = np.random.default_rng(height * 1000 + width)
    half = ((height + 1) // 2, (width + 1) // 2)
    luma, cb, cr = (rng.integers(0, 256, size, np.uint8) for size in ((height, width), half, half))
    return YuvImage((luma, cb, cr), matrix, full)


def coding(image: YuvImage) -> cuda.Coding:
    return cuda.Coding(*image.weights, image.full_range)


def rendered_planes(cupy: Any, grid: np.ndarray, image: YuvImage, **arguments: Any) -> tuple[np.ndarray, ...]:
    planes = tuple(cupy.asarray(plane) for plane in image.planes)
    result = cuda.render_yuv420(cupy.asarray(grid), planes, coding(image), **arguments)
    return tuple(cupy.asnumpy(plane) for plane in result)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_yuv_agrees_with_the_reference(cupy: Any, matrix: int, full: bool, size: tuple[int, int]) -> None:
    grid, image = random_grid(), noisy(*size, matrix, full)
    wanted = yuv.render(grid, image)
    for plane, reference in zip(rendered_planes(cupy, grid, image), wanted.planes, strict=True):
        assert_agree(plane, reference, SHARE)


@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_yuv_agrees_with_the_compiled_renderer(cupy: Any, matrix: int, full: bool) -> None:
    grid, image = random_grid(), noisy(61, 83, matrix, full)
    wanted = native.render_yuv(grid, image)
    for plane, reference in zip(rendered_planes(cupy, grid, image), wanted.planes, strict=True):
        assert_agree(plane, reference, 0.1)


@pytest.mark.parametrize("case", ["colour ramps", "pixels on cell centres", "uneven", "single cell", "ten depths"])
def test_yuv_of_other_grids(cupy: Any, case: str) -> None:
    grid, pixels, _ = expected(case)
    image = ycbcr.from_rgb(pixels / np.float32(255))
    for plane, reference in zip(rendered_planes(cupy, grid, image), yuv.render(grid, image).planes, strict=True):
        assert_agree(plane, reference, SHARE)


def test_yuv_in_place_with_rows_apart(cupy: Any) -> None:
    """As in a decoder's surface: chroma below luma in one piece of memory, rows wider than the picture."""
    grid, image = random_grid(), noisy(22, 331)
    wanted = yuv.render(grid, image).planes
    surface = np.full((33, 340), 99, np.uint8)
    surface[:22, :331] = image.planes[0]
    surface[22:, :166], surface[22:, 170:336] = image.planes[1:]
    device = cupy.asarray(surface)
    planes = device[:22, :331], device[22:, :166], device[22:, 170:336]
    cuda.render_yuv420(cupy.asarray(grid), planes, coding(image), out=planes)
    result = cupy.asnumpy(device)
    assert_agree(result[:22, :331], wanted[0], SHARE)
    assert_agree(result[22:, :166], wanted[1], SHARE)
    assert_agree(result[22:, 170:336], wanted[2], SHARE)
    assert (result[:22, 331:] == 99).all()
    assert (result[22:, 166:170] == 99).all()
    assert (result[22:, 336:] == 99).all()


def test_yuv_in_batches(cupy: Any) -> None:
    grids = np.stack([random_grid(spread=spread) for spread in (0.1, 0.3, 1)])
    images = [noisy(13, 20 + 2 * i) for i in range(3)]
    images = [YuvImage((i.planes[0][:, :20], i.planes[1][:, :10], i.planes[2][:, :10])) for i in images]
    luma, cb, cr = (cupy.asarray(np.stack([image.planes[k] for image in images])) for k in range(3))
    result = cuda.render_yuv420(cupy.asarray(grids), (luma, cb, cr), coding(images[0]))
    for n, (grid, image) in enumerate(zip(grids, images, strict=True)):
        for plane, reference in zip(result, yuv.render(grid, image).planes, strict=True):
            assert_agree(cupy.asnumpy(plane)[n], reference, SHARE)


def test_yuv_parts_of_a_frame(cupy: Any) -> None:
    grid, image = random_grid(), noisy(37, 21)
    whole = rendered_planes(cupy, grid, image)
    luma, cb, cr = image.planes
    for top, bottom in ((0, 4), (4, 6), (6, 37)):
        half = slice(top // 2, (bottom + 1) // 2)
        part = YuvImage((luma[top:bottom], cb[half], cr[half]))
        y, *chroma = rendered_planes(cupy, grid, part, part=Part(top, 37))
        np.testing.assert_array_equal(y, whole[0][top:bottom])
        for plane, wanted in zip(chroma, whole[1:], strict=True):
            np.testing.assert_array_equal(plane, wanted[half])


# --------------------------------------------------------------------------- frames of the host's memory


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The first row and the number of rows of each launch."""
    seen: list[tuple[int, int]] = []
    size_of = Part.size

    def noted(part: Part, rows: int, width: int, in_pairs: bool = False) -> np.ndarray:
        seen.append((part.first_row, rows))
        return size_of(part, rows, width, in_pairs)

    monkeypatch.setattr(Part, "size", noted)
    return seen


@contextmanager
def limited(cupy: Any, size: int) -> Iterator[None]:
    """Lets the device have no more than so many bytes."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=size)
    try:
        yield
    finally:
        pool.set_limit(size=0)


GRID_BYTES = bilateral.identity_grid().nbytes


def same(a: np.ndarray | YuvImage, b: np.ndarray | YuvImage) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(cuda._planes_of(a), cuda._planes_of(b), strict=True))


@pytest.mark.parametrize("image", [noise(101, 96), noisy(101, 96)], ids=["rgb", "yuv"])
def test_host_frames_go_to_the_device_whole(cupy: Any, parts: list, image: np.ndarray | YuvImage) -> None:
    grid = random_grid()
    result = cuda.render_host(grid, image)
    assert parts == [(0, 101)]
    wanted = yuv.render(grid, image) if isinstance(image, YuvImage) else bilateral.render(grid, image)
    for plane, reference in zip(cuda._planes_of(result), cuda._planes_of(wanted), strict=True):
        assert_agree(plane, reference, SHARE)


@pytest.mark.parametrize(
    ("image", "size"),
    [(noise(101, 96), 8000), (noisy(101, 96), 5000), (noise(17, 96), 4700)],
    ids=["rgb", "yuv", "low"],
)
def test_host_frames_without_memory_go_in_parts(
    cupy: Any, parts: list, image: np.ndarray | YuvImage, size: int
) -> None:
    """To the same pixels; of 101 rows in 26, after 101 and 52 were too many, with nothing rendered twice."""
    grid = random_grid()
    whole = cuda.render_host(grid, image)
    parts.clear()
    with limited(cupy, GRID_BYTES + size), warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cuda.render_host(grid, image)
    assert same(result, whole)
    height = image.shape[0]
    assert parts == ([(0, 26), (26, 26), (52, 26), (78, 23)] if height == 101 else [(0, 16), (16, 1)])


@pytest.mark.parametrize("image", [noise(101, 96), noisy(101, 96)], ids=["rgb", "yuv"])
def test_host_frames_without_any_memory_stay_on_the_cpu(cupy: Any, parts: list, image: np.ndarray | YuvImage) -> None:
    grid = random_grid()
    with limited(cupy, GRID_BYTES + 1500):
        with pytest.raises(OutOfDeviceMemory, match="the CUDA device has no memory for 16 rows of a frame"):
            cuda.render_host(grid, image)
        with pytest.warns(RuntimeWarning, match="rendering on the CPU") as caught:
            result = CudaRenderer().render(grid, image)
    assert len(caught) == 1
    assert parts == []
    wanted = native.render_yuv(grid, image) if isinstance(image, YuvImage) else native.render(grid, image)
    assert same(result, wanted)


def test_host_frames_of_any_layout(cupy: Any) -> None:
    grid, image = random_grid(), noise(20, 30)
    for view in (image[::-1], image.transpose(1, 0, 2), image[..., ::-1], image[:, 3:9]):
        assert same(cuda.render_host(grid, view), cuda.render_host(grid, view.copy(order="C")))


def test_host_frames_are_checked(cupy: Any) -> None:
    with pytest.raises(HueglassError, match="the frame is float32"):
        cuda.render_host(random_grid(), np.zeros((4, 4, 3), np.float32))
    with pytest.raises(HueglassError, match="the frame is uint8"):
        cuda.render_host(random_grid(), np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(HueglassError, match="NaN"):
        cuda.render_host(np.full(bilateral.GRID_SHAPE, np.nan, np.float32), noise(4, 4))


# --------------------------------------------------------------------------------------- at the door


def refused(message: str, render: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    with pytest.raises(HueglassError, match=message) as error:
        render(*arguments, **named)
    assert "\n" not in str(error.value)


def test_refuses_grids(cupy: Any) -> None:
    image, grid = cupy.asarray(noise(4, 4)), random_grid()
    refused(r"the grid is a builtins.list, expected a CuPy array", cuda.render, grid.tolist(), image)
    refused(r"the grid is float64 .*, expected float32", cuda.render, cupy.asarray(grid.astype(np.float64)), image)
    for shape in ((8, 16, 16), (8, 16, 16, 11), (1, 65, 1, 12), (1, 1, 0, 12), (0, 1, 1, 1, 12), (1,) * 5 + (12,)):
        refused("the grid is float32", cuda.render, cupy.asarray(np.zeros(shape, np.float32)), image)
    refused("the grid is not contiguous", cuda.render, cupy.asarray(grid)[::2], image)
    refused(
        r"the frame is uint8 \(4, 4, 3\), expected uint8 \(1, height, width, 3\)",
        cuda.render,
        cupy.asarray(grid[None]),
        image,
    )


def test_refuses_grids_that_a_block_has_no_memory_for(cupy: Any) -> None:
    image = noisy(4, 4)
    largest = cupy.asarray(random_grid((64, 1, 16)))
    assert cuda.render(largest, cupy.asarray(noise(4, 4))).shape == (4, 4, 3)
    refused(
        "depth 64 times its width 16 is 1024, expected at most 512",
        rendered_planes,
        cupy,
        random_grid((64, 1, 16)),
        image,
    )
    assert rendered_planes(cupy, random_grid((32, 1, 16)), image)[0].shape == (4, 4)
    refused(
        "depth 64 times its width 17 is 1088, expected at most 1024",
        cuda.render,
        cupy.asarray(random_grid((64, 1, 17))),
        cupy.asarray(noise(4, 4)),
    )


def test_refuses_frames(cupy: Any) -> None:
    grid, image = cupy.asarray(random_grid()), cupy.asarray(noise(8, 9))
    expects = r"expected uint8 \(height, width, 3\)"
    refused("the frame is a numpy.ndarray, expected a CuPy array", cuda.render, grid, noise(8, 9))
    for wrong in (
        np.zeros((4, 4, 3), np.int8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ):
        refused(expects, cuda.render, grid, cupy.asarray(wrong))
    for view in (image[:, ::2], image[..., ::-1], image[::-1], image.transpose(1, 0, 2)):
        refused("the frame has strides", cuda.render, grid, view)
    refused(r"out is uint8 \(7, 9, 3\), expected uint8 \(8, 9, 3\)", cuda.render, grid, image, image[:7])
    refused("out overlaps the frame", cuda.render, grid, image[:-1], image[1:])


def test_refuses_planes(cupy: Any) -> None:
    grid = cupy.asarray(random_grid())
    luma, plane = cupy.asarray(np.zeros((6, 8), np.uint8)), cupy.asarray(np.zeros((3, 4), np.uint8))
    both = cupy.asarray(np.zeros((3, 4, 2), np.uint8))
    bt709 = cuda.Coding(0.2126, 0.0722, False)

    def refuses(message: str, *planes: Any, **named: Any) -> None:
        refused(message, cuda.render_yuv420, grid, planes, bt709, **named)

    refuses(r"luma is uint8 \(3, 4, 2\)", both, plane, plane)
    refuses(r"chroma is uint8 \(2, 4\), expected uint8 \(3, 4\)", luma, plane[:2], plane)
    refuses(r"chroma is uint8 \(3, 4, 2\), expected uint8 \(3, 4\)", luma, plane, both)
    refuses("chroma has strides", luma, plane, plane[:, ::-1])
    refuses("out is uint8", luma, plane, plane, out=(luma, plane, both))
    refuses("whole pairs", luma, plane, plane, part=Part(1, 20))
    refuses("whole pairs", luma[:5], plane, plane, part=Part(0, 20))
    refuses("6 rows from row 16 on, expected them among the frame's 20", luma, plane, plane, part=Part(16, 20))
    refused("kr 0.5 and kb 0.5 are no luma weights", cuda.Coding, 0.5, 0.5, False)


def test_refuses_arrays_of_another_device(on_cpu: FakeCupy) -> None:
    on_cpu.cuda.runtime.getDevice = lambda: 1
    refused(
        "the grid is on CUDA device 0, expected the current one, 1", cuda.render, on_cpu.asarray(random_grid()), None
    )


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert not cuda.available()
    message = r'^CuPy is not installed: pip install "hueglass\[gpu\]"$'
    refused(message, cuda.render, None, None)
    refused(message, cuda.render_yuv420, None, (None,) * 3, cuda.Coding(0.2126, 0.0722, False))
    refused(message, cuda.render_host, random_grid(), noise(4, 4))


def test_without_a_device(on_cpu: FakeCupy) -> None:
    assert cuda.available()
    on_cpu.machine.driver = False
    assert not cuda.available()
    refused("^no GPU can be used here: cudaErrorInsufficientDriver", cuda.render_host, random_grid(), noise(4, 4))
    on_cpu.cuda.runtime.getDeviceCount = lambda: 0
    refused("^no GPU can be used here: none is there", cuda.render, None, None)


def test_kernels_that_do_not_compile(on_cpu: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(code: str, options: tuple[str, ...]) -> None:
        raise on_cpu.cuda.compiler.CompileException("render.cu(1): error: no such type\n  byte b;\n")

    monkeypatch.setattr(on_cpu, "RawModule", compile)
    refused("^CUDA: render.cu.1.: error: no such type$", cuda.render_host, random_grid(), noise(4, 4))


# ----------------------------------------------------------------------------------- NVIDIA's compiler


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
