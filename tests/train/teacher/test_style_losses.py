"""The losses of style transfer, each against slow arithmetic, by hand, or a distance that is known."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from hueglass.train.colour import to_lab
from hueglass.train.teacher import style_losses
from hueglass.train.teacher.style_losses import (
    content_loss,
    draw_pixels,
    gram_loss,
    gram_matrices,
    out_of_range,
    projections,
    region_colours,
    region_pixels,
    sliced_wasserstein,
    sorted_projections,
    total_variation,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def activations(batch: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=rng(seed), dtype=torch.float64)


def soft_maps(batch: int, regions: int, height: int, width: int, seed: int = 1) -> Tensor:
    """Regions that sum to 1, soft at their borders, each sure of itself somewhere."""
    noise = torch.randn(batch, regions, height, width, generator=rng(seed), dtype=torch.float64)
    return (4 * noise).softmax(1)


def slow_gram(picture: Tensor, region: Tensor, least: float) -> Tensor:
    """C x C sums of F_ip F_jp m_p^2 over the pixels, over C times the sum of m_p."""
    channels, height, width = picture.shape
    gram, area = torch.zeros(channels, channels, dtype=picture.dtype), 0.0
    for y in range(height):
        for x in range(width):
            weight = float(region[y, x])
            if weight > least:
                gram += torch.outer(picture[:, y, x], picture[:, y, x]) * weight**2
                area += weight
    return gram / (channels * area) if area else gram


# Content


def test_content_is_the_mean_squared_error_of_each_picture() -> None:
    a = torch.zeros(2, 3, 2, 4)
    b = torch.zeros(2, 3, 2, 4)
    b[1, 2, 1, 3] = 6.0
    torch.testing.assert_close(content_loss(a, b), torch.tensor([0.0, 36 / 24]))


# Gram matrices


@pytest.mark.parametrize("least", [0.0, 0.05, 0.5])
def test_gram_matrices_of_soft_regions_are_those_of_the_slow_loop(least: float) -> None:
    found, maps = activations(2, 5, 4, 7), soft_maps(2, 3, 4, 7)
    grams = gram_matrices(found, region_pixels(maps, least))
    assert grams.shape == (2, 3, 5, 5)
    for b in range(2):
        for r in range(3):
            torch.testing.assert_close(grams[b, r], slow_gram(found[b], maps[b, r], least))


def test_what_is_left_out_of_a_region_is_of_little_weight() -> None:
    found, maps = activations(1, 4, 12, 12), soft_maps(1, 3, 12, 12)
    kept, whole = (gram_matrices(found, region_pixels(maps, least)) for least in (0.05, 0.0))
    assert (kept - whole).norm() < 0.03 * whole.norm()


def test_the_gram_matrix_of_a_whole_picture_is_that_of_gatys() -> None:
    found = activations(1, 6, 5, 3)
    flat = found[0].flatten(1)
    grams = gram_matrices(found, region_pixels(torch.ones(1, 1, 5, 3, dtype=torch.float64)))
    torch.testing.assert_close(grams[0, 0], flat @ flat.T / (6 * 15))


def test_the_gram_matrix_of_a_region_is_that_of_its_pixels_alone() -> None:
    found = activations(1, 6, 4, 8)
    maps = torch.zeros(1, 2, 4, 8, dtype=torch.float64)
    maps[:, 0, :, :3], maps[:, 1, :, 3:] = 1, 1
    grams = gram_matrices(found, region_pixels(maps))
    for r, part in enumerate((found[..., :3], found[..., 3:])):
        whole = torch.ones(1, 1, *part.shape[2:], dtype=torch.float64)
        torch.testing.assert_close(grams[:, r], gram_matrices(part, region_pixels(whole))[:, 0])


def test_an_empty_region_has_a_gram_matrix_of_zeros_and_no_gradient() -> None:
    found = activations(1, 3, 4, 4).requires_grad_()
    maps = torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)], 1).double()
    grams = gram_matrices(found, region_pixels(maps))
    assert (grams[:, 1] == 0).all()
    (gradient,) = torch.autograd.grad(grams[:, 1].sum() + 0 * grams.sum(), found)
    assert (gradient == 0).all()


@pytest.mark.parametrize("shape", [(7, 4), (1, 3), (0, 3)])
def test_the_gradient_of_a_self_product(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=rng(), dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(style_losses._SelfProduct.apply(x), x.T @ x)
    assert torch.autograd.gradcheck(style_losses._SelfProduct.apply, (x,))


@pytest.mark.parametrize("relative", [False, True])
def test_the_gradient_of_the_gram_loss(relative: bool) -> None:
    found, regions = activations(1, 3, 3, 4).requires_grad_(), region_pixels(soft_maps(1, 2, 3, 4))
    wanted = gram_matrices(activations(1, 3, 3, 4, 5), regions)
    assert torch.autograd.gradcheck(lambda x: gram_loss(x, regions, wanted, relative), (found,))


@pytest.mark.parametrize("relative", [False, True])
def test_the_gram_loss_is_zero_on_itself_and_positive_elsewhere(relative: bool) -> None:
    found, regions = activations(2, 4, 5, 5), region_pixels(soft_maps(2, 2, 5, 5))
    wanted = gram_matrices(found, regions)
    assert (gram_loss(found, regions, wanted, relative) == 0).all()
    assert (gram_loss(activations(2, 4, 5, 5, 3), regions, wanted, relative) > 1e-3).all()


def test_the_gram_loss_by_hand() -> None:
    found = torch.tensor([[[[1.0, 2.0]]]])  # one channel, one row of two pixels
    maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    wanted = torch.tensor([[[[3.0]], [[6.0]]]])
    regions = region_pixels(maps)
    torch.testing.assert_close(gram_loss(found, regions, wanted, False), torch.tensor([0.5 * 2**2 + 0.5 * 2**2]))
    expected = 0.5 * (2 / 3) ** 2 + 0.5 * (2 / 6) ** 2
    torch.testing.assert_close(gram_loss(found, regions, wanted, True), torch.tensor([expected]))


def test_the_relative_gram_loss_knows_no_scale() -> None:
    found, style, regions = activations(1, 4, 6, 6), activations(1, 4, 6, 6, 4), region_pixels(soft_maps(1, 2, 6, 6))
    one = gram_loss(found, regions, gram_matrices(style, regions), True)
    large = gram_loss(1000 * found, regions, gram_matrices(1000 * style, regions), True)
    torch.testing.assert_close(one, large)
    absolute = gram_loss(2 * found, regions, gram_matrices(2 * style, regions), False)
    torch.testing.assert_close(absolute, 16 * gram_loss(found, regions, gram_matrices(style, regions), False))


@pytest.mark.parametrize("relative", [False, True])
def test_a_region_unseen_on_either_side_counts_nothing(relative: bool) -> None:
    found, maps = activations(1, 3, 4, 4).requires_grad_(), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    maps[:, 0], maps[:, 2] = 0.97, 0.03  # the last is everywhere, but nowhere by as much as counts
    wanted = gram_matrices(activations(1, 3, 4, 4, 7), region_pixels(torch.ones_like(maps)))
    alone = gram_loss(found, region_pixels(maps[:, :1]), wanted[:, :1], relative)
    torch.testing.assert_close(gram_loss(found, region_pixels(maps), wanted, relative), alone)
    whole = torch.ones_like(maps) / 3
    with_nothing_wanted = torch.stack([wanted[:, 0], torch.zeros_like(wanted[:, 0]), wanted[:, 0]], 1)
    loss = gram_loss(found, region_pixels(whole), with_nothing_wanted, relative)
    both = gram_loss(found, region_pixels(whole[:, :2]), wanted[:, :2], relative)
    torch.testing.assert_close(loss, both)
    (gradient,) = torch.autograd.grad(loss.sum(), found)
    assert gradient.isfinite().all()


def test_a_batch_of_gram_losses_is_its_pictures_one_by_one() -> None:
    found, regions = activations(3, 4, 5, 6), region_pixels(soft_maps(3, 2, 5, 6))
    wanted = gram_matrices(activations(3, 4, 5, 6, 8), regions)
    together = gram_loss(found, regions, wanted, True)
    for b in range(3):
        alone = region_pixels(soft_maps(3, 2, 5, 6)[b : b + 1])
        torch.testing.assert_close(gram_loss(found[b : b + 1], alone, wanted[b : b + 1], True), together[b : b + 1])


# Colours


def test_colours_are_cielab_in_hundreds_at_the_places_given() -> None:
    image = torch.rand(2, 3, 4, 5, generator=rng())
    places = torch.tensor([[[0, 7, 7], [19, 3, 4]], [[5, 5, 5], [1, 2, 3]]])
    found = region_colours(image, places)
    assert found.shape == (2, 2, 3, 3)
    for b, r, n in np.ndindex(2, 2, 3):
        y, x = divmod(int(places[b, r, n]), 5)
        torch.testing.assert_close(found[b, r, n], to_lab(image[b, :, y, x]) / 100)


def region_maps(height: int = 9, width: int = 10) -> Tensor:
    """Two pictures: a region of 36, one of 54, an empty one; and one whole."""
    maps = torch.zeros(2, 3, height, width)
    maps[0, 0, :, :4], maps[0, 1, :, 4:], maps[1, 2] = 1, 1, 1
    return maps


@pytest.mark.parametrize("count", [20, 36, 100])
def test_pixels_are_drawn_from_the_region_evenly_and_the_same_again(count: int) -> None:
    maps = region_maps()
    places = draw_pixels(maps, count, rng(4))
    assert places.shape == (2, 3, count)
    assert torch.equal(places, draw_pixels(maps, count, rng(4)))
    assert not torch.equal(places, draw_pixels(maps, count, rng(5)))
    assert ((places >= 0) & (places < 90)).all()
    for b, r in ((0, 0), (0, 1), (1, 2)):
        assert maps[b, r].flatten()[places[b, r]].all()
        size = int(maps[b, r].sum())
        often = torch.bincount(places[b, r], minlength=90)[maps[b, r].flatten() > 0]
        assert often.max() <= math.ceil(count / size)
        assert often.min() >= count // size


def test_every_pixel_is_as_likely_to_be_drawn() -> None:
    often = torch.zeros(90)
    generator = rng(2)
    for _ in range(600):
        often += torch.bincount(draw_pixels(region_maps()[:1, :1], 6, generator).flatten(), minlength=90)
    inside = often[region_maps()[0, 0].flatten() > 0]
    assert inside.sum() == 3600
    assert (inside - 100).abs().max() < 45  # 4.5 standard deviations


def test_one_pixel_is_drawn_again_and_again() -> None:
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 2, 1] = 1
    assert (draw_pixels(maps, 7, rng()) == 9).all()


@pytest.mark.parametrize("count", [16, 64, 256])
def test_directions_are_unit_vectors_spread_evenly(count: int) -> None:
    directions = projections(count)
    assert directions.shape == (3, count)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(count))
    torch.testing.assert_close(directions @ directions.T * 3 / count, torch.eye(3), rtol=0, atol=0.08)
    apart = (directions.T @ directions).abs().fill_diagonal_(0).max()
    assert apart.arccos() > 0.45 * math.sqrt(2 * math.pi / count)  # each has a share of the half sphere of 2 pi


def test_quantiles_are_the_sorted_projections() -> None:
    colours, directions = torch.rand(1, 1, 5, 3, generator=rng()), projections(4)
    found = sorted_projections(colours, directions)
    assert found.shape == (1, 1, 4, 5)
    for d in range(4):
        by_hand = sorted(float(colours[0, 0, n] @ directions[:, d]) for n in range(5))
        torch.testing.assert_close(found[0, 0, d], torch.tensor(by_hand))


def test_the_distance_is_zero_to_itself_in_any_order() -> None:
    colours, directions = torch.rand(2, 3, 40, 3, generator=rng()), projections(16)
    shuffled = colours[:, :, torch.randperm(40, generator=rng())]
    areas = torch.full((2, 3), 1 / 3)
    distance = sliced_wasserstein(shuffled, sorted_projections(colours, directions), directions, areas)
    assert distance.abs().max() < 1e-12


def test_the_distance_to_a_shifted_cloud_is_that_of_the_shift() -> None:
    colours, directions = torch.rand(1, 1, 50, 3, generator=rng(), dtype=torch.float64), projections(16).double()
    shift = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    wanted = sorted_projections(colours + shift, directions)
    distance = sliced_wasserstein(colours, wanted, directions, torch.ones(1, 1, dtype=torch.float64))
    torch.testing.assert_close(distance, (shift @ directions).square().mean()[None])
    torch.testing.assert_close(distance, shift.square().sum()[None] / 3, rtol=0.05, atol=0)


def test_the_distance_weighs_regions_by_area_and_pictures_by_themselves() -> None:
    colours, directions = torch.rand(2, 2, 30, 3, generator=rng(), dtype=torch.float64), projections(8).double()
    wanted = sorted_projections(torch.rand(2, 2, 30, 3, generator=rng(1), dtype=torch.float64), directions)
    one = torch.eye(2, dtype=torch.float64)[:, :, None].expand(2, 2, 2)
    parts = torch.stack([sliced_wasserstein(colours, wanted, directions, areas.T) for areas in one])
    areas = torch.tensor([[0.2, 0.8], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(sliced_wasserstein(colours, wanted, directions, areas), (parts.T * areas).sum(1))
    for b in range(2):
        alone = sliced_wasserstein(colours[b : b + 1], wanted[b : b + 1], directions, areas[b : b + 1])
        torch.testing.assert_close(alone[0], (parts.T * areas).sum(1)[b])


def test_going_down_the_distance_arrives_at_the_wanted_colours() -> None:
    colours, directions = torch.rand(1, 1, 40, 3, generator=rng(), dtype=torch.float64), projections(16).double()
    target = 0.3 * torch.rand(1, 1, 40, 3, generator=rng(1), dtype=torch.float64) + 0.5
    wanted, areas = sorted_projections(target, directions), torch.ones(1, 1, dtype=torch.float64)
    for _ in range(60):
        colours = colours.detach().requires_grad_()
        distance = sliced_wasserstein(colours, wanted, directions, areas)
        (gradient,) = torch.autograd.grad(distance.sum(), colours)
        colours = colours - 40 * gradient
    assert distance < 1e-4
    torch.testing.assert_close(colours.mean(2), target.mean(2), rtol=0, atol=0.01)


# The picture itself


def test_total_variation_by_hand() -> None:
    image = torch.zeros(2, 3, 2, 3)
    image[1, 0] = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
    across, down = 1 + 1 + 0.25, 1 + 0.25
    torch.testing.assert_close(total_variation(image), torch.tensor([0.0, 255**2 * (across + down) / 2]))
    assert (total_variation(torch.full((1, 3, 1, 1), 0.3)) == 0).all()


def test_out_of_range_by_hand() -> None:
    image = torch.full((2, 3, 1, 2), 0.5)
    image[0, 0, 0, 0], image[0, 1, 0, 1], image[0, 2, 0, 0], image[1, 0, 0, 0] = 1.5, -0.2, 1.0, 0.0
    torch.testing.assert_close(out_of_range(image), torch.tensor([(0.25 + 0.04) / 6, 0.0]))
