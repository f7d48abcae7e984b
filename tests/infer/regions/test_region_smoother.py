"""The region smoother: steady maps whatever the frame rate, and no region that pops in and out."""

import numpy as np
import pytest

from hueglass.infer.errors import UsageError
from hueglass.infer.regions.region_smoother import ENTERS, LEAVES, RegionSmoother, faded_maps
from hueglass.infer.regions.regions import Regions, no_regions
from hueglass.infer.regions.segmenter import LEAST_NAMED

SIZE = 32
RNG = np.random.default_rng(0)


def random_maps(n: int, power: float = 3, seed: int = 0) -> np.ndarray:
    """(n, SIZE, SIZE) that sum to 1; a higher power makes them surer."""
    maps = np.random.default_rng(seed).random((n, SIZE, SIZE)).astype(np.float32) ** power
    return maps / maps.sum(0)


def parts(*shares: float) -> Regions:
    """Regions a, b, ... of these shares in every pixel."""
    maps = np.ones((len(shares), SIZE, SIZE), np.float32) * np.array(shares, np.float32)[:, None, None]
    return Regions(maps, tuple("abcdefgh"[: len(shares)]))


def corner(share: float) -> Regions:
    """A sky with a surely different b in its top rows, that covers `share` of the frame."""
    b = np.zeros((SIZE, SIZE), np.float32)
    b.flat[: round(share * SIZE * SIZE)] = 1
    return Regions(np.stack([1 - b, b]), ("sky", "b"))


def slow_faded(average: np.ndarray, presence: np.ndarray) -> np.ndarray:
    """What each region keeps, and its part of what every other one loses, pixel by pixel."""
    kept = average.astype(float) * presence[:, None, None]
    out = kept.copy()
    n, height, width = average.shape
    for y in range(height):
        for x in range(width):
            for loser in range(n):
                freed = average[loser, y, x] - kept[loser, y, x]
                others = [i for i in range(n) if i != loser]
                mass = max(sum(kept[i, y, x] for i in others), LEAST_NAMED)
                for i in others:
                    out[i, y, x] += freed * kept[i, y, x] / mass
    return out[presence > 0]


@pytest.mark.parametrize(
    "presence", [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0.3, 1, 1, 1, 1], [0.3, 0.999, 0, 1, 0.01], [0.5] * 5, [0] * 5]
)
@pytest.mark.parametrize("power", [1, 20])
def test_what_is_freed_goes_where_the_slow_loop_puts_it(presence: list[float], power: float) -> None:
    maps = random_maps(5, power)
    p = np.array(presence, np.float32)
    before = maps.copy()
    out = faded_maps(maps, p)
    np.testing.assert_allclose(out, slow_faded(maps, p), atol=2e-6)
    np.testing.assert_array_equal(maps, before)


def test_a_constant_is_a_fixed_point() -> None:
    smoother = RegionSmoother()
    regions = Regions(random_maps(5), tuple("abcde"))
    for i in range(200):
        out = smoother.update(regions, i / 25)
        np.testing.assert_allclose(out.maps, regions.maps, atol=1e-5)
    assert out.names == regions.names
    assert out.maps.dtype == np.float32


@pytest.mark.parametrize("rate", [10, 25, 60])
@pytest.mark.parametrize("seconds", [0.1, 0.25, 2])
def test_step_response_does_not_depend_on_the_frame_rate(rate: int, seconds: float) -> None:
    smoother = RegionSmoother(seconds)
    smoother.update(parts(0.7, 0.3), 3.0)
    times = [*np.arange(1, int(seconds * rate) + 1) / rate, seconds]  # the last frame just then
    for time in times:
        out = smoother.update(parts(0.3, 0.7), 3 + time)
    np.testing.assert_allclose(out.maps[0], 0.3 + 0.4 * np.exp(-1), atol=1e-5)
    np.testing.assert_allclose(out.maps[1], 0.7 - 0.4 * np.exp(-1), atol=1e-5)


def test_nothing_changes_within_no_time() -> None:
    smoother = RegionSmoother()
    smoother.update(parts(0.7, 0.3), 1.0)
    np.testing.assert_allclose(smoother.update(parts(0.2, 0.8), 1.0).maps, parts(0.7, 0.3).maps, atol=1e-6)


