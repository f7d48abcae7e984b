"""The student's losses: exact numbers where they are known, bounds where they are drawn, gradients everywhere."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from skimage.color import rgb2lab
from torch import Tensor

from hueglass.train.colour import to_lab
from hueglass.train.metrics import halo
from hueglass.train.student.losses import (
    borders,
    box_blur,
    correspondence,
    grid_distance,
    out_of_range,
    reconstruction,
    sliced_wasserstein,
    smoothness,
    unevenness,
)

MANY = 4096
"""Directions enough for their mean to be that of the sphere, to a few parts in a hundred."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def grey(lightness: float) -> float:
    """The sRGB grey of a CIELAB lightness."""
    y = ((lightness + 16) / 116) ** 3
    return 1.055 * y ** (1 / 2.4) - 0.055


def flat(lightness: float, size: int = 16) -> Tensor:
    return torch.full((1, 3, size, size), grey(lightness))


def halves(size: int = 16, left: int = 8) -> Tensor:
    """Two regions (1, 2, size, size): `left` columns, and the others."""
    maps = torch.zeros(1, 2, size, size)
    maps[:, 0, :, :left] = 1
    maps[:, 1, :, left:] = 1
    return maps


def whole(size: int = 16) -> Tensor:
    return torch.ones(1, 1, size, size)


def distance(output: Tensor, maps: Tensor, style: Tensor, style_maps: Tensor) -> float:
    return float(sliced_wasserstein(output, maps, style, style_maps, samples=64, projections=MANY))


def test_swd_of_a_flat_region_with_itself_is_zero() -> None:
    assert distance(flat(50), whole(), flat(50), whole()) < 1e-6


def test_swd_of_the_same_colours_is_small() -> None:
    """Two draws from one region are alike, not equal."""
    image = torch.rand(2, 3, 32, 32)
    same = float(sliced_wasserstein(image, whole(32).expand(2, -1, -1, -1), image, whole(32).expand(2, -1, -1, -1)))
    other = float(
        sliced_wasserstein(image, whole(32).expand(2, -1, -1, -1), 0.5 * image, whole(32).expand(2, 1, 32, 32))
    )
    assert 0 <= same < 0.025
    assert other > 5 * same


@pytest.mark.parametrize(("ours", "theirs"), [(50, 70), (80, 20), (50, 51)])
def test_swd_of_two_greys_is_their_distance_along_a_mean_direction(ours: float, theirs: float) -> None:
    """A shift s of every colour is |d . s| along the direction d; over the sphere that is |s| / 2."""
    expected = abs(ours - theirs) / 100 / 2
    assert distance(flat(ours), whole(), flat(theirs), whole()) == pytest.approx(expected, rel=0.05)


def test_swd_never_exceeds_the_shift() -> None:
    image, shift = 0.2 + 0.4 * torch.rand(1, 3, 16, 16), torch.tensor([0.1, 0.0, 0.05])[:, None, None]
    lab = [to_lab((image + k * shift).flatten(2)[0].T) / 100 for k in (0, 1)]
    farthest = float((lab[0] - lab[1]).norm(dim=1).max())
    noise = float(sliced_wasserstein(image, whole(), image, whole(), samples=16384, projections=64))
    moved = float(sliced_wasserstein(image, whole(), image + shift, whole(), samples=16384, projections=64))
    assert 0.2 * farthest < moved < farthest + noise


@pytest.mark.parametrize("empty", ["output", "style"])
def test_swd_ignores_a_region_empty_on_either_side(empty: str) -> None:
    full, lacking = halves(), halves()
    lacking[:, 1] = 0
    maps, style_maps = (lacking, full) if empty == "output" else (full, lacking)
    output = flat(50).clone()
    output[..., 8:] = torch.rand(1, 3, 16, 8)
    output.requires_grad_()
    style = flat(70).clone()
    style[..., 8:] = torch.rand(1, 3, 16, 8)
    loss = sliced_wasserstein(output, maps, style, style_maps, samples=64, projections=MANY)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.1, rel=0.05)
    assert output.grad is not None
    assert float(output.grad[..., 8:].abs().max()) == 0
    assert float(output.grad[..., :8].abs().max()) > 0


