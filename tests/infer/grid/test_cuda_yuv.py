"""The CUDA renderer against the references: frames in Y'CbCr."""

from typing import Any

import numpy as np
import pytest
from support.cuda_frames import SHARE, coding, noisy, rendered_planes
from support.grids import assert_agree, expected, random_grid

from hueglass.infer import ycbcr
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import yuv
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.grid.cuda.layout import Part

KINDS = [(matrix, full) for matrix in (1, 5, 9) for full in (False, True)]
SIZES = [(34, 66), (33, 65), (1, 1), (2, 2), (3, 1), (1, 130), (61, 83)]


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