def test_zero_switches_it_off() -> None:
    smoother = RegionSmoother(0)
    for i, share in enumerate((0.7, 0.2, 0.9)):
        np.testing.assert_allclose(
            smoother.update(parts(share, 1 - share), i / 25).maps, parts(share, 1 - share).maps, atol=1e-6
        )
    assert smoother.update(parts(1, 0), 1.0).names == ("a",)


def test_the_first_frame_is_itself_and_has_only_what_is_there() -> None:
    regions = parts(0.6, 0.386, 0.014)
    out = RegionSmoother().update(regions, 0.0)
    assert out.names == ("a", "b")
    np.testing.assert_allclose(out.maps, regions.maps[:2] / regions.maps[:2].sum(0), atol=1e-6)


@pytest.mark.parametrize("there", [True, False])
def test_a_share_that_swings_about_one_per_cent_changes_nothing(there: bool) -> None:
    """With slow and fast swings between 0.8 and 1.2 %, of a region that was there before or was not."""
    smoother = RegionSmoother()
    if there:
        for i in range(100):
            smoother.update(corner(0.05), i / 25)
    presence = []
    for i in range(500):
        share = 0.01 + 0.002 * np.sin(i / 25 * 2 * np.pi * (0.3 if i < 250 else 7))
        out = smoother.update(corner(share), 4 + i / 25)
        presence.append(float(smoother.presence[1]))
    assert set(presence) == {float(there)}
    assert out.names == (("sky", "b") if there else ("sky",))


def test_a_region_enters_above_and_leaves_below() -> None:
    smoother = RegionSmoother(0)
    shares = [0.0, 0.014, 0.016, 0.006, 0.004, 0.006, 0.014, 0.016]
    names = [smoother.update(corner(share), i / 25).names for i, share in enumerate(shares)]
    assert [("b" in n) for n in names] == [False, False, True, True, False, False, False, True]
    assert (LEAVES, ENTERS) == (0.005, 0.015)


@pytest.mark.parametrize("rate", [10, 25, 60])
def test_presence_fades_with_the_time_constant_and_arrives(rate: int) -> None:
    smoother = RegionSmoother(0.25)
    smoother.update(parts(1, 0), 0.0)
    smoother.present[1] = True
    average = parts(0.99, 0.01)
    times = [*np.arange(1, int(0.25 * rate) + 1) / rate, 0.25]
    smoother.average = average.maps.copy()
    for time in times:
        smoother.update(average, time)
    np.testing.assert_allclose(smoother.presence, [1, 1 - np.exp(-1)], atol=1e-5)
    for i in range(1, 3 * rate):
        smoother.update(average, 0.25 + i / rate)
    np.testing.assert_array_equal(smoother.presence, [1, 1])


def test_coming_and_going_is_gradual() -> None:
    """A tenth of the frame becomes a region and is none again: no pixel moves faster than the time constant lets it."""
    smoother = RegionSmoother(0.25)
    full, last, steps = {}, None, []
    for i in range(200):
        out = smoother.update(corner(0.1 if 50 <= i < 120 else 0), i / 25)
        full = dict(zip(out.names, out.maps, strict=True))
        now = np.stack([full.get(name, np.zeros((SIZE, SIZE), np.float32)) for name in ("sky", "b")])
        steps.append(0 if last is None else float(np.abs(now - last).max()))
        last = now
    assert max(steps) < 1.5 * (1 - np.exp(-0.04 / 0.25))
    assert max(steps[:50]) == 0
    assert out.names == ("sky",)
    np.testing.assert_allclose(out.maps, 1, atol=1e-5)


def test_a_lonely_region_that_fades_leaves_its_pixels_uncovered() -> None:
    smoother = RegionSmoother(0.25)
    smoother.update(corner(0.05), 0.0)
    for i in range(1, 100):
        out = smoother.update(corner(0.004), i / 25)
    assert out.names == ("sky",)
    b = corner(0.004).maps[1] == 1
    assert out.maps[0][b].max() < 1e-5
    np.testing.assert_allclose(out.maps[0][~b], 1, atol=1e-5)


