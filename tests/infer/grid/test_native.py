"""The Python face of the compiled renderer: where results go and what it refuses.

That it computes the right thing is in test_bilateral_agree.
"""

import threading

import numpy as np
import pytest

from hueglass.infer.errors import HueglassError
from hueglass.infer.grid import bilateral
from hueglass.infer.grid.cpu import native

compiled = pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")


@pytest.fixture
def grid() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (bilateral.identity_grid() + 0.3 * rng.standard_normal(bilateral.GRID_SHAPE)).astype(np.float32)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (61, 83, 3), dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 2, 3, 64, 1000])
def test_threads_change_nothing(grid: np.ndarray, image: np.ndarray, threads: int) -> None:
    np.testing.assert_array_equal(native.render(grid, image, threads=threads), native.render(grid, image))


def test_renders_into_out(grid: np.ndarray, image: np.ndarray) -> None:
    out = np.zeros_like(image)
    assert native.render(grid, image, out=out) is out
    np.testing.assert_array_equal(out, native.render(grid, image))


@pytest.mark.parametrize("threads", [1, 3])
def test_renders_in_place(grid: np.ndarray, image: np.ndarray, threads: int) -> None:
    expected = native.render(grid, image)
    native.render(grid, image, out=image, threads=threads)
    np.testing.assert_array_equal(image, expected)


def test_leaves_the_frame_alone(grid: np.ndarray, image: np.ndarray) -> None:
    before = image.copy()
    native.render(grid, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "view",
    [
        np.s_[:, 10:50],
        np.s_[::2],
        np.s_[:, ::-1],
        np.s_[..., ::-1],
        np.s_[5:40],
        np.s_[7:8],
        np.s_[:, 7:8],
        np.s_[::-1],
    ],
    ids=["columns", "every other row", "mirrored", "BGR", "rows", "one row", "one column", "upside down"],
)
def test_any_strides_in_and_out(grid: np.ndarray, image: np.ndarray, view: object) -> None:
    expected = native.render(grid, image[view].copy())
    np.testing.assert_array_equal(native.render(grid, image[view]), expected)
    canvas = image.copy()
    native.render(grid, canvas[view], out=canvas[view])
    untouched = image.copy()
    untouched[view] = expected
    np.testing.assert_array_equal(canvas, untouched)


@compiled
@pytest.mark.parametrize("width", range(1, 70))
def test_every_path_is_the_same_to_the_bit(grid: np.ndarray, width: int) -> None:
    """At every width, so that whatever whole vectors leave over is met; nothing is written beside the frame."""
    assert native._render is not None
    canvas = np.random.default_rng(width).integers(0, 256, (5, 70 + 3, 3), dtype=np.uint8)
    results = []
    for path in native.paths():
        results.append(canvas.copy())
        native._render.render(grid, canvas[:, 1 : width + 1], results[-1][:, 1 : width + 1], path=path)
        np.testing.assert_array_equal(results[-1][:, [0, width + 1]], canvas[:, [0, width + 1]])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_path_that_is_not_here(grid: np.ndarray, image: np.ndarray) -> None:
    if native._render is None:
        pytest.skip("the compiled renderer was not built")
    with pytest.raises(ValueError, match="path sse9 cannot run on this machine"):
        native._render.render(grid, image, image.copy(), path="sse9")


def test_out_may_overlap_the_frame(grid: np.ndarray, image: np.ndarray) -> None:
    expected = native.render(grid, image[:-1].copy())
    native.render(grid, image[:-1], out=image[1:])
    np.testing.assert_array_equal(image[1:], expected)


def test_grids_of_other_dtypes(grid: np.ndarray, image: np.ndarray) -> None:
    np.testing.assert_array_equal(native.render(grid.astype(np.float64), image), native.render(grid, image))


def test_renders_from_several_threads(grid: np.ndarray, image: np.ndarray) -> None:
    expected, results = native.render(grid, image), [np.zeros_like(image) for _ in range(4)]
    threads = [threading.Thread(target=native.render, args=(grid, image, out, 2)) for out in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
    ],
    ids=lambda frame: f"{frame.dtype}{frame.shape}",
)
def test_refuses_frames(grid: np.ndarray, frame: np.ndarray) -> None:
    with pytest.raises(HueglassError, match=r"the frame is .*, expected uint8 \(height, width, 3\)"):
        native.render(grid, frame)


@pytest.mark.parametrize("shape", [(8, 16, 16), (8, 16, 16, 11), (0, 16, 16, 12), (8, 65, 16, 12)])
def test_refuses_grids(image: np.ndarray, shape: tuple[int, ...]) -> None:
    with pytest.raises(HueglassError, match="coefficients have shape"):
        native.render(np.zeros(shape, np.float32), image)


def test_refuses_grids_that_are_not_finite(grid: np.ndarray, image: np.ndarray) -> None:
    grid[3, 2, 1, 0] = np.nan
    with pytest.raises(HueglassError, match="NaN"):
        native.render(grid, image)


def test_refuses_out(grid: np.ndarray, image: np.ndarray) -> None:
    with pytest.raises(HueglassError, match=r"out is \(61, 82, 3\), expected the frame's"):
        native.render(grid, image, out=np.empty((61, 82, 3), np.uint8))
    with pytest.raises(HueglassError, match="out is float32"):
        native.render(grid, image, out=np.empty(image.shape, np.float32))
    image.flags.writeable = False
    with pytest.raises(HueglassError, match="out is read-only"):
        native.render(grid, image, out=image)


def test_refuses_negative_threads(grid: np.ndarray, image: np.ndarray) -> None:
    with pytest.raises(HueglassError, match="threads is -1"):
        native.render(grid, image, threads=-1)


@compiled
@pytest.mark.parametrize("path", native.paths())
def test_extension_checks_for_itself(grid: np.ndarray, image: np.ndarray, path: str) -> None:
    def refused(message: str, *arguments: object) -> None:
        with pytest.raises(ValueError, match=message):
            native._render.render(*arguments, path=path)

    out = np.empty_like(image)
    refused("grid has shape", grid[..., :11].copy(), image, out, 1)
    refused("grid has shape", grid.astype(np.float64), image, out, 1)
    refused("grid has shape", np.zeros((1, 1, 65, 12), np.float32), image, out, 1)
    refused("grid has shape", np.zeros((1, 0, 1, 12), np.float32), image, out, 1)
    refused("grid is not contiguous", grid[:, :, ::2], image, out, 1)
    refused("image has shape", grid, image.astype(np.int8), out, 1)
    refused("image has shape", grid, image[:0], out[:0], 1)
    refused("image has rows that are not contiguous", grid, image[:, ::2], out, 1)
    refused("image has rows that are not contiguous", grid, image[::-1], out, 1)
    refused("out has rows that are not contiguous", grid, image[:, :2], np.empty((61, 4, 3), np.uint8)[:, ::2], 1)
    refused("out has shape", grid, image, out[:-1], 1)
    refused("out overlaps image", grid, image[:-1], image[1:], 1)
    refused("out overlaps image", grid, image[::2], image[:31], 1)
    refused("threads is 0", grid, image, out, 0)
    out.flags.writeable = False
    refused("out is read-only", grid, image, out, 1)


@compiled
@pytest.mark.parametrize("path", native.paths())
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
def test_extension_survives_wild_numbers(image: np.ndarray, value: float, path: str) -> None:
    """Nothing is promised about the colours, except that no number leads outside the frame or the tables."""
    wild = np.full(bilateral.GRID_SHAPE, value, np.float32)
    wild[::2] *= -1
    native._render.render(wild, image, np.empty_like(image), 1, path=path)
