"""`hueglass photo` does what it says, on good input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photographs import distance, done, halves, stylize, warmth

from hueglass.infer.media.images import read_image
from hueglass.infer.model.look import embedded_looks

LOOK = embedded_looks()[0]


@pytest.mark.parametrize("name", embedded_looks())
def test_every_embedded_look_changes_a_picture(run: Callable, folder: Path, picture: np.ndarray, name: str) -> None:
    assert distance(stylize(run, "--look", name), picture) > 3


def test_style_takes_the_light_and_keeps_the_files(run: Callable, folder: Path, picture: np.ndarray) -> None:
    Image.new("RGB", (64, 64), (220, 120, 40)).save("warm.png")
    Image.new("RGB", (64, 64), (40, 120, 220)).save("cold.png")
    warm, cold = (stylize(run, "--style", name) for name in ("warm.png", "cold.png"))
    assert warmth(warm) > warmth(cold) + 20
    assert warm.shape == cold.shape == picture.shape
    assert {p.name for p in folder.iterdir()} == {"in.png", "ref.png", "warm.png", "cold.png", "out.png"}
    np.testing.assert_array_equal(read_image("in.png"), picture)


def test_strength(run: Callable, folder: Path, picture: np.ndarray) -> None:
    none, half, full = (stylize(run, "--style", "ref.png", "--strength", s) for s in (0, 0.5, 1))
    np.testing.assert_array_equal(none, picture)
    np.testing.assert_array_equal(full, stylize(run, "--style", "ref.png"))
    assert 0.3 * distance(picture, full) < distance(picture, half) < 0.7 * distance(picture, full)
    assert 0.3 * distance(picture, full) < distance(half, full) < 0.7 * distance(picture, full)


def test_masks_act_where_they_lie(run: Callable, folder: Path, picture: np.ndarray) -> None:
    """Equal names take equal light: swapping the names in one mask swaps the halves' colours."""
    red, green = (255, 0, 0), (0, 255, 0)
    mask, swapped = halves(red, green, "mask.png"), halves(green, red, "swapped.png")
    change = []
    for reference_mask in (mask, swapped):
        out = stylize(run, "--style", "ref.png", "--masks", mask, reference_mask)
        change.append([warmth(out[:, part]) - warmth(picture[:, part]) for part in np.s_[:72, 88:]])
    (left, right), (left_swapped, right_swapped) = change
    assert left > right + 30
    assert right_swapped > left_swapped + 30


def test_region_that_the_reference_lacks_is_named(run: Callable, folder: Path) -> None:
    mask, other = halves((255, 0, 0), (0, 255, 0), "mask.png"), halves((255, 0, 0), (0, 0, 255), "other.png")
    outcome = run("photo", "in.png", "out.png", "--style", "ref.png", "--masks", mask, other)
    assert outcome.status == 0
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("hueglass: mask.png: not in the reference: green; ")
    assert read_image("out.png").shape == (96, 160, 3)


@pytest.mark.parametrize("role", ["input", "reference"])
@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGBA", "png"), ("I;16", "png"), ("CMYK", "jpg"), ("P", "png"), ("1", "png")]
)
def test_kinds_of_pictures(run: Callable, folder: Path, picture: np.ndarray, role: str, mode: str, suffix: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(picture).convert(mode)
    image.save(f"kind.{suffix}")
    Image.fromarray(read_image(f"kind.{suffix}")).save("plain.png")
    out, plain = (
        stylize(run, "--style", "ref.png", source=name) if role == "input" else stylize(run, "--style", name)
        for name in (f"kind.{suffix}", "plain.png")
    )
    assert out.shape == picture.shape
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8000, 200), (3, 4000)])
def test_any_size(run: Callable, folder: Path, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save("odd.png")
    assert stylize(run, "--style", "ref.png", source="odd.png").shape == noise.shape
    assert stylize(run, "--style", "odd.png").shape == (96, 160, 3)
    mask = Image.new("L", size, 255)
    mask.save("mask.png")
    outcome = run("photo", "odd.png", "out.png", "--style", "odd.png", "--masks", "mask.png", "mask.png")
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp"])
def test_outputs(run: Callable, folder: Path, suffix: str) -> None:
    done(run("photo", "in.png", f"a.{suffix}", "--look", LOOK))
    assert distance(read_image(f"a.{suffix}"), stylize(run, "--look", LOOK)) < 3


def test_unusual_names(run: Callable, folder: Path) -> None:
    for name in ("a: b%03d.png", "[red]é.png", "-x.png"):
        (folder / name).write_bytes((folder / "in.png").read_bytes())
        done(
            run("photo", folder / name, folder / f"out {name}", "--style", folder / name, "--masks", "in.png", "in.png")
        )
        assert read_image(folder / f"out {name}").shape == (96, 160, 3)
