"""Tables of colours: fitted to what happened to pixels, written so that others read them the same way."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av.filter
import numpy as np
import pytest
from PIL import Image

from hueglass.export.cube import apply_table, fit_table, identity_table, sample_pixels, write_cube
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks
from hueglass.jobs.cube import EVERYWHERE, measure_gaps

LOOK = embedded_looks()[0]


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


@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_the_command(run: Callable, media: ModuleType, tmp_path: Path, kind: str) -> None:
    """The table does to the picture nearly what the look does, and says how nearly, region by region."""
    source = tmp_path / "in.png"
    Image.fromarray(media.moving_patches(160, 96, 1)[0]).save(source)
    if kind == "clip":
        source = media.Clip(pts=list(range(5)), pixel_format="yuv420p").write(tmp_path / "in.mp4")
    outcome = run("look", "cube", source, "--look", LOOK, "--size", "17", "-o", tmp_path / "a.cube")
    assert (outcome.status, outcome.err) == (0, "")
    assert "everywhere" in outcome.out
    lines = (tmp_path / "a.cube").read_text().splitlines()
    assert lines[:2] == [f'TITLE "{LOOK} on {source.name}"', "LUT_3D_SIZE 17"]
    assert len(lines) == 4 + 17**3


def test_gaps_are_where_the_table_is_wrong(bundle: ModelBundle) -> None:
    """Half of a grey picture becomes darker: no table can say which half."""
    grey = np.full((64, 64, 3), 128, np.uint8)
    wanted = grey.copy()
    wanted[:, 32:] = 90
    table = fit_table(*sample_pixels([(grey, wanted)], 1), 17)
    gap = measure_gaps([(grey, wanted)], table, None, bundle)[EVERYWHERE]
    assert gap.share == 1
    assert 5 < gap.mean < gap.p95 + 1 < 12
    exact = measure_gaps([(grey, apply_table(table, grey))], table, None, bundle)[EVERYWHERE]
    assert exact.mean == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "16"), "a table of 16 entries an edge, expected 17, 33 or 65"),
        ((), "expected either --style PHOTO or --look NAME"),
    ],
)
def test_the_command_refuses(run: Callable, tmp_path: Path, arguments: tuple, message: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "in.png")
    style = ("--look", LOOK) if arguments else ()
    outcome = run("look", "cube", tmp_path / "in.png", *style, *arguments, "-o", tmp_path / "a.cube")
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "a.cube").exists()
