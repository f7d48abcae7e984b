"""Classical colour transfer: the statistics land where the papers say, and nothing breaks on poor input."""

import numpy as np
import pytest
from support.pictures import halves, photo

from hueglass.train import baselines
from hueglass.train.baselines import CLASSICAL, Transfer, distribution_transfer, monge_kantorovich, per_region, reinhard

EACH = pytest.mark.parametrize("transfer", CLASSICAL.values(), ids=CLASSICAL)


def gaussian(mean: tuple[float, ...], spread: float, seed: int) -> np.ndarray:
    """Correlated colours (5000, 3), far from the borders."""
    rng = np.random.default_rng(seed)
    return np.array(mean) + spread * rng.standard_normal((5000, 3)) @ (np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3)))


def clouds(centres: list[tuple[float, ...]], count: int, seed: int) -> np.ndarray:
    """Colours (count, 3) in round clouds of equal size about `centres`."""
    rng = np.random.default_rng(seed)
    return np.array(centres)[rng.integers(len(centres), size=count)] + rng.normal(0, 0.03, (count, 3))


def sliced_wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    """Over 64 directions, from the sorted colours themselves: both (N, 3)."""
    directions = np.random.default_rng(9).normal(size=(3, 64))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.sqrt(((np.sort(one @ directions, 0) - np.sort(other @ directions, 0)) ** 2).mean()))


def test_l_alpha_beta_of_grey_has_no_chroma_and_inverts() -> None:
    """The paper's matrix takes white to cone responses that are equal to 1 %, so its greys are almost neutral."""
    grey = np.linspace(0, 1, 11)[:, None] * np.ones(3)
    lab = baselines.to_lab(grey)
    assert (np.diff(lab[:, 0]) > 0).all()
    assert np.abs(lab[:, 1:]).max() < 3e-3
    assert lab[-1, 0] == pytest.approx(3**0.5 * np.log10(1 + 1 / 255), abs=3e-3)
    colours = np.random.default_rng(0).random((100, 3))
    np.testing.assert_allclose(baselines.from_lab(baselines.to_lab(colours)), colours, atol=1e-12)


def test_reinhard_gives_the_means_and_deviations_of_the_style_in_its_space() -> None:
    content, style = gaussian((0.4, 0.5, 0.6), 0.04, 0), gaussian((0.6, 0.5, 0.45), 0.03, 1)
    out = reinhard(content, style)
    assert out.max() < 1
    got, wanted = baselines.to_lab(out.astype(np.float64)), baselines.to_lab(style)
    np.testing.assert_allclose(got.mean(0), wanted.mean(0), atol=1e-6)
    np.testing.assert_allclose(got.std(0), wanted.std(0), rtol=1e-4)
    assert np.abs(baselines.to_lab(content).mean(0) - wanted.mean(0)).max() > 0.05


def test_monge_kantorovich_gives_the_mean_and_the_covariance_of_the_style() -> None:
    content, style = gaussian((0.4, 0.5, 0.6), 0.04, 0), gaussian((0.6, 0.5, 0.45), 0.06, 1)
    out = monge_kantorovich(content, style)
    assert 0 < out.min() < out.max() < 1
    np.testing.assert_allclose(out.mean(0), style.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.cov(out.T), np.cov(style.T), atol=3e-6)
    assert np.abs(np.cov(content.T) - np.cov(style.T)).max() > 1e-3


def test_monge_kantorovich_is_the_shortest_way() -> None:
    """Its matrix is symmetric and positive."""
    content, style = gaussian((0.4, 0.5, 0.6), 0.04, 0), gaussian((0.6, 0.5, 0.45), 0.06, 1)
    affine, *_ = np.linalg.lstsq(
        np.c_[content, np.ones(len(content))], monge_kantorovich(content, style).astype(np.float64), rcond=None
    )
    np.testing.assert_allclose(affine[:3], affine[:3].T, atol=1e-4)
    assert np.linalg.eigvalsh(affine[:3]).min() > 0


