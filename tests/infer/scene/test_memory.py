"""What a scene's memory keeps, takes in and tells, in numbers that can be worked out by hand."""

import numpy as np
import pytest

from hueglass.infer.regions.regions import no_regions
from hueglass.infer.scene.memory import GROWTH, PICTURES, WEIGHT, Picture, SceneMemory

SLOTS, TONES, S = 2, 1, 45


def sums(*masses: float, value: float = 0.5) -> np.ndarray:
    """Rows of two slots, a tone and the whole, of these masses, with everything else `value` times the mass."""
    mass = np.array([*masses, 1.0])[:, None]
    return np.concatenate([mass, np.full((len(mass), S - 1), value) * mass], 1)


def picture(seed: int = 0, gain: float = 1.0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    return Picture(pixels, no_regions(32), np.full(3, gain))


def told(memory: SceneMemory, *names: str) -> np.ndarray:
    rows = memory.recall(names)
    assert rows is not None
    assert rows.dtype == np.float32
    return rows / WEIGHT


def test_of_an_unknown_scene_nothing_is_told() -> None:
    memory = SceneMemory(SLOTS)
    assert memory.recall(("sky",)) is None
    assert memory.known == 0


def test_the_first_frame_is_told_as_it_was_whatever_the_order_of_its_regions() -> None:
    memory = SceneMemory(SLOTS)
    first = sums(0.3, 0.2, 0.5)
    memory.remember(first, picture(), ("sky", "ground"), 1.0)
    np.testing.assert_allclose(told(memory, "sky", "ground"), first, rtol=1e-6)
    np.testing.assert_allclose(told(memory, "ground", "sky"), first[[1, 0, 2, 3]], rtol=1e-6)
    np.testing.assert_array_equal(told(memory, "water")[0], 0)
    np.testing.assert_allclose(told(memory)[2:], first[2:], rtol=1e-6)


def test_what_is_seen_later_moves_what_was_seen_but_slowly() -> None:
    memory = SceneMemory(SLOTS, seconds=100.0)
    memory.remember(sums(0.5, 0.0, 0.5), picture(), ("sky",), 0.0)
    memory.remember(sums(0.5, 0.0, 0.5, value=0.7), picture(), ("sky",), 10.0)
    way = 1 - np.exp(-0.1)
    np.testing.assert_allclose(told(memory, "sky")[0], [0.5, *[0.5 * (0.5 + 0.2 * way)] * (S - 1)], rtol=1e-6)
    assert memory.known == 10.0


def test_a_thing_that_leaves_the_picture_stays_what_it_was() -> None:
    memory = SceneMemory(SLOTS, seconds=10.0)
    memory.remember(sums(0.5, 0.0, 0.5), picture(), ("sky",), 0.0)
    before = told(memory, "sky")[0]
    for time in range(1, 30):
        memory.remember(sums(0.0, 0.0, 1.0, value=0.9), picture(), ("sky",), float(time))
    np.testing.assert_allclose(told(memory, "sky")[0], before, rtol=1e-6)


def test_more_of_a_thing_is_added_and_what_is_new_is_taken_at_once() -> None:
    memory = SceneMemory(SLOTS, seconds=100.0)
    memory.remember(sums(0.2, 0.0, 0.8), picture(), ("sky",), 0.0)
    memory.remember(sums(0.3, 0.4, 0.3, value=0.8), picture(), ("sky", "ground"), 1.0)
    rows = told(memory, "sky", "ground")
    np.testing.assert_allclose(rows[1], sums(0.3, 0.4, 0.3, value=0.8)[1], rtol=1e-6)
    grown = 0.2 + (1 - np.exp(-1 / (GROWTH * 100))) * 0.1
    assert rows[0, 0] == pytest.approx(grown, rel=1e-6)
    assert 0.5 < rows[0, 1] / rows[0, 0] < 0.6


def test_a_cut_begins_another_scene() -> None:
    before = SceneMemory(SLOTS, seconds=100.0)
    before.remember(sums(0.2, 0.0, 0.8), picture(), ("sky",), 0.0)
    memory = before.afresh()
    assert (memory.slots, memory.seconds) == (SLOTS, 100.0)
    assert memory.recall(("sky",)) is None
    assert (memory.pictures, memory.pictured) == ([], {})
    assert memory.light is not before.light
    np.testing.assert_array_equal(memory.gain, 1)
    memory.remember(sums(0.1, 0.0, 0.9, value=0.1), picture(), ("sky",), 5.0)
    np.testing.assert_allclose(told(memory, "sky")[0], sums(0.1, 0, 0.9, value=0.1)[0], rtol=1e-6)
    assert memory.known == 0
    np.testing.assert_allclose(told(before, "sky")[0], sums(0.2, 0, 0.8)[0], rtol=1e-6)


def test_frames_that_are_gathered_are_all_worth_the_same() -> None:
    """As a survey does it: a mean, whatever the order; a region that a frame does not show is none of it there."""
    rows = [sums(*masses, value=value) for masses, value in (((0.4, 0.2, 0.4), 0.5), ((0.2, 0, 0.8), 0.8))]
    memory = SceneMemory(SLOTS, gathered=0)
    for time, (seen, names) in enumerate(zip(rows, (("sky", "ground"), ("sky",)), strict=True)):
        memory.remember(seen, picture(), names, float(time))
    assert memory.gathered == 2
    found = told(memory, "sky", "ground")
    mean = (rows[0] + rows[1]) / 2
    np.testing.assert_allclose(found[0], mean[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], rows[0][1] / 2, rtol=1e-6)
    np.testing.assert_allclose(found[2:], mean[2:], rtol=1e-6)


def test_what_is_complete_takes_in_only_what_is_met_for_the_first_time() -> None:
    memory = SceneMemory(SLOTS, seconds=1.0, complete=True)
    memory.remember(sums(0.4, 0.0, 0.6), picture(), ("sky",), 0.0)
    before = told(memory, "sky")
    for time in range(10):
        memory.remember(sums(0.3, 0.5, 0.2, value=0.9), picture(), ("sky", "ground"), float(time))
    np.testing.assert_allclose(told(memory, "sky")[[0, 2, 3]], before[[0, 2, 3]], rtol=1e-6)
    np.testing.assert_allclose(told(memory, "ground")[0], sums(0.3, 0.5, 0.2, value=0.9)[1], rtol=1e-6)


def test_an_hour_of_a_scene_that_changes_all_the_time_stays_finite_and_bounded() -> None:
    rng = np.random.default_rng(0)
    memory = SceneMemory(SLOTS)
    for second in range(3600):
        masses = rng.dirichlet(np.ones(3)) if second % 7 else np.array([0, 0, 1.0])
        memory.remember(sums(*masses, value=rng.random()), picture(second % 9), ("sky", "ground"), float(second))
    rows = told(memory, "sky", "ground")
    assert np.isfinite(rows).all()
    assert rows.min() >= 0
    assert rows[:, 0].max() <= 1 + 1e-6
    assert (rows[:, 1:] <= rows[:, :1] + 1e-6).all()
    assert len(memory.pictures) <= PICTURES


def test_another_look_is_told_of_the_pictures_that_were_kept() -> None:
    memory = SceneMemory(SLOTS)
    memory.remember(sums(0.5, 0.0, 0.5), picture(1), ("sky",), 0.0)
    memory.remember(sums(0.5, 0.0, 0.5), picture(2), ("sky",), 1.0)  # shows nothing new
    memory.remember(sums(0.1, 0.6, 0.3), picture(3), ("sky", "ground"), 2.0)
    np.testing.assert_array_equal(
        [p.thumbnail[0, 0] for p in memory.pictures], [picture(i).thumbnail[0, 0] for i in (1, 3)]
    )
    other = memory.retold(lambda kept: (sums(0.4, 0.0, 0.6, value=0.3), ("sky",)))
    np.testing.assert_allclose(told(other, "sky"), sums(0.4, 0.0, 0.6, value=0.3), rtol=1e-6)
    np.testing.assert_allclose(told(memory, "sky")[0, 1:] / 0.5, 0.5, rtol=1e-2)  # what it was itself
    assert other.known == memory.known
