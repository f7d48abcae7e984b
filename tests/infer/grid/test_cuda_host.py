"""Frames of the host's memory by way of the GPU: whole, in parts where its memory is small, or on the CPU."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support.cuda_frames import SHARE, noisy
from support.grids import assert_agree, noise, random_grid

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import bilateral, yuv
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.grid.cuda.layout import Part
from hueglass.infer.grid.renderer import CudaRenderer
from hueglass.infer.network.gpu import OutOfDeviceMemory


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
