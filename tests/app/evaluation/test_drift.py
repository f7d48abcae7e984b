"""Drift: counted by hand, nothing for a table, and measured on both kinds of scenes by the command."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.datasets import motions
from hueglass.evaluation import drift as drift_module
from hueglass.evaluation.drift import FROZEN, OURS, UNTOUCHED, colours_at, drift_of
from hueglass.infer.media.images import read_image, write_image


def test_colours_are_taken_where_the_points_are() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:] = 255
    found = colours_at(image, np.array([[0.1, 0.5], [0.9, 0.5], [np.nan, np.nan], [0.5, 0.5]]))
    np.testing.assert_allclose(found[0], 0, atol=1e-3)
    np.testing.assert_allclose(found[1], (100, 0, 0), atol=0.1)
    assert np.isnan(found[2]).all()
    assert 30 < found[3, 0] < 90  # on the edge, over which colours are taken
    assert np.isnan(colours_at(image, np.full((3, 2), np.nan))).all()


def test_drift_counted_by_hand() -> None:
    """One point that stays, one whose lightness goes from 50 to 54 and back to 52, one that is seen once."""
    nobody = np.full(3, np.nan)
    colours = np.array(
        [
            [(50, 0, 0), (50, 0, 0), nobody],
            [(50, 0, 0), (54, 0, 0), (20, 9, 9)],
            [(50, 0, 0), (52, 0, 0), nobody],
        ]
    )
    drift, p95, back = drift_of(colours)
    steps = np.abs(np.array([50, 54, 52]) - 52) / (1 + 0.015 * 2**2 / np.sqrt(20 + 2**2))  # CIEDE2000's S_L, about 50
    assert drift == pytest.approx(steps.sum() / 7, rel=0.03)
    assert p95 == pytest.approx(2, rel=0.05)
    assert back == pytest.approx((0 + 2) / 2, rel=0.03)


def test_the_command_measures_scenes_of_both_kinds(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (motions, drift_module):
        monkeypatch.setattr(module, "FRAMES", 12)
    for name, value in (("MEASURED", (0, 4, 8, 11)), ("MOMENTS", (0, 3, 6))):
        monkeypatch.setattr(drift_module, name, value)
    monkeypatch.setattr(motions, "WIDTH", 160)
    monkeypatch.setattr(motions, "HEIGHT", 120)
    monkeypatch.chdir(tmp_path)
    street = picture_of_street(3, 1.0, 320, 240)
    write_image(Path("street.png"), street)
    turned = cv2.resize(np.hstack([street, street[:, ::-1]]), (256, 128))
    cv2.imwrite("street.hdr", (turned.astype(np.float32) / 255) ** 2.2)
    command = ("evaluate", "drift", "street.png", "street.hdr", "--look", "sunset")
    outcome = run(*command, "--no-auto-regions", "--json", "d.json", "--strips", "strips")
    assert outcome.status == 0, outcome.err
    found = json.loads(Path("d.json").read_text())
    assert [(f["scene"], f["method"]) for f in found[:3]] == [("street.png", m) for m in (OURS, FROZEN, UNTOUCHED)]
    by_method = {m: np.mean([f["drift"] for f in found if f["method"] == m]) for m in (OURS, FROZEN, UNTOUCHED)}
    assert by_method[UNTOUCHED] < by_method[FROZEN] < by_method[OURS] < 20
    assert all(f["p95"] >= f["drift"] for f in found)
    assert read_image(Path("strips/00_street_sunset.png")).shape[1] == 3 * 192
    assert "frozen table" in outcome.out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("nowhere.png",), 2, "nowhere.png: no such file"),
        (("text.hdr",), 1, "text.hdr: is no Radiance HDR picture"),
        (("a.png", "--look", "nobody"), 2, "no look named 'nobody'"),
        (("a.png", "--json", "a.txt"), 2, "a.txt"),
    ],
)
def test_what_cannot_be_measured_is_named(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.hdr").write_text("hello")
    write_image(Path("a.png"), np.zeros((32, 32, 3), np.uint8))
    outcome = run("evaluate", "drift", *words)
    assert (outcome.status, message in outcome.err) == (status, True), outcome.err
