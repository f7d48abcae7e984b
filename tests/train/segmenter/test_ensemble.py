"""Several teachers as one: how far each is believed, and what people named above all of them."""

import numpy as np
import pytest

from hueglass.datasets.masks import UNKNOWN
from hueglass.infer.errors import UsageError
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.ensemble import Belief, Ensemble, EnsembleConfig, combined, fitted_weights, with_labels

SKY, GROUND, PERSON, OTHER = (REGION_NAMES.index(name) for name in ("sky", "ground", "person", "other"))


def maps_of(labels: np.ndarray, sure: float = 1.0) -> np.ndarray:
    """What a teacher says who names them, (8, *shape), with the rest of its certainty spread over all."""
    one_hot = np.moveaxis(np.eye(8, dtype=np.float32)[labels], -1, 0)
    return sure * one_hot + (1 - sure) / 8


def voting(weights: np.ndarray) -> Belief:
    return Belief(weights, np.zeros_like(weights))


def test_who_has_a_power_confirms_and_takes_nothing_away() -> None:
    """A pixel half person, half ground, by the word of another: sure, it is more; doubting or silent, no less."""
    said = np.zeros((2, 8, 3), np.float32)
    said[0, [PERSON, GROUND]] = 0.5
    said[1, PERSON] = (1, 0.25, 0)
    belief = EnsembleConfig(weights={"a": dict.fromkeys(REGION_NAMES, 1)}, powers={"b": {"person": 0.5}})
    found = combined(said, belief.belief(["a", "b"]))
    np.testing.assert_allclose(found[PERSON], [0.5**0.5, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(found[GROUND], 1 - found[PERSON], atol=1e-6)


def test_weights_are_read_by_name() -> None:
    weights = {"a": {"sky": 1, "person": 0.5}, "b": {"other": 2}}
    belief = EnsembleConfig(weights=weights, powers={"c": {"person": 0.4}}).belief(["b", "a", "c"])
    table = belief.weights[:2]
    assert belief.powers[2, PERSON] == belief.powers.sum() == np.float32(0.4)
    assert table.shape == (2, 8)
    assert (table[0, OTHER], table[1, SKY], table[1, PERSON]) == (2, 1, 0.5)
    assert table.sum() == 3.5


def test_weights_of_others_are_refused() -> None:
    with pytest.raises(UsageError, match=r"weights: of the teachers a, expected a, b"):
        EnsembleConfig(weights={"a": {}}).belief(["a", "b"])
    with pytest.raises(UsageError, match=r"weights: a has moon, expected one of sky, "):
        EnsembleConfig(weights={"a": {"moon": 1}}).belief(["a"])
    with pytest.raises(UsageError, match="powers: of a region sum to 1 or more, expected less"):
        EnsembleConfig(weights={"a": {}}, powers={"a": {"sky": 1}}).belief(["a"])


def test_the_sum_by_hand() -> None:
    said = np.zeros((2, 8, 1), np.float32)
    said[0, SKY], said[0, GROUND] = 0.6, 0.4
    said[1, SKY], said[1, GROUND] = 0.2, 0.8
    weights = np.zeros((2, 8), np.float32)
    weights[:, SKY], weights[:, GROUND] = (1, 2), (0, 1)
    found = combined(said, voting(weights))
    assert (found[SKY, 0], found[GROUND, 0]) == (pytest.approx(1 / 1.8), pytest.approx(0.8 / 1.8))


def test_where_nobody_says_anything_it_is_other() -> None:
    found = combined(np.zeros((2, 8, 3, 3), np.float32), voting(np.ones((2, 8), np.float32)))
    assert (found[OTHER] == 1).all()
    assert found.sum() == 9


def test_who_is_right_is_believed() -> None:
    """One knows the sky and guesses people, the other the reverse; a third speaks of people alone."""
    rng = np.random.default_rng(0)
    labels = rng.choice([SKY, GROUND, PERSON], 4000).astype(np.uint8)
    guess = rng.choice([SKY, GROUND, PERSON], 4000)
    knows_sky = np.where((labels == SKY) | (guess == SKY), np.where(labels == SKY, SKY, GROUND), guess)
    said = np.stack([maps_of(knows_sky, 0.9), maps_of(guess, 0.9), np.zeros((8, 4000), np.float32)])
    said[2, PERSON] = labels == PERSON
    weights = fitted_weights(said, labels)
    assert weights.min() >= 0
    assert weights[0, SKY] > 3 * weights[1, SKY]
    assert weights[2, PERSON] > 3 * max(weights[0, PERSON], weights[1, PERSON])
    assert (weights[2, [SKY, GROUND, OTHER]] == 0).all()  # of which it does not speak
    right = (combined(said, voting(weights)).argmax(0) == labels).mean()
    assert right > max((maps.argmax(0) == labels).mean() for maps in said[:2])


def test_unknown_pixels_do_not_count() -> None:
    labels = np.array([SKY, GROUND] * 50, np.uint8)
    said = np.stack([maps_of(labels), maps_of(labels[::-1].copy())])
    unknown = np.full(40, UNKNOWN, np.uint8)
    more = np.concatenate([said, np.random.default_rng(0).random((2, 8, 40), np.float32)], 2)
    both = fitted_weights(said, labels), fitted_weights(more, np.concatenate([labels, unknown]))
    np.testing.assert_array_equal(*both)


def test_what_people_named_stands() -> None:
    labels = np.full((8, 8), UNKNOWN, np.uint8)
    labels[:4] = PERSON
    maps = maps_of(np.full((4, 4), SKY))
    found = with_labels(maps, labels)
    assert (found[PERSON, :2] == 1).all()
    assert (found[SKY, 2:] == 1).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_an_ensemble_says_what_it_is() -> None:
    class Known:
        def __init__(self, name: str, region: int) -> None:
            self.name, self.digest, self.region = name, name * 2, region

        def __call__(self, image: np.ndarray) -> np.ndarray:
            return maps_of(np.full((4, 4), self.region))

    weights = np.ones((2, 8), np.float32)
    weights[0] = 3
    ensemble = Ensemble([Known("a", SKY), Known("b", GROUND)], voting(weights))
    found = ensemble(np.zeros((9, 9, 3), np.uint8))
    assert (found[SKY] == 0.75).all()
    said = {"teachers": {"a": "aa", "b": "bb"}, "weights": [[3.0] * 8, [1.0] * 8], "powers": [[0.0] * 8] * 2}
    assert ensemble.identity() == said
