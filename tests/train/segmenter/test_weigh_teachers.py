"""How far teachers are believed is fitted to one half of the pictures and measured on the other."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

import yaml

from hueglass.datasets.photos import Photo
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.ensemble import Belief, EnsembleConfig
from hueglass.train.segmenter.weigh_teachers import crossed, fitted, halves, report_photos, said_of, text_of

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))


class Painted:
    """Names pixels by their red, which is their region, unless it is `blind` to that."""

    def __init__(self, name: str, blind: int) -> None:
        self.name, self.digest, self.blind = name, name, blind

    def __call__(self, image: np.ndarray) -> np.ndarray:
        labels = image[:: len(image) // 4, :: image.shape[1] // 4, 0].repeat(32, 0).repeat(32, 1)
        named = np.where(labels == self.blind, GROUND, labels)
        return np.moveaxis(np.eye(8, dtype=np.float32)[named], -1, 0)


def painted(number: int) -> Photo:
    """Sixteen squares, each of a region of its own colour."""
    rng = np.random.default_rng(number)
    labels = rng.choice([SKY, GROUND, PERSON], (4, 4)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    return Photo(f"p{number}", labels[..., None].repeat(3, 2), labels)


TEACHERS = (Painted("no_sky", SKY), Painted("no_people", PERSON))
NAMES = [teacher.name for teacher in TEACHERS]
PHOTOS = [painted(i) for i in range(12)]


def test_the_halves_are_all_and_share_none() -> None:
    one, other = halves(PHOTOS)
    assert sorted(one + other) == list(range(12))
    assert one
    assert other


def test_each_is_believed_of_what_it_sees() -> None:
    weights = fitted(said_of(PHOTOS, TEACHERS), PHOTOS, NAMES).weights
    assert weights[1, SKY] > 0.9
    assert weights[0, PERSON] > 0.9


def test_together_they_are_right_on_pictures_that_they_were_not_fitted_to(capsys: pytest.CaptureFixture[str]) -> None:
    said = said_of(PHOTOS, TEACHERS)
    named = crossed(said, PHOTOS, NAMES).argmax(1)
    truth = np.stack([p.labels[::16, ::16].repeat(32, 0).repeat(32, 1) for p in PHOTOS if p.labels is not None])
    assert (named == truth).mean() == 1
    report_photos(PHOTOS, said, TEACHERS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == ["12", "no_sky", "no_people", "ensemble"] * 2
    assert [float(line.split()[1]) for line in lines if line.startswith("ensemble")] == [1, 1]


def test_what_is_written_is_read() -> None:
    weights = np.random.default_rng(0).random((3, 8)).astype(np.float32)
    weights[0, 3] = 0
    powers = np.zeros((3, 8), np.float32)
    powers[2, PERSON], weights[2] = 0.4, 0
    text = text_of(Belief(weights, powers), [*NAMES, "selfie"])
    found = EnsembleConfig.model_validate(yaml.safe_load(text)).belief([*NAMES, "selfie"])
    np.testing.assert_allclose(found.weights, weights, atol=0.001)
    np.testing.assert_allclose(found.powers, powers, atol=0.001)
