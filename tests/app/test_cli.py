"""The command line does what it says, on good input: photographs, looks and the demo."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from hueglass import __version__
from hueglass.infer.media.images import read_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look, read_look

LOOK = embedded_looks()[0]


@pytest.fixture
def picture() -> np.ndarray:
    """(96, 160, 3) uint8: coarse patches of every colour, no pixel near black or white."""
    patches = np.random.default_rng(5).integers(40, 216, (6, 10, 3), dtype=np.uint8)
    return np.kron(patches, np.ones((16, 16, 1), np.uint8))


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a picture, and a reference whose left half is warm and right half cold."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("in.png")
    light = np.full(picture.shape, (230, 140, 60))
    light[:, 80:] = (50, 110, 220)
    Image.fromarray(np.clip(light + picture // 3 - 40.0, 0, 255).astype(np.uint8)).save("ref.png")
    return tmp_path


def halves(left: tuple[int, int, int], right: tuple[int, int, int], path: str) -> str:
    mask = np.empty((96, 160, 3), np.uint8)
    mask[:, :80], mask[:, 80:] = left, right
    Image.fromarray(mask).save(path)
    return path


def warmth(image: np.ndarray) -> float:
    """Red less blue, on average."""
    return float(image[..., 0].mean() - image[..., 2].mean())


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def done(outcome: object) -> str:
    """What a command printed that succeeded and said nothing on stderr."""
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out


def stylize(run: Callable, *options: object, source: str = "in.png") -> np.ndarray:
    assert done(run("photo", source, "out.png", *options)) == ""
    return read_image("out.png")


def test_version_and_help(run: Callable) -> None:
    assert done(run("--version")) == f"hueglass {__version__}\n"
    for command in ((), ("photo",), ("video",), ("demo",), ("look",), ("look", "make"), ("look", "list")):
        for option in ("--help", "-h"):
            assert " ".join((*command, "[OPTIONS]")) in done(run(*command, option))


def test_no_command_shows_the_help(run: Callable) -> None:
    for command in ((), ("look",)):
        outcome = run(*command)
        assert (outcome.status, outcome.err) == (2, "")
        assert " ".join((*command, "[OPTIONS] COMMAND")) in outcome.out


def test_look_list_names_every_look(run: Callable, bundle: ModelBundle) -> None:
    lines = done(run("look", "list")).splitlines()
    assert [line.split()[0] for line in lines] == embedded_looks()
    assert len(lines) >= 2
    for line in lines:
        name, regions = line.split(maxsplit=1)
        assert tuple(regions.split(", ")) == find_look(name, bundle.manifest).names


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


def test_made_look_is_the_style(run: Callable, folder: Path) -> None:
    assert done(run("look", "make", "ref.png", "-o", "mine.look")) == ""
    np.testing.assert_array_equal(stylize(run, "--look", "mine.look"), stylize(run, "--style", "ref.png"))
    done(run("look", "make", "ref.png", "-o", "again.look"))
    assert Path("again.look").stat().st_size < 10_000


def test_made_look_names_its_regions(run: Callable, folder: Path, bundle: ModelBundle) -> None:
    mask = halves((0, 0, 255), (0, 255, 0), "mask.png")
    command = ("look", "make", "ref.png", "-o", "mine.look", "--mask", mask)

    def made(*options: str) -> dict[str, np.ndarray]:
        done(run(*command, *options))
        look = read_look(Path("mine.look"), bundle.manifest)
        assert len(set(look.names)) == len(look.names)
        return dict(zip(look.names, look.codes, strict=True))

    plain, named = made(), made("--region", "sky=blue")
    assert set(plain) == {"blue", "green"}
    assert set(named) == {"sky", "green"}
    np.testing.assert_allclose(named["sky"], plain["blue"], atol=1e-5)
    assert np.abs(named["sky"] - named["green"]).max() > 0.01
    swapped = made("--region", "green=blue", "--region", "blue=green")
    np.testing.assert_allclose(swapped["green"], plain["blue"], atol=1e-5)
    joined = made("--region", "sky=blue", "--region", "sky=green")
    assert set(joined) == {"sky"}
    assert np.abs(joined["sky"] - plain["blue"]).max() > 0.01


def test_label_numbers_name_regions(run: Callable, folder: Path, bundle: ModelBundle) -> None:
    labels = np.repeat([[3, 7]], 80, axis=1).repeat(96, axis=0).astype(np.uint8)
    Image.fromarray(labels).save("labels.png")
    done(run("look", "make", "ref.png", "-o", "a.look", "--mask", "labels.png", "--region", "road=3"))
    assert set(read_look(Path("a.look"), bundle.manifest).names) == {"road", "7"}


def test_demo(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "demo"
    printed = done(run("demo", "-o", out, "--look", LOOK, "--seconds", "0.2", "--seed", "7"))
    assert LOOK in printed
    names = ["street.mp4", "stylized.mp4", "strip.jpg", "looks.jpg"]
    assert printed.split()[-4:] == [str(out / name) for name in names]
    assert sorted(p.name for p in out.iterdir()) == sorted(names)
    first = []
    for name in names[:2]:
        with av.open(str(out / name)) as clip:
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        assert (len(frames), frames[0].shape) == (5, (720, 1280, 3))
        first.append(frames[0])
    assert distance(*first) > 3
    rows = -(-(1 + len(embedded_looks())) // 3)
    assert read_image(out / "looks.jpg").shape == (270 * rows, 480 * 3, 3)


def test_look_mix(run: Callable, tmp_path: Path) -> None:
    first, second = embedded_looks()[:2]
    outcome = run("look", "mix", first, second, "--weight", "0.3", "-o", tmp_path / "between.look")
    assert (outcome.status, outcome.err) == (0, "")
    assert find_look(str(tmp_path / "between.look"), ModelBundle().manifest).name == "between"
    assert run("look", "mix", first, "nobody", "-o", tmp_path / "x.look").status == 2
    assert [p.name for p in tmp_path.iterdir()] == ["between.look"]
