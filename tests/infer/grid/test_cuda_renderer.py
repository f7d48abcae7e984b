"""The CUDA renderer against the references: thumbnails, and frames in RGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from support.cuda_frames import SHARE
from support.fake_cupy import FakeCupy
from support.grids import CASES, assert_agree, expected, noise, random_grid

from hueglass.infer.errors import HueglassError
from hueglass.infer.grid import bilateral
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.grid.cuda.layout import Part
from hueglass.infer.network.gpu import cupy_with_gpu
from hueglass.infer.resize import resized_square

FITTING = [case for case in CASES if case != "largest"]


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