def test_swd_of_nothing_is_zero_and_can_be_differentiated() -> None:
    output = torch.rand(2, 3, 16, 16, requires_grad=True)
    nothing = torch.zeros(2, 3, 16, 16)
    loss = sliced_wasserstein(output, nothing, torch.rand(2, 3, 16, 16), nothing)
    loss.backward()
    assert float(loss.detach()) == 0
    assert output.grad is not None
    assert float(output.grad.abs().max()) == 0


def test_swd_weighs_regions_by_their_area_in_the_output() -> None:
    """Three quarters are 20 off, one quarter 60; the reference's own areas do not matter."""
    output, style = flat(50).clone(), flat(70).clone()
    output[..., 12:], style[..., 4:] = grey(20), grey(80)
    expected = (0.75 * 0.2 + 0.25 * 0.6) / 2
    assert distance(output, halves(left=12), style, halves(left=4)) == pytest.approx(expected, rel=0.05)


def test_swd_compares_region_with_region() -> None:
    """The colours of the whole are the same, but in the wrong halves."""
    output, style = flat(30).clone(), flat(70).clone()
    output[..., 8:], style[..., 8:] = grey(70), grey(30)
    assert distance(output, whole(), style, whole()) < 0.08
    assert distance(output, halves(), style, halves()) == pytest.approx(0.2, rel=0.05)


def test_swd_gradients_are_finite_on_black_and_white() -> None:
    for value in (-0.5, 0.0, 1e-8, 1.0, 1.5):
        output = torch.full((1, 3, 16, 16), value, requires_grad=True)
        sliced_wasserstein(output, whole(), torch.rand(1, 3, 16, 16), whole()).backward()
        assert output.grad is not None
        assert torch.isfinite(output.grad).all()


def test_reconstruction_is_an_absolute_difference_but_smooth_at_zero() -> None:
    target = torch.rand(2, 3, 8, 8)
    assert float(reconstruction(target, target)) == pytest.approx(1e-3, rel=1e-5)
    assert float(reconstruction(target + 0.5, target)) == pytest.approx(0.5, rel=1e-4)
    assert float(reconstruction(target + 0.001, target)) == pytest.approx(0.001 * 2**0.5, rel=1e-3)
    output = target.clone().requires_grad_()
    reconstruction(output, target).backward()
    assert output.grad is not None
    assert float(output.grad.abs().max()) == 0


def test_out_of_range_is_the_mean_distance_outside() -> None:
    assert float(out_of_range(torch.tensor([0.0, 0.3, 1.0]))) == 0
    assert float(out_of_range(torch.tensor([-0.5, 0.5, 1.0, 1.25]))) == pytest.approx(0.75 / 4)


def test_smoothness_is_exact_on_ramps() -> None:
    """A step of 1 along depth, 2 along height, 3 along width, in every coefficient."""
    d, y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij")
    grid = (d + 2 * y + 3 * x)[None, ..., None].expand(2, 4, 5, 6, 12)
    across, along = smoothness(grid)
    assert float(across) == 2**2 + 3**2
    assert float(along) == 1
    assert [float(v) for v in smoothness(torch.ones(1, 4, 5, 6, 12))] == [0, 0]


def test_lab_is_that_of_scikit_image() -> None:
    levels = np.linspace(0, 1, 12)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    np.testing.assert_allclose(to_lab(torch.from_numpy(colours)).numpy(), rgb2lab(colours), atol=0.01)
    np.testing.assert_allclose(to_lab(torch.from_numpy(colours).float()).numpy(), rgb2lab(colours), atol=0.02)


