"""`evaluate known`: the student and classical transfers on held-out photographs under two grades."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.streets import picture_of_street

from hueglass.datasets.photos import held_out
from hueglass.infer.media.images import write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty streets, some of which are held out by their names."""
    (tmp_path / "photos").mkdir()
    for seed in range(40):
        write_image(tmp_path / "photos" / f"{seed}.png", picture_of_street(seed % 3, 1.0, 96, 72))
    return tmp_path / "photos"


def test_methods_are_measured_on_what_no_training_sees(run: Callable, folder: Path, tmp_path: Path) -> None:
    outcome = run("evaluate", "known", folder, "--count", 3, "--json", tmp_path / "k.json")
    assert outcome.status == 0, outcome.err
    scores = json.loads((tmp_path / "k.json").read_text())
    assert {"hueglass, no regions", "hueglass, regions", "Monge-Kantorovich", "untouched"} < set(scores)
    expected = [str(n) for n in sorted(map(str, range(40))) if held_out(n)][:3]
    assert all(list(by_photo) == expected for by_photo in scores.values())
    means = {name: sum(s["psnr"] for s in by_photo.values()) / 3 for name, by_photo in scores.items()}
    assert means["untouched"] < means["hueglass, no regions"]
    assert "Reinhard" in outcome.out


def test_a_folder_of_nothing_is_named(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    outcome = run("evaluate", "known", tmp_path / "photos")
    assert (outcome.status, "holds no photograph" in outcome.err) == (2, True)
