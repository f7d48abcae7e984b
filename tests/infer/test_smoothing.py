"""How what moves is steadied: what goes with a memory and what without, and what is refused."""

import pytest

from hueglass.infer.errors import UsageError
from hueglass.infer.smoothing import MEMORY, SECONDS, SECONDS_ALONE, Steadying


def test_without_a_memory_the_look_settles_more_slowly() -> None:
    assert Steadying() == Steadying(MEMORY, None)
    assert Steadying().grids == SECONDS < SECONDS_ALONE == Steadying(None).grids
    assert Steadying().regions == Steadying(None).regions == SECONDS_ALONE


@pytest.mark.parametrize("memory", [None, MEMORY])
@pytest.mark.parametrize(("smoothing", "regions"), [(0.0, 0.0), (0.02, 0.07), (0.1, 0.35), (0.2, 0.35), (2.0, 2.0)])
def test_regions_are_smoothed_no_less_than_coefficients(memory: float | None, smoothing: float, regions: float) -> None:
    steady = Steadying(memory, smoothing)
    assert steady.grids == smoothing
    assert steady.regions == pytest.approx(regions)


@pytest.mark.parametrize("smoothing", [-0.1, 60.0, float("nan")])
def test_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(UsageError, match=f"smoothing over {smoothing} s, expected 0 to 60"):
        _ = Steadying(smoothing=smoothing).grids
