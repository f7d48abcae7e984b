"""What the CUDA renderer refuses at the door, in one line."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.cuda_frames import noisy, rendered_planes
from support.fake_cupy import FakeCupy
from support.grids import noise, random_grid

from hueglass.infer.errors import HueglassError
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.grid.cuda.layout import Part


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