def test_maps_stay_maps() -> None:
    """Whatever comes: within [0, 1], summing to at most 1, and to no more than what came."""
    smoother = RegionSmoother(0.1)
    rng = np.random.default_rng(5)
    seen = set()
    for i in range(300):
        weights = rng.random(8) ** 6
        maps = random_maps(8, 6, seed=i) * weights[:, None, None].astype(np.float32)
        maps /= np.maximum(maps.sum(0), 0.02)
        out = smoother.update(Regions(maps, tuple("abcdefgh")), i / 25, fresh=bool(i % 50 == 49))
        assert out.maps.min() >= 0
        assert out.maps.max() <= 1 + 1e-5
        assert smoother.average is not None
        assert (out.maps.sum(0) - smoother.average.sum(0)).max() <= 1e-5
        assert smoother.average.sum(0).max() <= 1 + 1e-5
        seen.add(len(out.names))
    assert len(seen) > 2


def test_noise_comes_out_as_theory_says() -> None:
    """White noise through an average with weight w keeps sqrt(w / (2 - w)) of its deviation."""
    smoother = RegionSmoother(0.25)
    rng = np.random.default_rng(0)
    noise_in, noise_out = [], []
    for i in range(300):
        a = np.clip(rng.normal(0.5, 0.1, (SIZE, SIZE)), 0, 1).astype(np.float32)
        out = smoother.update(Regions(np.stack([a, 1 - a]), ("a", "b")), i / 25)
        noise_in.append(a)
        noise_out.append(out.maps[0])
    w = 1 - np.exp(-0.04 / 0.25)
    ratio = np.std(noise_out[50:]) / np.std(noise_in[50:])
    assert ratio == pytest.approx(np.sqrt(w / (2 - w)), rel=0.02)
    assert ratio < 0.29


@pytest.mark.parametrize("how", ["cut", "time", "names", "size"])
def test_starts_afresh(how: str) -> None:
    smoother = RegionSmoother(10)
    for i in range(5):
        smoother.update(corner(0.3), 5 + i / 25)
    new = corner(0.012)  # would be in, had it been there before
    if how == "names":
        new = Regions(new.maps, ("sky", "c"))
    if how == "size":
        new = Regions(np.kron(new.maps, np.ones((1, 2, 2), np.float32)), new.names)
    out = smoother.update(new, 4.9 if how == "time" else 5.2, fresh=how == "cut")
    assert out.names == ("sky",)
    np.testing.assert_allclose(out.maps, new.maps[:1], atol=1e-6)
    np.testing.assert_array_equal(smoother.presence, [1, 0])


def test_frames_without_regions() -> None:
    smoother = RegionSmoother()
    for i, regions in enumerate([no_regions(SIZE), no_regions(SIZE), parts(0.5, 0.5), no_regions(SIZE), parts(0, 0)]):
        out = smoother.update(regions, i / 25)
        assert out.maps.shape == (2 * (i == 2), SIZE, SIZE)
        assert len(out.names) == len(out.maps)


def test_inputs_and_earlier_outputs_are_left_alone() -> None:
    smoother = RegionSmoother(0.25)
    given = [Regions(random_maps(3, seed=i), tuple("abc")) for i in range(3)]
    before = [r.maps.copy() for r in given]
    outs = [smoother.update(r, i / 25) for i, r in enumerate(given)]
    kept = [o.maps.copy() for o in outs]
    smoother.update(given[0], 0.2)
    for a, b in zip(before + kept, [r.maps for r in given + outs], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_layout_in_memory_does_not_matter() -> None:
    plain, turned = RegionSmoother(0.25), RegionSmoother(0.25)
    for i in range(3):
        maps = random_maps(3, seed=i)
        other = np.asfortranarray(maps)
        out = turned.update(Regions(other, tuple("abc")), i / 25)
        np.testing.assert_array_equal(out.maps, plain.update(Regions(maps, tuple("abc")), i / 25).maps)


def test_what_has_gone_leaves_no_denormals() -> None:
    """They would cost a hundred times as much as other numbers, in every frame from then on."""
    smoother = RegionSmoother(0.25)
    smoother.update(parts(0.5, 0.5), 0.0)
    for i in range(1, 700):
        smoother.update(parts(1, 0), i / 25)
    assert smoother.average is not None
    assert smoother.average[1].max() == 0


@pytest.mark.parametrize("seconds", [-0.1, 60, float("nan"), float("inf")])
def test_bad_values(seconds: float) -> None:
    with pytest.raises(UsageError, match=f"smoothing over {seconds} s, expected 0 to 60"):
        RegionSmoother(seconds)
