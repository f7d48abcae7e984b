"""What is counted of regions, beside numpy's own means, covariances and histograms; and that it can be added up."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from support.region_sums import measured, random_maps, sums_of

from hueglass.train.bilateral import guide_map
from hueglass.train.student.sums import (
    COVARIANCE_FLOOR,
    HISTOGRAM_BINS,
    MEASURED,
    MOMENTS,
    OPPONENT,
    SUMMARY,
    averages,
    opponent,
    region_sums,
    summary,
)


def weighted_moments(pixels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3) and covariance (3, 3) of colours (N, 3) under weights (N)."""
    w = weights / weights.sum()
    mean = w @ pixels
    return mean, (pixels - mean).T @ ((pixels - mean) * w[:, None])


def test_opponent_colours_are_luma_and_chroma() -> None:
    image = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    expected = np.einsum("ij,bjhw->bihw", np.array(OPPONENT), image.numpy())
    np.testing.assert_allclose(opponent(image).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(opponent(image)[:, 0].numpy(), guide_map(image).numpy(), atol=1e-7)
    greys = image[:, :1].expand(-1, 3, -1, -1)
    assert float(opponent(greys)[:, 1:].abs().max()) < 1e-12


def test_moments_are_weighted_mean_and_cholesky_factor() -> None:
    image, maps = torch.rand(2, 3, 32, 32, dtype=torch.float64), random_maps(2, 3, 32)
    mean, factor = measured(image, maps)[..., :MOMENTS].split([3, 6], -1)
    for b in range(2):
        pixels = opponent(image)[b].flatten(1).T.numpy()
        for r in range(3):
            expected, covariance = weighted_moments(pixels, maps[b, r].flatten().numpy())
            cholesky = np.linalg.cholesky(covariance + np.diag(COVARIANCE_FLOOR))
            np.testing.assert_allclose(mean[b, r].numpy(), expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(factor[b, r].numpy(), cholesky[np.tril_indices(3)], atol=1e-6)


def test_moments_of_flat_and_of_empty_regions_are_the_floor() -> None:
    flat = torch.tensor([0.3, 0.5, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    maps = torch.stack([torch.ones(16, 16), torch.zeros(16, 16)])[None]
    mean, factor = measured(flat, maps)[..., :MOMENTS].split([3, 6], -1)
    floor = np.sqrt(np.diag(COVARIANCE_FLOOR))[np.tril_indices(3)]
    np.testing.assert_allclose(mean[0, 0].numpy(), opponent(flat)[0, :, 0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(mean[0, 1].numpy(), 0, atol=1e-7)
    np.testing.assert_allclose(factor[0].numpy(), np.stack([floor, floor]), atol=1e-4)


def test_histograms_hold_shares_and_mean_colours() -> None:
    """Two flat halves of known luma, exactly at the centres of bins 1 and 5."""
    lumas = (1.5 / HISTOGRAM_BINS, 5.5 / HISTOGRAM_BINS)
    image = torch.full((1, 3, 16, 16), lumas[0])
    image[..., 8:] = lumas[1]
    found = measured(image, torch.ones(1, 1, 16, 16))
    assert found.shape == (1, 1, SUMMARY)
    histogram = found[..., MOMENTS:-1].reshape(HISTOGRAM_BINS, 4).numpy()
    shares = np.zeros(HISTOGRAM_BINS)
    shares[[1, 5]] = 0.5
    np.testing.assert_allclose(histogram[:, 0], shares, atol=1e-4)
    np.testing.assert_allclose(histogram[[1, 5], 1:], np.repeat(np.array(lumas)[:, None], 3, 1), rtol=0.01)


def test_features_are_averaged_over_each_region() -> None:
    features, maps = torch.rand(2, 5, 4, 4, dtype=torch.float64), random_maps(2, 3, 16)
    found = averages(region_sums(torch.rand(2, 3, 16, 16, dtype=torch.float64), features, maps))
    weights = torch.nn.functional.avg_pool2d(maps, 4)
    wanted = torch.einsum("brhw,bkhw->brk", weights, features) / weights.sum((2, 3))[..., None]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_sums_of_two_pictures_are_those_of_both_side_by_side() -> None:
    """But for twice the area, by which all of them are means."""
    images, maps = torch.rand(2, 3, 16, 16, dtype=torch.float64), random_maps(2, 3, 16)
    features = torch.rand(2, 5, 4, 4, dtype=torch.float64)
    apart = region_sums(images, features, maps)
    both = region_sums(*(torch.cat([x[:1], x[1:]], 3) for x in (images, features, maps)))
    torch.testing.assert_close(apart.sum(0) / 2, both[0])
    assert apart.shape == (2, 3, MEASURED + 5)
    torch.testing.assert_close(summary(apart.sum(0)[None], 2.0), summary(both), rtol=1e-5, atol=1e-5)


def test_areas_are_shares_of_what_was_seen() -> None:
    maps = random_maps(1, 3, 16)
    found = sums_of(torch.rand(1, 3, 16, 16, dtype=torch.float64), maps)
    torch.testing.assert_close(summary(7 * found, 7.0)[0, :, -1], maps[0].mean((1, 2)), rtol=1e-6, atol=1e-6)
