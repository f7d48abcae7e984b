"""Clips offline: key frames, look-ahead and interpolation, each against the slow and obvious way."""

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from hueglass.infer.errors import UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import no_regions
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.clip import Key, in_background, key_frames, smoothed, stylize_clip
from hueglass.infer.scene.smoother import FAR, Smoother
from hueglass.infer.scene.stylizer import Step, Stylizer

SHAPE = (8, 16, 16, 12)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return ModelBundle()


def stylizer(bundle: ModelBundle, strength: float = 1.0, seconds: float = 0.35, regions: bool = False) -> Stylizer:
    look = find_look(embedded_looks()[0], bundle.manifest)
    found = bundle.segmenter if regions else None
    return Stylizer(bundle, look, Strength(strength), Smoother(seconds), found, RegionSmoother(seconds))


def scene(seed: int) -> np.ndarray:
    """(96, 128, 3): blotches of colour; other seeds are other shots."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))


def film(count: int, seed: int = 0, start: int = 0, rate: float = 30.0) -> list[Frame[np.ndarray]]:
    """A shot that brightens from frame to frame."""
    image = scene(seed).astype(np.float32)
    made = ((image * (0.5 + 0.5 * i / count)).astype(np.uint8) for i in range(count))
    return [Frame(picture, (start + i) / rate, start + i, 1 / rate) for i, picture in enumerate(made)]


def cut_film() -> list[Frame[np.ndarray]]:
    return [*film(11, seed=1), *film(9, seed=2, start=11)]


@pytest.mark.parametrize("regions", [False, True])
def test_with_every_frame_a_key_and_no_look_ahead_it_is_the_stylizer(bundle: ModelBundle, regions: bool) -> None:
    frames, live = cut_film(), stylizer(bundle, 0.7, regions=regions)
    wanted = [live(frame) for frame in frames]
    found = list(stylize_clip(stylizer(bundle, 0.7, regions=regions), frames, ahead=0, rate=1000))
    assert [before for before, _ in found] == frames
    for (_, ours), theirs in zip(found, wanted, strict=True):
        assert (ours.time, ours.index, ours.duration) == (theirs.time, theirs.index, theirs.duration)
        np.testing.assert_array_equal(ours.image, theirs.image)


@pytest.mark.parametrize(
    ("rate", "keys"), [(15, [0, 2, 4, 6, 8, 10, 11, 13, 15, 17, 19]), (7.5, [0, 4, 8, 11, 15, 19])]
)
def test_keys_are_as_many_as_wanted_and_the_first_of_every_shot(
    bundle: ModelBundle, rate: float, keys: list[int]
) -> None:
    found = list(key_frames(stylizer(bundle), cut_film(), rate))
    assert [key.frames[0].index for key in found] == keys
    assert [frame.index for key in found for frame in key.frames] == list(range(20))
    assert [key.frames[0].index for key in found if key.fresh] == [0, 11]


def test_a_clock_of_whole_milliseconds_does_not_shift_keys(bundle: ModelBundle) -> None:
    frames = [replace(frame, time=round(frame.time, 3)) for frame in film(12)]
    assert [key.frames[0].index for key in key_frames(stylizer(bundle), frames, 15)] == [0, 2, 4, 6, 8, 10]


def test_frames_between_keys_take_the_grid_between(bundle: ModelBundle) -> None:
    """Coefficients that are linear in time are met exactly, with and without the strength."""

    def linear(strength: float) -> Stylizer:
        made, base = stylizer(bundle, strength, 0.0), identity_grid(SHAPE)
        ramp, really = iter(range(100)), made.step

        def step(*arguments: object, **more: object) -> Step | None:
            found = really(*arguments, **more)  # type: ignore[arg-type]
            return None if found is None else replace(found, coefficients=base * (1 + next(ramp) / 100))

        made.step = step  # type: ignore[method-assign]
        return made

    frames = [replace(frame, image=scene(0)) for frame in film(9)]
    for strength in (1.0, 0.5):
        grids: list[np.ndarray] = []
        ours = linear(strength)
        ours.render = lambda frame, grid, kept=grids: (kept.append(grid), frame)[1]  # type: ignore[assignment]
        list(stylize_clip(ours, frames, ahead=0, rate=15))
        for i, grid in enumerate(grids):
            wanted = identity_grid(SHAPE) * (1 + strength * i / 200)
            np.testing.assert_allclose(grid, wanted, atol=1e-6)


def test_no_frame_after_a_cut_carries_the_old_grid(bundle: ModelBundle) -> None:
    """The second shot is to the last bit what it is without the first, and the first what it is without the second."""
    frames = cut_film()
    whole = [out.image for _, out in stylize_clip(stylizer(bundle), frames)]
    for part in (slice(0, 11), slice(11, 20)):
        alone = [out.image for _, out in stylize_clip(stylizer(bundle), frames[part])]
        np.testing.assert_array_equal(whole[part], alone)


def keys(grids: list[np.ndarray], fresh: tuple[int, ...] = (0,)) -> list[Key]:
    image, nothing = np.zeros((8, 8, 3), np.uint8), no_regions(4)
    return [Key(Step(image, i in fresh, nothing, g), g, [Frame(image, i / 10, i)]) for i, g in enumerate(grids)]


@pytest.mark.parametrize("ahead", [0.0, 0.1, 0.25, 1.0])
@pytest.mark.parametrize("fresh", [(0,), (0, 7)])
def test_look_ahead_is_the_mean_that_it_says(ahead: float, fresh: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    grids = [rng.normal(0, 0.1, (2, 3, 3, 12)).astype(np.float32) for _ in range(12)]
    found = [key.grid for key in smoothed(keys(grids, fresh), Smoother(0.5), ahead)]
    for i, grid in enumerate(found):
        start, stop = max(s for s in fresh if s <= i), min([s for s in fresh if s > i], default=12)
        causal = Smoother(0.5)
        for k in range(start, i + 1):
            causal.update(grids[k], k / 10)
        counts = {k: np.exp((i - k) / 10 / 0.5) for k in range(i + 1, stop) if (k - i) / 10 <= ahead + 1e-9}
        for k in counts:
            counts[k] /= 1 + (np.abs(grids[k] - grids[i]).mean() / FAR) ** 2
        assert causal.average is not None
        total = causal.average / causal.weight + sum((c * grids[k] for k, c in counts.items()), np.zeros(()))
        np.testing.assert_allclose(grid, total / (1 / causal.weight + sum(counts.values())), atol=1e-6)


def test_look_ahead_lessens_noise_and_lag_and_shows_nothing_early() -> None:
    rng = np.random.default_rng(1)
    still = [rng.normal(0, 0.01, (8, 8, 8, 12)).astype(np.float32) for _ in range(60)]
    step = [np.full((2, 2, 2, 12), 0.2 * (i >= 20), np.float32) for i in range(40)]
    noise, late, early = {}, {}, {}
    for ahead in (0.0, 0.5):
        calm = [key.grid for key in smoothed(keys(still), Smoother(1.0), ahead)][20:40]
        noise[ahead] = float(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(calm)]))
        course = [float(key.grid.mean()) / 0.2 for key in smoothed(keys(step), Smoother(1.0), ahead)]
        late[ahead], early[ahead] = sum(1 - value for value in course[20:]), max(course[:20])
    assert noise[0.5] < 0.7 * noise[0.0]
    assert late[0.5] < 0.7 * late[0.0]
    assert early[0.0] == 0
    assert early[0.5] < 0.05


@pytest.mark.parametrize("ahead", [-0.1, 2.5, float("nan")])
def test_a_look_ahead_out_of_range_is_refused(bundle: ModelBundle, ahead: float) -> None:
    with pytest.raises(UsageError, match=r"s of look-ahead, expected 0 to 2"):
        next(stylize_clip(stylizer(bundle), film(2), ahead))


def test_background_work_keeps_order_and_stays_bounded() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    taken = []
    for i in in_background(numbers(), 3):
        taken.append(i)
        time.sleep(0.001)
        assert len(made) <= i + 1 + 4
    assert taken == list(range(50))


def test_background_work_passes_errors_on_and_ends_when_nobody_takes() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = in_background(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)

    before = threading.active_count()
    endless = in_background(iter(int, 1))
    assert next(endless) == 0
    endless.close()
    assert threading.active_count() == before
