"""Tables of colours: fitted to what happened to pixels, written so that others read them the same way."""

from pathlib import Path

import av.filter
import numpy as np
import pytest

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.lut import apply_table, fit_table, identity_table, sample_pixels, write_cube


def noise(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def warm(image: np.ndarray) -> np.ndarray:
    """A known change of colours, that no affine map is."""
    x = image.astype(np.float32) / 255
    changed = np.stack([x[..., 0] ** 0.7, 0.9 * x[..., 1] + 0.05, x[..., 2] * (0.4 + 0.3 * x[..., 0])], -1)
    return np.floor(changed * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("size", [2, 17, 33])
def test_the_identity_changes_nothing(size: int) -> None:
    np.testing.assert_array_equal(apply_table(identity_table(size), noise()), noise())


@pytest.mark.parametrize("size", [17, 33])
def test_finds_what_happened_to_colours(size: int) -> None:
    pairs = [(noise(seed=i), warm(noise(seed=i))) for i in range(8)]
    table = fit_table(*sample_pixels(pairs, len(pairs)), size)
    fresh = noise(seed=99)
    error = np.abs(apply_table(table, fresh).astype(int) - warm(fresh))
    assert error.mean() < 1
    assert np.percentile(error, 99) <= 4


def test_what_no_pixel_says_goes_on_smoothly() -> None:
    """Only dark pixels are seen, all a tenth brighter: bright ones neither stay behind nor run away."""
    dark = noise() // 3
    table = fit_table(*sample_pixels([(dark, (dark * 1.1 + 0.5).astype(np.uint8))], 1), 17)
    assert np.isfinite(table).all()
    assert table.min() > -0.1
    assert table.max() < 1.3
    assert (np.diff(np.diagonal(table[..., 0], axis1=0, axis2=1)[0]) > 0).all()


def test_a_cube_file_is_read_by_ffmpeg_as_it_was_meant(tmp_path: Path) -> None:
    image = noise()
    table = fit_table(*sample_pixels([(image, warm(image))], 1), 17)
    write_cube(tmp_path / "a.cube", table, 'evening "light"\n')
    lines = (tmp_path / "a.cube").read_text().splitlines()
    assert lines[:2] == ['TITLE "evening light"', "LUT_3D_SIZE 17"]
    assert len(lines) == 4 + 17**3
    if "lut3d" not in av.filter.filters_available:
        pytest.skip("this PyAV has no lut3d")
    graph = av.filter.Graph()
    source = graph.add_buffer(width=image.shape[1], height=image.shape[0], format="rgb24", time_base=1)
    lut = graph.add("lut3d", f"file={tmp_path / 'a.cube'}:interp=trilinear")
    graph.link_nodes(source, lut, graph.add("buffersink")).configure()
    graph.vpush(av.VideoFrame.from_ndarray(image, format="rgb24"))
    theirs = graph.vpull().to_ndarray(format="rgb24")
    assert np.abs(theirs.astype(int) - apply_table(table, image)).max() <= 1


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.txt"):
        write_cube(tmp_path / "a.txt", identity_table(2), "x")
    with pytest.raises(UsageError, match="no"):
        write_cube(tmp_path / "no" / "a.cube", identity_table(2), "x")
    with pytest.raises(HueglassError, match="no picture to fit a table to"):
        sample_pixels([], 0)
    assert list(tmp_path.iterdir()) == []
