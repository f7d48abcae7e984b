"""The renderer: chosen once, named, one face for frames in RGB, in Y'CbCr and on a GPU."""

import warnings
from typing import Any

import cv2
import numpy as np
import pytest
from support.grids import noise, random_grid

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import bilateral, renderer
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.numpy_renderer import NumpyRenderer
from hueglass.infer.grid.renderer import CudaRenderer, NativeRenderer, choose_renderer, host_renderer
from hueglass.infer.thumbnail import thumbnail

compiled = pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")
RENDERERS = [NumpyRenderer, pytest.param(NativeRenderer, marks=compiled), CudaRenderer]


@pytest.fixture(params=RENDERERS)
def each(request: pytest.FixtureRequest) -> Any:
    if request.param is CudaRenderer:
        request.getfixturevalue("on_cpu")
    return request.param()


def planar() -> YuvImage:
    return ycbcr.from_rgb(noise(48, 70).astype(np.float32) / 255)


def test_every_renderer_renders_every_kind(each: Any) -> None:
    grid, image, reference = random_grid(), noise(48, 70), NumpyRenderer()
    assert np.abs(each.render(grid, image).astype(int) - reference.render(grid, image)).max() <= 1
    ours, theirs = each.render(grid, planar()), reference.render(grid, planar())
    assert (ours.matrix, ours.full_range) == (theirs.matrix, theirs.full_range)
    for a, b in zip(ours.planes, theirs.planes, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    shown = each.to_rgb(grid, planar())
    assert (shown.shape, shown.dtype) == ((48, 70, 3), np.uint8)
    # The one on a GPU shows what it would write, whose chroma is half as fine.
    near = 3 if isinstance(each, CudaRenderer) else 0.2
    assert np.abs(shown.astype(int) - reference.to_rgb(grid, planar())).mean() < 10 * near
    np.testing.assert_array_equal(each.to_rgb(grid, image), each.render(grid, image))


def test_every_renderer_makes_the_same_thumbnails(each: Any) -> None:
    for image in (noise(90, 61), planar()):
        np.testing.assert_array_equal(each.thumbnail(image, 32, 6), thumbnail(image, 32, 6))


def test_frames_on_a_device_stay_there(on_cpu: Any) -> None:
    grid, image = random_grid(), noise(90, 61)
    there = on_cpu.asarray(image)
    out = CudaRenderer().render(grid, there)
    assert isinstance(out, on_cpu.ndarray)
    assert np.abs(np.asarray(out).astype(int) - bilateral.render(grid, image)).max() <= 1
    smooth = cv2.GaussianBlur(noise(90, 61), (0, 0), 5)
    small = CudaRenderer().thumbnail(on_cpu.asarray(smooth), 32, 3)
    assert type(small) is np.ndarray
    assert np.abs(small.astype(int) - thumbnail(smooth, 32, 3)).mean() < 1


def test_every_renderer_refuses_what_is_no_frame(each: Any) -> None:
    with pytest.raises(HueglassError, match="expected uint8"):
        each.render(random_grid(), np.zeros((4, 4), np.uint8))
    with pytest.raises(HueglassError, match="expected finite"):
        each.render(np.full((8, 16, 16, 12), np.nan, np.float32), noise(4, 4))


@compiled
def test_the_best_that_is_here_is_chosen_and_named(on_cpu: Any) -> None:
    assert choose_renderer().name == f"compiled {native.paths()[0]}"
    assert choose_renderer(on_gpu=True).name == "CUDA"


@compiled
def test_without_cupy_frames_are_rendered_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer.kernels, "available", lambda: False)
    assert choose_renderer(on_gpu=True).name.startswith("compiled")


def test_without_the_extension_numpy_renders_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_render", None)
    renderer._warn_missing.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"no C\+\+ compiler was found when hueglass was installed"):
        chosen = host_renderer()
    assert chosen.name == "numpy"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert host_renderer().name == "numpy"
    grid, image = random_grid(), noise(20, 30)
    np.testing.assert_array_equal(chosen.render(grid, image), bilateral.render(grid, image))
    with pytest.raises(HueglassError, match="was not built"):
        native.render(grid, image)
    renderer._warn_missing.cache_clear()
