"""How much of a look, and where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.streets import picture_of_street

from hueglass.infer.errors import UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import blend, identity_grid, render
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.infer.regions.strength import Strength, at_vertices
from hueglass.infer.scene.stylizer import Stylizer

LOOK = embedded_looks()[0]
SHAPE = (8, 16, 16, 12)


def inverted() -> np.ndarray:
    """The grid that turns every colour into its opposite."""
    grid = -identity_grid()
    grid[..., 3::4] = 1
    return grid


def halves(size: int = 128) -> tuple[np.ndarray, Regions]:
    """A dark left and a bright right (256, 256), the left half being a region of its own."""
    thumbnail = np.full((256, 256, 3), 40, np.uint8)
    thumbnail[:, 128:] = 200
    maps = np.zeros((1, size, size), np.float32)
    maps[0, :, : size // 2] = 1
    return thumbnail, Regions(maps, ("left",))


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0, 2.0])
def test_everywhere(value: float) -> None:
    thumbnail, regions = halves()
    expected = blend(identity_grid(), inverted(), value)
    for there in (regions, no_regions(128)):
        np.testing.assert_allclose(Strength(value).apply(inverted(), thumbnail, there), expected, atol=1e-6)


def test_a_region_is_left_alone_and_the_rest_is_not() -> None:
    thumbnail, regions = halves()
    grid = Strength(1.0, {"left": 0.0}).apply(inverted(), thumbnail, regions)
    out = render(grid, thumbnail)
    assert np.abs(out[:, :112].astype(int) - 40).max() <= 1
    assert np.abs(out[:, 144:].astype(int) - 55).max() <= 1


def test_brightness_parts_regions_within_a_cell() -> None:
    """The border lies in the middle of a column of cells: depth keeps the two sides apart."""
    thumbnail, regions = halves()
    thumbnail, maps = np.roll(thumbnail, 8, 1), np.roll(regions.maps, 4, 2)
    out = render(Strength(1.0, {"left": 0.0}).apply(inverted(), thumbnail, Regions(maps, ("left",))), thumbnail)
    assert np.abs(out[:, 9:135].astype(int) - 40).max() <= 12
    assert np.abs(out[:, 137:].astype(int) - 55).max() <= 12


def test_means_at_vertices() -> None:
    thumbnail, regions = halves()
    found = at_vertices(regions.maps[0], thumbnail, (8, 16, 16))
    assert found.shape == (8, 16, 16)
    assert found[0, :, :8].min() > 0.98
    assert found[6, :, 8:].max() < 0.02
    assert np.isfinite(found).all()
    np.testing.assert_allclose(at_vertices(np.full((128, 128), 0.3), thumbnail, (8, 16, 16)), 0.3, atol=1e-6)
    np.testing.assert_allclose(at_vertices(np.full((128, 128), 0.3), thumbnail, (1, 1, 1)), 0.3, atol=1e-6)


def test_values() -> None:
    for bad in (-0.01, 2.01, float("nan")):
        with pytest.raises(UsageError, match=f"strength {bad}, expected 0 to 2"):
            Strength(bad)
    with pytest.raises(UsageError, match=r"strength of sky 3\.0, expected 0 to 2"):
        Strength(1, {"sky": 3.0})


def test_a_protected_region_of_a_street(bundle: ModelBundle) -> None:
    """With the real model: the sky stays nearly as it is, the rest takes the look."""
    image = picture_of_street(5, 1.0, 320, 240)
    look = find_look(LOOK, bundle.manifest)
    assert bundle.segmenter is not None
    regions = bundle.segmenter(bundle.thumbnail(image))
    frame = Frame(image, 0.0, 0)
    full = Stylizer(bundle, look)(frame, regions).image.astype(int)
    kept = Stylizer(bundle, look, Strength(1.0, {"sky": 0.0}))(frame, regions).image.astype(int)
    sky = np.kron(regions.maps[regions.names.index("sky")] > 0.95, np.ones((2, 2), bool))
    sky = np.array(Image.fromarray(sky).resize((320, 240), Image.Resampling.NEAREST))
    assert sky.mean() > 0.05
    assert np.abs(kept - image)[sky].mean() < 0.3 * np.abs(full - image)[sky].mean()
    assert np.abs(kept - full)[~sky].mean() < 0.3 * np.abs(full - image)[~sky].mean()


def test_the_command_line(run: Callable, tmp_path: Path) -> None:
    image = picture_of_street(5, 1.0, 320, 240)
    Image.fromarray(image).save(tmp_path / "in.png")

    def out(name: str, *options: str) -> np.ndarray:
        outcome = run("photo", tmp_path / "in.png", tmp_path / name, "--look", LOOK, "--auto-regions", *options)
        assert (outcome.status, outcome.err) == (0, "")
        return np.array(Image.open(tmp_path / name)).astype(int)

    full, more, none = out("a.png"), out("b.png", "--strength", "1.4"), out("c.png", "--strength", "0")
    kept = out("d.png", "--region", "sky=0", "--region", "building=0")
    assert (none == image).all()
    assert np.abs(more - image).mean() > 1.1 * np.abs(full - image).mean()
    assert 0 < np.abs(kept - image).mean() < 0.9 * np.abs(full - image).mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no-auto-regions", "--region", "sky=0"), "expected --auto-regions, --segmenter or --masks"),
        (("--auto-regions", "--region", "unicorn=0"), "--region unicorn: no such region, expected one of"),
        (("--auto-regions", "--region", "sky"), "--region sky: expected NAME=STRENGTH"),
        (("--auto-regions", "--region", "sky=9"), "strength of sky 9.0, expected 0 to 2"),
    ],
)
def test_the_command_line_refuses(run: Callable, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    image = picture_of_street(5, 1.0, 160, 120)
    Image.fromarray(image).save(tmp_path / "in.png")
    outcome = run("photo", tmp_path / "in.png", tmp_path / "out.png", "--look", LOOK, *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.png").exists()
