"""Tuning a look: only its codes move, towards the reference, and the look stays one that the student can use."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hueglass.infer.model.look import Look, assign
from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.train.student.network import MOMENTS, Student, StudentConfig, new_networks
from hueglass.train.student.tune import DIAGONAL, Codes, TuneConfig, TuningFrame, distance, example, look_codes, tune

TINY = StudentConfig(thumbnail=64, tones=3, cells=4, code=32, width=16, hidden=24, pair=16, embedding=8)
SIZE = TINY.thumbnail // 2


def picture(seed: int, low: int, high: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (4, 4, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)


def halves(*names: str) -> Regions:
    """The first region above, the second below."""
    maps = np.zeros((2, SIZE, SIZE), np.float32)
    maps[0, : SIZE // 2], maps[1, SIZE // 2 :] = 1, 1
    return Regions(maps[: len(names)], names)


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    return new_networks(TINY)[0].eval()


def look_of(names: tuple[str, ...] = ("sky", "ground")) -> Look:
    """Codes in the encoder's range: valid moments, then anything."""
    rng = np.random.default_rng(5)
    codes = rng.normal(0, 0.3, (len(names) + TINY.tones, TINY.code)).astype(np.float32)
    codes[:, :3] = (0.4, 0.0, 0.0)
    codes[:, 3:MOMENTS] = np.array([0.2, 0, 0.1, 0, 0, 0.1])
    return Look("l", "m", codes[len(names) :], codes[: len(names)], names)


def tuning_frames(count: int) -> list[TuningFrame]:
    return [TuningFrame(picture(n, 40, 160), halves("sky", "ground")) for n in range(count)]


REFERENCE = TuningFrame(picture(99, 120, 250), halves("sky", "ground"))


def ignore(done: float, loss: float) -> None:
    pass


def test_a_tuned_look_is_nearer_to_its_reference_on_frames_it_has_not_seen(student: Student) -> None:
    look = look_of()
    config = TuneConfig(steps=40, minutes=5, batch=2, render_size=32)
    tuned = tune(student, look, REFERENCE, tuning_frames(6), config, ignore)
    unseen = [TuningFrame(picture(n, 40, 160), halves("sky", "ground")) for n in range(50, 56)]
    for shown in (True, False):
        before, after = (distance(student, x, REFERENCE, unseen, shown) for x in (look, tuned))
        assert after < 0.8 * before


def test_tuning_moves_the_codes_alone_and_can_be_repeated(student: Student) -> None:
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    look, config = look_of(), TuneConfig(steps=4, minutes=5, batch=2, render_size=32)
    done: list[float] = []
    first, second = (
        tune(student, look, REFERENCE, tuning_frames(3), config, lambda d, _: done.append(d)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.tones, second.tones)
    assert (first.name, first.model, first.names) == (look.name, look.model, look.names)
    assert float(np.abs(first.codes - look.codes).max()) > 0
    assert float(np.abs(first.tones - look.tones).max()) > 0
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    assert done == pytest.approx(2 * [0, 0.25, 0.5, 0.75], abs=1e-3)


def test_time_ends_the_tuning(student: Student) -> None:
    seen: list[float] = []
    tune(student, look_of(), REFERENCE, tuning_frames(2), TuneConfig(minutes=1e-9), lambda done, _: seen.append(done))
    assert seen == []


def test_before_the_first_step_the_codes_are_the_looks() -> None:
    look = look_of()
    again = Codes(look).tuned()
    np.testing.assert_allclose(again.codes, look.codes, atol=1e-6)
    np.testing.assert_allclose(again.tones, look.tones, atol=1e-6)


def test_the_diagonal_of_the_covariance_stays_positive() -> None:
    codes = Codes(look_of())
    torch.nn.init.constant_(codes.offset, -1000.0)
    assert float(codes().detach()[:, list(DIAGONAL)].min()) == pytest.approx(0.01)


@pytest.mark.parametrize("names", [(), ("sky",), ("ground", "sky")])
def test_codes_are_given_to_the_student_as_at_run_time(names: tuple[str, ...]) -> None:
    look = look_of()
    codes = look_codes(torch.from_numpy(np.concatenate([look.codes, look.tones])), look, names, TINY.slots)
    regions = Regions(halves("a", "b").maps[: len(names)], names)
    np.testing.assert_array_equal(codes[0].numpy(), assign(look, regions, TINY.slots).codes)


def test_examples_show_what_both_sides_have_and_the_loss_knows_the_rest() -> None:
    frame = TuningFrame(picture(1, 0, 250), halves("sky", "water"))
    shown, hidden = (example(frame, REFERENCE, look_of(), TINY.slots, shown) for shown in (True, False))
    assert shown.names == ("sky",)
    assert hidden.names == ()
    above = halves("sky", "water").maps[0]
    np.testing.assert_array_equal(shown.maps[0, 0].numpy(), above)
    assert float(shown.maps[0, 1:].max()) == float(hidden.maps.max()) == 0
    for e in (shown, hidden):
        np.testing.assert_array_equal(e.truth[0].numpy(), [above, 1 - above])
        np.testing.assert_array_equal(e.style_truth[0].numpy(), [above, np.ones_like(above)])


def test_without_regions_the_whole_reference_is_the_aim(student: Student) -> None:
    blank = [replace(s, regions=no_regions(SIZE)) for s in (*tuning_frames(3), REFERENCE)]
    look = replace(look_of(()), codes=np.zeros((0, TINY.code), np.float32), names=())
    tuned = tune(student, look, blank[-1], blank[:3], TuneConfig(steps=30, batch=2, render_size=32), ignore)
    before, after = (distance(student, x, blank[-1], blank[:3], shown=False) for x in (look, tuned))
    assert after < 0.8 * before