@pytest.mark.parametrize("count", [8000, 40000])
def test_distribution_transfer_reaches_another_shape(count: int) -> None:
    """From two clouds to three, with fewer and with more colours than it samples."""
    content = clouds([(0.3, 0.3, 0.3), (0.7, 0.6, 0.4)], count, 0)
    style = clouds([(0.25, 0.6, 0.3), (0.6, 0.3, 0.7), (0.8, 0.8, 0.75)], count, 1)
    before = sliced_wasserstein(content, style)
    after = sliced_wasserstein(distribution_transfer(content, style), style)
    assert before > 0.1
    assert after < 0.1 * before
    assert sliced_wasserstein(monge_kantorovich(content, style), style) > 2 * after


def test_distribution_transfer_moves_equal_colours_as_one_to_the_mean() -> None:
    flat, style = np.full((100, 3), 0.25), gaussian((0.6, 0.5, 0.45), 0.06, 1)
    out = distribution_transfer(flat, style)
    assert np.ptp(out, 0).max() < 1e-6
    np.testing.assert_allclose(out[0], style.mean(0), atol=2e-3)


@EACH
def test_a_picture_in_its_own_light_stays_as_it_is(transfer: Transfer) -> None:
    np.testing.assert_allclose(transfer(photo(), photo()), photo(), atol=1e-5)
    saturated = np.round(photo() * 8) / 8  # many equal colours, black and white among them
    np.testing.assert_allclose(transfer(saturated, saturated), saturated, atol=1e-5)


@EACH
def test_the_output_is_like_the_content_and_the_same_every_time(transfer: Transfer) -> None:
    content, style = photo().astype(np.float64), gaussian((0.9, 0.1, 0.5), 0.3, 2).clip(0, 1)
    out = transfer(content, style)
    assert out.shape == content.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    np.testing.assert_array_equal(transfer(content, style), out)
    assert (content == photo()).all()


@EACH
@pytest.mark.parametrize("flat", [0.0, 0.25, 1.0])
def test_flat_and_single_colours_go_to_the_middle_of_the_style(transfer: Transfer, flat: float) -> None:
    one, many = np.full((1, 3), flat), np.full((10, 3), flat)
    bright = np.full((1, 3), 0.75)
    for content in (one, many):
        np.testing.assert_allclose(transfer(content, bright), 0.75, atol=1e-4)
        out = transfer(content, photo(1))
        assert np.ptp(out, 0).max() < 1e-6
        np.testing.assert_allclose(out[0], photo(1).mean((0, 1)), atol=0.06)
    assert np.isfinite(transfer(photo(), one)).all()
    np.testing.assert_allclose(transfer(photo(), one).mean((0, 1)), flat, atol=0.01)


@EACH
def test_one_stray_pixel_is_no_reason_for_infinities(transfer: Transfer) -> None:
    content = np.zeros((1000, 3), np.float32)
    content[0] = 1 / 255
    assert np.isfinite(transfer(content, photo())).all()
    content[0] = 1e-6
    assert np.isfinite(transfer(content, photo())).all()


@EACH
def test_per_region_touches_matched_regions_alone(transfer: Transfer) -> None:
    content, style = photo(0), photo(1)
    lacking = halves()
    lacking[1] = False
    for maps, style_maps in ((halves(), lacking), (lacking, halves())):
        out = per_region(transfer, content, maps, style, style_maps)
        np.testing.assert_array_equal(out[:, 16:], content[:, 16:])
        np.testing.assert_allclose(out[:, :16].mean((0, 1)), style[:, :16].mean((0, 1)), atol=0.03)
        assert np.abs(out[:, :16] - content[:, :16]).mean() > 0.02


@EACH
def test_per_region_takes_each_region_by_itself(transfer: Transfer) -> None:
    content, style = photo(0), photo(1)
    out = per_region(transfer, content, halves(), style, halves())
    for part in (slice(0, 16), slice(16, 64)):
        np.testing.assert_allclose(out[:, part], transfer(content[:, part], style[:, part]), atol=1e-6)
    assert (content == photo(0)).all()
