"""`hueglass look make`, `mix` and `list` do what they say, on good input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from support.photographs import done, halves, stylize

from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look, read_look


def test_look_list_names_every_look(run: Callable, bundle: ModelBundle) -> None:
    lines = done(run("look", "list")).splitlines()
    assert [line.split()[0] for line in lines] == embedded_looks()
    assert len(lines) >= 2
    for line in lines:
        name, regions = line.split(maxsplit=1)
        assert tuple(regions.split(", ")) == find_look(name, bundle.manifest).names


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


def test_look_mix(run: Callable, tmp_path: Path) -> None:
    first, second = embedded_looks()[:2]
    outcome = run("look", "mix", first, second, "--weight", "0.3", "-o", tmp_path / "between.look")
    assert (outcome.status, outcome.err) == (0, "")
    assert find_look(str(tmp_path / "between.look"), ModelBundle().manifest).name == "between"
    assert run("look", "mix", first, "nobody", "-o", tmp_path / "x.look").status == 2
    assert [p.name for p in tmp_path.iterdir()] == ["between.look"]