def test_lab_of_black_white_and_grey() -> None:
    lab = to_lab(torch.tensor([[0.0] * 3, [1.0] * 3, [grey(50.0)] * 3, [-1.0] * 3, [2.0] * 3]))
    np.testing.assert_allclose(lab[:, 0].numpy(), [0, 100, 50, 0, 100], atol=0.01)
    assert float(lab[:, 1:].abs().max()) < 0.01


def test_lab_gradients_are_finite_and_those_of_finite_differences() -> None:
    colours = torch.tensor([0.0, 1e-9, 0.02, 0.04045, 0.3, 1.0], dtype=torch.float64)
    every = torch.cartesian_prod(colours, colours, colours).requires_grad_()
    to_lab(every).sum().backward()
    assert every.grad is not None
    assert torch.isfinite(every.grad).all()
    inside = (0.1 + 0.8 * torch.rand(10, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(to_lab, (inside,))


def test_weights_say_where_an_error_counts() -> None:
    output, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    output[..., :2] = 0.5
    weights = torch.ones(1, 1, 4, 4)
    weights[..., :2] = 3
    assert float(reconstruction(output, target)) == pytest.approx(0.25, abs=1e-3)
    assert float(reconstruction(output, target, weights)) == pytest.approx(0.75, abs=2e-3)


def test_box_blur_is_the_mean_of_what_lies_inside() -> None:
    x = torch.rand(2, 3, 9, 7)
    blurred = box_blur(x, 5)
    for y, column in ((0, 0), (4, 3), (8, 6), (1, 5)):
        window = x[..., max(0, y - 2) : y + 3, max(0, column - 2) : column + 3]
        np.testing.assert_allclose(blurred[..., y, column].numpy(), window.mean((2, 3)).numpy(), atol=1e-6)


def test_borders_are_where_regions_meet_and_nowhere_else() -> None:
    near = borders(halves(100, 50), width=0.03)[0, 0]
    assert near.shape == (100, 100)
    assert float(near[:, 47:53].min()) > 0.2
    assert float(near[:, 49:51].min()) > 0.8
    assert float(near[:, :47].max()) == float(near[:, 53:].max()) == 0
    assert float(borders(whole(100)).max()) == 0


def test_grids_are_compared_at_the_vertices_that_pixels_use() -> None:
    """A dark picture uses the lowest depth plane alone."""
    dark = torch.full((1, 3, 16, 16), 0.02)
    grid, target = torch.zeros(1, 4, 2, 2, 12), torch.zeros(1, 4, 2, 2, 12)
    target[:, 1:] = 5
    assert float(grid_distance(grid, target, dark, torch.tensor([True]))) < 2e-3
    target[:, 0, 0] = 1
    assert float(grid_distance(grid, target, dark, torch.tensor([True]))) == pytest.approx(0.5, abs=2e-3)
    assert float(grid_distance(grid, target, dark, torch.tensor([False]))) == 0


def test_correspondence_is_the_log_of_the_attention_that_lands_in_the_right_region() -> None:
    """Two tones; the first lies wholly in the style's left region, the second three quarters in its right one."""
    style, tones = halves(8, 2), torch.zeros(1, 2, 8, 8)
    tones[:, 0, :, 0], tones[:, 1, :, 1:5] = 1, 1
    attention = torch.tensor([0.9, 0.1]).reshape(1, 2, 1, 1).expand(1, 2, 8, 8)
    left, right = 0.9 + 0.1 / 4, 0.1 * 3 / 4
    expected = -(0.5 * np.log(left + 1e-3) + 0.5 * np.log(right + 1e-3))
    known = torch.tensor([True])
    assert float(correspondence(attention, halves(8, 4), tones, style, known)) == pytest.approx(expected, rel=1e-4)
    assert float(correspondence(attention, halves(8, 4), tones, style, ~known)) == 0
    perfect = torch.cat([halves(8, 4)], 1)
    alike = correspondence(perfect, halves(8, 4), halves(8, 2), style, known)
    assert float(alike) < 1e-2


def scene(size: int = 128) -> tuple[Tensor, Tensor]:
    """A noisy picture, and its left and right half as regions."""
    noise = cv2.GaussianBlur(np.random.default_rng(5).random((size, size, 3), np.float32), (0, 0), 2)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return torch.from_numpy(noise).permute(2, 0, 1)[None], halves(size, size // 2)


def lights(image: Tensor) -> tuple[Tensor, Tensor]:
    """Two lights, of which a quadratic map of colours is none the less exact."""
    return 0.2 + 0.5 * image, 0.9 * image**2


def reaching(image: Tensor, maps: Tensor, sigma: float) -> Tensor:
    """The two lights, each in its own region, that reach into one another as far as a blur says."""
    one, other = lights(image)
    soft = torch.from_numpy(cv2.GaussianBlur(maps[0, 0].numpy(), (0, 0), sigma))
    return soft * one + (1 - soft) * other


EVEN = 1.5e-2
"""The Charbonnier distance of what is the same is .001; a fit that is held to be small is never quite exact."""


@pytest.mark.parametrize("contrast", [1.0, 0.25])
def test_one_smooth_map_for_each_region_up_to_its_border_is_even(contrast: float) -> None:
    """Quadratic in colours, linear in place; another one beyond the border. Of dull pictures as of bright ones."""
    noise, maps = scene()
    image = 0.5 + contrast * (noise - 0.5)
    across = torch.linspace(-0.1, 0.1, 128).expand(1, 1, 128, 128)
    one, other = lights(image)
    for output in (image, one, other, 0.1 + 0.7 * image + across, torch.where(maps[:, :1] > 0, one, other)):
        assert 1e-3 <= float(unevenness(output, image, maps)) < EVEN


def test_a_band_along_a_border_that_keeps_its_colour_is_uneven() -> None:
    """All of the picture becomes .2 brighter but for four columns on either side of the border: these are the band."""
    image, maps = scene()
    content = 0.8 * image
    output = content + 0.2
    output[..., 60:68] = content[..., 60:68]
    assert float(unevenness(output, content, maps)) == pytest.approx(0.2, rel=0.1)
    assert float(unevenness(output[..., :64], content[..., :64], maps[..., :64])) == 0  # one region, without a border


def test_unevenness_falls_with_the_band_and_agrees_with_the_yardstick() -> None:
    """The wider one light reaches into the other, the larger, as the metric in CIEDE2000 has it."""
    image, maps = scene()
    outputs = [reaching(image, maps, sigma) for sigma in (0.5, 1, 2, 4, 8)]
    ours = [float(unevenness(output, image, maps)) for output in outputs]
    pictures = [x[0].permute(1, 2, 0).numpy() for x in (image, *outputs)]
    theirs = [halo(pictures[0], output, maps[0].numpy() > 0.5) for output in pictures[1:]]
    assert ours == sorted(ours)
    assert theirs == sorted(theirs)
    assert ours[-1] > 5 * ours[0]


def test_regions_too_small_to_have_an_inside_are_never_uneven() -> None:
    image, _ = scene()
    thin = torch.zeros(1, 2, 128, 128)
    thin[:, 0, :, 57:71], thin[:, 1, 50:64, :20] = 1, 1
    output = torch.rand(1, 3, 128, 128, requires_grad=True)
    for maps in (thin, torch.zeros_like(thin), whole(128)):
        loss = unevenness(output, image, maps)
        loss.backward()
        assert float(loss.detach()) == 0
    assert output.grad is not None
    assert not bool(output.grad.any())


def test_unevenness_moves_the_band_alone_towards_what_the_inside_says() -> None:
    """The answer is not to be had by spoiling the inside."""
    image, maps = scene()
    output = (image + 0.2).detach()
    output[..., 60:68] -= 0.2
    output.requires_grad_()
    unevenness(output, image, maps).backward()
    assert output.grad is not None
    assert float(output.grad[..., 60:68].max()) < 0  # brighter is better
    assert not bool(output.grad[..., :56].any())
    assert not bool(output.grad[..., 72:].any())
