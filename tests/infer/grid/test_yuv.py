"""Frames in Y'CbCr: the reference against what it says, the compiled renderer against the reference, files."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid import bilateral, yuv
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.video_sink import VideoSink
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.resize import resized_square
from hueglass.infer.thumbnail import thumbnail

KINDS = [(matrix, full) for matrix in (1, 5, 9) for full in (False, True)]


def grid(spread: float = 0.2) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(bilateral.GRID_SHAPE)
    return (bilateral.identity_grid() + spread * noise).astype(np.float32)


def noise(height: int, width: int, matrix: int = 1, full: bool = False) -> YuvImage:
    rng = np.random.default_rng(height * 1000 + width)
    half = ((height + 1) // 2, (width + 1) // 2)
    luma, cb, cr = (rng.integers(0, 256, size, np.uint8) for size in ((height, width), half, half))
    return YuvImage((luma, cb, cr), matrix, full)


def squares(height: int, width: int) -> np.ndarray:
    """sRGB (height, width, 3) in [0, 1]: a random colour for every two by two pixels, as chroma has them."""
    colours = np.random.default_rng(2).random((height // 2, width // 2, 3), np.float32)
    return colours.repeat(2, 0).repeat(2, 1)


def differences(a: YuvImage, b: YuvImage) -> list[np.ndarray]:
    return [np.abs(x.astype(int) - y) for x, y in zip(a.planes, b.planes, strict=True)]


def assert_same(a: YuvImage, b: YuvImage) -> None:
    assert [d.max() for d in differences(a, b)] == [0, 0, 0]


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
    image = ycbcr.from_rgb(np.full((2, 2, 3), colour, np.float32), matrix=6)
    assert tuple(int(plane[0, 0]) for plane in image.planes) == levels
    np.testing.assert_allclose(ycbcr.to_rgb(image)[0, 0], colour, atol=0.01)


@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_to_rgb_and_back(matrix: int, full: bool) -> None:
    colours = squares(40, 60)
    np.testing.assert_allclose(ycbcr.to_rgb(ycbcr.from_rgb(colours, matrix, full)), colours, atol=0.012)


@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_the_identity_changes_next_to_nothing(matrix: int, full: bool) -> None:
    image = ycbcr.from_rgb(squares(40, 60), matrix, full)
    for render in (yuv.render, native.render_yuv):
        assert max(d.max() for d in differences(image, render(bilateral.identity_grid(), image))) <= 1


@pytest.mark.parametrize("size", [(34, 66), (33, 65), (1, 1), (2, 2), (3, 1), (1, 130), (61, 83)])
@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_the_compiled_renderer_agrees(matrix: int, full: bool, size: tuple[int, int]) -> None:
    image = noise(*size, matrix, full)
    for difference in differences(native.render_yuv(grid(), image), yuv.render(grid(), image)):
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= max(1, 0.09 * difference.size)


@pytest.mark.parametrize("size", [(34, 66), (33, 65), (1, 1), (3, 1), (1, 130), (61, 83)])
@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_the_compiled_way_to_rgb_agrees(matrix: int, full: bool, size: tuple[int, int]) -> None:
    image = noise(*size, matrix, full)
    difference = np.abs(native.render_to_rgb(grid(), image).astype(int) - yuv.render_to_rgb(grid(), image))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= max(1, 0.09 * difference.size)
    plain = native.render_to_rgb(bilateral.identity_grid(), image)
    assert np.abs(plain - 255 * ycbcr.to_rgb(image)).max() <= 1


@pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")
@pytest.mark.parametrize("width", range(1, 140, 7))
def test_every_path_to_rgb_is_the_same_to_the_bit(width: int) -> None:
    assert native._render is not None
    image, results = noise(7, width), []
    for path in native.paths():
        out = np.zeros((7, width, 3), np.uint8)
        native._render.render_yuv_to_rgb(grid(), image.planes, out, *image.weights, False, 2, path)
        results.append(out)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")
def test_the_way_to_rgb_checks_what_it_gets() -> None:
    assert native._render is not None
    image = noise(6, 8)
    for out in (np.zeros((6, 7, 3), np.uint8), np.zeros((6, 8), np.uint8), np.zeros((6, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="out has shape"):
            native._render.render_yuv_to_rgb(grid(), image.planes, out, *image.weights, False)
    luma, cb, cr = image.planes
    with pytest.raises(ValueError, match="chroma has shape"):
        native._render.render_yuv_to_rgb(grid(), (luma, cb[1:], cr), np.zeros((6, 8, 3), np.uint8), 0.2, 0.1, False)


@pytest.mark.skipif(not native.available(), reason="the compiled renderer was not built")
@pytest.mark.parametrize("width", range(1, 140, 3))
def test_every_path_is_the_same_to_the_bit(width: int) -> None:
    assert native._render is not None
    image, results = noise(7, width), []
    for path in native.paths():
        planes = [np.zeros_like(plane) for plane in image.planes]
        native._render.render_yuv(grid(), image.planes, planes, *image.weights, False, 2, path)
        results.append(replace(image, planes=tuple(planes)))
    for result in results[1:]:
        assert_same(result, results[0])


def test_wide_grids_go_the_slow_way() -> None:
    wide, image = grid(spread=9), noise(20, 30)
    assert max(d.max() for d in differences(native.render_yuv(wide, image), yuv.render(wide, image))) <= 1


def test_rows_may_lie_apart() -> None:
    """As decoders pad them; what lies between is not touched."""
    image = noise(20, 30)
    padded = [np.full((p.shape[0], p.shape[1] + 7), 99, np.uint8) for p in image.planes]
    for wide, plane in zip(padded, image.planes, strict=True):
        wide[:, : plane.shape[1]] = plane
    luma, cb, cr = (wide[:, : p.shape[1]] for wide, p in zip(padded, image.planes, strict=True))
    assert_same(native.render_yuv(grid(), YuvImage((luma, cb, cr))), native.render_yuv(grid(), image))
    assert all((wide[:, p.shape[1] :] == 99).all() for wide, p in zip(padded, image.planes, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_threads_change_nothing(threads: int) -> None:
    image = noise(41, 50)
    assert_same(native.render_yuv(grid(), image, threads), native.render_yuv(grid(), image, 1))


def test_planes_of_another_frame_are_refused() -> None:
    luma, cb, cr = noise(20, 30).planes
    with pytest.raises(HueglassError, match=r"chroma is uint8 \(9, 15\), expected uint8 \(10, 15\)"):
        YuvImage((luma, cb[1:], cr))
    with pytest.raises(HueglassError, match=r"luma is uint16 \(20, 30\), expected uint8"):
        YuvImage((luma.astype(np.uint16), cb, cr))
    with pytest.raises(HueglassError, match=r"matrix 8 of H\.273, expected one of 1, 4, 5"):
        YuvImage((luma, cb, cr), matrix=8)


@pytest.mark.parametrize(("matrix", "full"), KINDS)
def test_the_thumbnail_is_that_of_the_picture_in_rgb(matrix: int, full: bool) -> None:
    smooth = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 96), np.linspace(0.2, 0.7, 64)), -1)
    colours = np.concatenate([smooth, 1 - smooth[..., :1]], -1).astype(np.float32)
    wanted = resized_square((colours * 255 + 0.5).astype(np.uint8), 32)
    found = thumbnail(ycbcr.from_rgb(colours, matrix, full), 32)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 3


def test_frames_of_a_file_as_decoded(media: ModuleType, tmp_path: Path) -> None:
    """The same pictures as in RGB, and back into a file without a loss but the encoder's."""
    path = media.Clip(pts=[0, 1, 2], pixel_format="yuv420p").write(tmp_path / "a.mp4")
    with VideoSource(path) as clip:
        planar = list(clip.as_decoded())
    with VideoSource(path) as clip:
        rgb, info = list(clip), clip.info
    assert [(f.time, f.index, f.duration) for f in planar] == [(f.time, f.index, f.duration) for f in rgb]
    for a, b in zip(planar, rgb, strict=True):
        assert isinstance(a.image, YuvImage)
        assert np.median(np.abs(255 * ycbcr.to_rgb(a.image) - b.image)) < 1  # chroma differs at the patches' edges
    with VideoSink(tmp_path / "b.mp4", info) as sink:
        for frame in planar:
            sink.write(frame)
    with VideoSource(tmp_path / "b.mp4") as clip:
        assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(clip, rgb, strict=True)) < 2


@pytest.mark.parametrize(("pixel_format", "width"), [("yuv444p", 160), ("yuv422p", 160), ("yuv444p", 97)])
def test_other_frames_are_decoded_to_rgb(media: ModuleType, tmp_path: Path, pixel_format: str, width: int) -> None:
    path = media.Clip(pts=[0, 1], pixel_format=pixel_format, width=width).write(tmp_path / "a.mp4")
    with VideoSource(path) as clip:
        assert all(isinstance(frame.image, np.ndarray) for frame in clip.as_decoded())
