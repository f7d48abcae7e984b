"""Frames in Y'CbCr: the reference against what it says, the compiled renderer against the reference."""

import numpy as np
import pytest

from hueglass.infer import bilateral, native, yuv
from hueglass.infer.errors import HueglassError
from hueglass.infer.yuv import Planes

MATRICES = [(number, full) for number in (1, 5, 9) for full in (False, True)]


def grid(spread: float = 0.2) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(bilateral.GRID_SHAPE)
    return (bilateral.identity_grid() + spread * noise).astype(np.float32)


def noise(height: int, width: int) -> Planes:
    rng = np.random.default_rng(height * 1000 + width)
    half = ((height + 1) // 2, (width + 1) // 2)
    return tuple(rng.integers(0, 256, size, np.uint8) for size in ((height, width), half, half))  # type: ignore[return-value]


def real_colours(height: int, width: int, kr: float, kb: float, full: bool) -> Planes:
    """Squares of random colours: planes that hold nothing that RGB does not have."""
    squares = np.random.default_rng(2).random((height // 2, width // 2, 3), np.float32)
    return yuv.from_rgb(squares.repeat(2, 0).repeat(2, 1), kr, kb, full)


@pytest.mark.parametrize(
    ("colour", "levels"),
    [
        ((1, 1, 1), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((1, 0, 0), (81, 90, 240)),
        ((0, 0, 1), (41, 240, 110)),
    ],
)
def test_known_colours_of_bt601(colour: tuple, levels: tuple) -> None:
    """ITU-T BT.601's primaries at 8 bits, as every table has them."""
    planes = yuv.from_rgb(np.full((2, 2, 3), colour, np.float32), *yuv.WEIGHTS[6], full=False)
    assert tuple(int(plane[0, 0]) for plane in planes) == levels
    np.testing.assert_allclose(yuv.to_rgb(planes, *yuv.WEIGHTS[6], full=False)[0, 0], colour, atol=0.01)


@pytest.mark.parametrize(("number", "full"), MATRICES)
def test_the_identity_changes_next_to_nothing(number: int, full: bool) -> None:
    kr, kb = yuv.WEIGHTS[number]
    planes = real_colours(40, 60, kr, kb, full)
    for render in (yuv.render, native.render_yuv):
        for before, after in zip(planes, render(bilateral.identity_grid(), planes, kr, kb, full), strict=True):
            assert np.abs(before.astype(int) - after).max() <= 1


@pytest.mark.parametrize("size", [(34, 66), (33, 65), (1, 1), (2, 2), (3, 1), (1, 130), (61, 83)])
@pytest.mark.parametrize(("number", "full"), MATRICES)
def test_the_compiled_renderer_agrees(number: int, full: bool, size: tuple[int, int]) -> None:
    kr, kb = yuv.WEIGHTS[number]
    planes = noise(*size)
    expected = yuv.render(grid(), planes, kr, kb, full)
    result = native.render_yuv(grid(), planes, kr, kb, full)
    for a, b in zip(result, expected, strict=True):
        difference = np.abs(a.astype(int) - b)
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= max(1, 0.09 * difference.size)


@pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")
@pytest.mark.parametrize("width", range(1, 140, 3))
def test_every_path_is_the_same_to_the_bit(width: int) -> None:
    assert native._render is not None
    planes, results = noise(7, width), []
    for path in native.paths():
        results.append([np.zeros_like(plane) for plane in planes])
        native._render.render_yuv(grid(), planes, results[-1], *yuv.WEIGHTS[1], False, 2, path)
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_wide_grids_go_the_slow_way() -> None:
    wide, planes = grid(spread=9), noise(20, 30)
    result, expected = (render(wide, planes, *yuv.WEIGHTS[1], False) for render in (native.render_yuv, yuv.render))
    for a, b in zip(result, expected, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


def test_rows_may_lie_apart() -> None:
    """As decoders pad them; what lies between is not touched."""
    planes = noise(20, 30)
    padded = [np.full((p.shape[0], p.shape[1] + 7), 99, np.uint8) for p in planes]
    for wide, plane in zip(padded, planes, strict=True):
        wide[:, : plane.shape[1]] = plane
    views: Planes = tuple(wide[:, : p.shape[1]] for wide, p in zip(padded, planes, strict=True))  # type: ignore[assignment]
    result, expected = (native.render_yuv(grid(), p, *yuv.WEIGHTS[1], False) for p in (views, planes))
    for a, b in zip(result, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((wide[:, p.shape[1] :] == 99).all() for wide, p in zip(padded, planes, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_threads_change_nothing(threads: int) -> None:
    planes = noise(41, 50)
    one = native.render_yuv(grid(), planes, *yuv.WEIGHTS[1], False, threads=1)
    for a, b in zip(one, native.render_yuv(grid(), planes, *yuv.WEIGHTS[1], False, threads=threads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_planes_of_another_frame_are_refused() -> None:
    luma, cb, cr = noise(20, 30)
    with pytest.raises(HueglassError, match=r"chroma is uint8 \(9, 15\), expected uint8 \(10, 15\)"):
        native.render_yuv(grid(), (luma, cb[1:], cr), *yuv.WEIGHTS[1], False)
    with pytest.raises(HueglassError, match=r"luma is uint16 \(20, 30\), expected uint8"):
        native.render_yuv(grid(), (luma.astype(np.uint16), cb, cr), *yuv.WEIGHTS[1], False)
