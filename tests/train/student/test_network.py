"""The network: what it measures, its closed-form start, and the symmetries it promises."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from hueglass.train.bilateral import depth_tents, guide_map, render
from hueglass.train.student.network import (
    COVARIANCE_FLOOR,
    HISTOGRAM_BINS,
    MOMENTS,
    OPPONENT,
    SUMMARY,
    LookEncoder,
    Student,
    StudentConfig,
    gaussian_transport,
    halve,
    new_networks,
    opponent,
    region_histogram,
    region_moments,
    region_summary,
    splat,
    spread,
)

TINY = StudentConfig(thumbnail=64, tones=3, cells=4, code=32, width=16, hidden=24, pair=16, embedding=8)
HALF = TINY.thumbnail // 2


def networks(config: StudentConfig = TINY, trained: bool = False) -> tuple[Student, LookEncoder]:
    """Untrained networks; `trained` ones have a last layer that says something."""
    torch.manual_seed(0)
    student, encoder = new_networks(config)
    if trained:
        torch.nn.init.normal_(student.delta.weight, std=0.1)
        torch.nn.init.normal_(student.key.weight, std=0.3)
    return student.eval(), encoder.eval()


def whole(batch: int = 1, slots: int = TINY.slots) -> Tensor:
    """One region that covers everything."""
    maps = torch.zeros(batch, slots, HALF, HALF)
    maps[:, 0] = 1
    return maps


def nothing(batch: int = 1) -> Tensor:
    """No region at all: everything is left to the tones."""
    return torch.zeros(batch, TINY.slots, HALF, HALF)


def photo(seed: int = 0, low: float = 0.1, high: float = 0.9) -> Tensor:
    """Smooth colours with some grain (1, 3, T, T)."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear", align_corners=True)
    grain = 0.02 * torch.randn(1, 3, 64, 64, generator=g)
    return (low + (high - low) * smooth + grain).clamp(0, 1)


def random_maps(batch: int, slots: int, size: int, seed: int = 0) -> Tensor:
    maps = torch.rand(batch, slots, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 6
    return maps / maps.sum(1, keepdim=True)


def weighted_moments(colours: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3) and covariance (3, 3) of colours (N, 3) under weights (N)."""
    w = weights / weights.sum()
    mean = w @ colours
    return mean, (colours - mean).T @ ((colours - mean) * w[:, None])


def lower(factor: np.ndarray) -> np.ndarray:
    out = np.zeros((3, 3))
    out[np.tril_indices(3)] = factor
    return out


def test_the_networks_are_small() -> None:
    student, encoder = networks(StudentConfig())
    assert student.trunk is encoder.trunk
    both = torch.nn.ModuleList([student, encoder])
    assert 5e5 < sum(p.numel() for p in both.parameters()) < 1.2e6


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        TINY.model_copy(update={"cells": 8}),
        StudentConfig(thumbnail=128, slots=3, tones=2, depth=5, cells=32, code=12, width=8, hidden=8, pair=8),
    ],
)
def test_shapes(config: StudentConfig) -> None:
    student, encoder = networks(config)
    size, slots, cells = config.thumbnail, config.slots, config.cells
    maps = random_maps(2, slots, size // 2).float()
    with torch.no_grad():
        codes = encoder(torch.rand(2, 3, size, size), maps)
        grid = student(torch.rand(2, 3, size, size), maps, codes)
    assert codes.shape == (2, slots + config.tones, config.code)
    assert grid.shape == (2, config.depth, cells, cells, 12)
    assert torch.isfinite(grid).all()


def test_opponent_colours_are_luma_and_chroma() -> None:
    image = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    expected = np.einsum("ij,bjhw->bihw", np.array(OPPONENT), image.numpy())
    np.testing.assert_allclose(opponent(image).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(opponent(image)[:, 0].numpy(), guide_map(image).numpy(), atol=1e-7)
    greys = image[:, :1].expand(-1, 3, -1, -1)
    assert float(opponent(greys)[:, 1:].abs().max()) < 1e-12


def test_region_moments_are_weighted_mean_and_cholesky_factor() -> None:
    colours = opponent(torch.rand(2, 3, 32, 32, dtype=torch.float64))
    maps = random_maps(2, 3, 32)
    mean, factor = region_moments(colours, maps)
    for b in range(2):
        pixels = colours[b].flatten(1).T.numpy()
        for r in range(3):
            expected, covariance = weighted_moments(pixels, maps[b, r].flatten().numpy())
            cholesky = np.linalg.cholesky(covariance + np.diag(COVARIANCE_FLOOR))
            np.testing.assert_allclose(mean[b, r].numpy(), expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(factor[b, r].numpy(), cholesky[np.tril_indices(3)], atol=1e-6)


def test_moments_of_flat_and_of_empty_regions_are_the_floor() -> None:
    flat = opponent(torch.tensor([0.3, 0.5, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16))
    maps = torch.stack([torch.ones(16, 16), torch.zeros(16, 16)])[None]
    mean, factor = region_moments(flat, maps)
    floor = np.sqrt(np.diag(COVARIANCE_FLOOR))[np.tril_indices(3)]
    np.testing.assert_allclose(mean[0, 0].numpy(), flat[0, :, 0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(mean[0, 1].numpy(), 0, atol=1e-7)
    np.testing.assert_allclose(factor[0].numpy(), np.stack([floor, floor]), atol=1e-4)


def test_region_histograms_hold_shares_and_mean_colours() -> None:
    """Two flat halves of known luma, exactly at the centres of bins 1 and 5."""
    lumas = (1.5 / HISTOGRAM_BINS, 5.5 / HISTOGRAM_BINS)
    image = torch.full((1, 3, 16, 16), lumas[0])
    image[..., 8:] = lumas[1]
    histogram = region_histogram(image, torch.ones(1, 1, 16, 16)).reshape(HISTOGRAM_BINS, 4).numpy()
    shares = np.zeros(HISTOGRAM_BINS)
    shares[[1, 5]] = 0.5
    np.testing.assert_allclose(histogram[:, 0], shares, atol=1e-4)
    np.testing.assert_allclose(histogram[[1, 5], 1:], np.repeat(np.array(lumas)[:, None], 3, 1), rtol=0.01)
    assert region_summary(image, torch.ones(1, 1, 16, 16)).shape == (1, 1, SUMMARY)


def transported(gate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random correlated colours after `gaussian_transport`, before, and the colours whose moments were the target."""
    rng = np.random.default_rng(0)
    ours, theirs = (0.5 + rng.normal(size=(4000, 3)) @ rng.normal(0, s, (3, 3)) for s in (0.1, 0.15))
    matrix = np.array(OPPONENT)
    moments = []
    for colours in (ours, theirs):
        covariance = np.cov((colours @ matrix.T).T, bias=True)
        moments.append((matrix @ colours.mean(0), np.linalg.cholesky(covariance)[np.tril_indices(3)]))
    (mean, factor), target = moments[0], np.concatenate(moments[1])
    affine = gaussian_transport(
        *(torch.from_numpy(x)[None, None] for x in (mean, factor, target)), torch.full((1, 1, 1), gate).double()
    )
    m = affine.reshape(3, 4).numpy()
    return ours @ m[:, :3].T + m[:, 3], ours, theirs


def test_transport_gives_a_region_the_mean_and_covariance_of_the_other() -> None:
    result, ours, theirs = transported(gate=1.0)
    np.testing.assert_allclose(result.mean(0), theirs.mean(0), atol=1e-10)
    np.testing.assert_allclose(np.cov(result.T), np.cov(theirs.T), atol=1e-10)
    assert np.abs(np.cov(ours.T) - np.cov(theirs.T)).max() > 1e-3


def test_transport_behind_a_closed_gate_moves_the_mean_alone() -> None:
    result, ours, theirs = transported(gate=0.0)
    np.testing.assert_allclose(result.mean(0), theirs.mean(0), atol=1e-10)
    np.testing.assert_allclose(np.cov(result.T), np.cov(ours.T), atol=1e-10)
    np.testing.assert_allclose(result - result.mean(0), ours - ours.mean(0), atol=1e-10)


def test_transport_maps_luma_by_luma_alone() -> None:
    """What the triangle is for: two colours of one luma keep one luma."""
    result, ours, _ = transported(gate=1.0)
    luma = np.array(OPPONENT[0])
    slope, offset = np.polyfit(ours @ luma, result @ luma, 1)
    np.testing.assert_allclose(result @ luma, slope * (ours @ luma) + offset, atol=1e-9)
    assert slope > 0


def test_splat_is_a_sum_over_pixels() -> None:
    rng = np.random.default_rng(1)
    values, guide = rng.random((2, 4, 12, 12)), rng.random((2, 12, 12))
    depth, cells = 5, 3
    tents = depth_tents(torch.from_numpy(guide), depth)
    expected = np.zeros((2, cells * cells, depth, 4))
    for b, y, x in np.ndindex(2, 12, 12):
        z = min(max(guide[b, y, x] * depth - 0.5, 0), depth - 1)
        for plane in range(depth):
            weight = max(0.0, 1 - abs(z - plane))
            expected[b, (y // 4) * cells + x // 4, plane] += weight * values[b, :, y, x]
    np.testing.assert_allclose(splat(torch.from_numpy(values), tents, cells).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(tents.sum(1).numpy(), 1, atol=1e-12)


def test_spread_keeps_what_is_full_and_fills_what_is_empty() -> None:
    """One full vertex of the first of two kinds among full ones of the second, all in one depth plane of four."""
    cells, depth = 6, 4
    volume = torch.zeros(1, cells * cells, depth, 2)
    volume[0, :, 0, 1] = 64
    lonely = 2 * cells + 3
    volume[0, lonely, 0] = torch.tensor([64.0, 0.0])
    full = spread(volume, cells)[0]
    shares = full / full.sum(-1, keepdim=True)
    assert float(shares[lonely, 0, 0]) > 0.95
    assert float(shares[0, 0, 1]) > 0.99
    assert float(full[:, 0].sum(-1).min()) > 64
    assert float(full.sum(-1).min()) > 0
    far = shares[:, 3]
    np.testing.assert_allclose(far.numpy(), np.tile([1 / 36, 35 / 36], (36, 1)), atol=1e-6)
    assert float(shares[lonely, 1, 0]) > 2 / 36


def test_spread_is_exact_inside_a_uniform_volume() -> None:
    full = spread(torch.ones(1, 25, 5, 1), 5).reshape(5, 5, 5)
    assert float(full[2, 2, 2]) == pytest.approx(1.11)


def test_slots_carry_no_meaning() -> None:
    student, encoder = networks(trained=True)
    maps = random_maps(1, TINY.slots, HALF).float()
    order = torch.randperm(TINY.slots, generator=torch.Generator().manual_seed(1))
    codes_order = torch.cat([order, torch.arange(TINY.slots, TINY.slots + TINY.tones)])
    with torch.no_grad():
        codes = encoder(photo(1), maps)
        grid = student(photo(2), maps, codes)
        assert_close(encoder(photo(1), maps[:, order]), codes[:, codes_order])
        assert_close(student(photo(2), maps[:, order], codes[:, codes_order]), grid)
        codes[:, TINY.slots :] = 0
        assert float((student(photo(2), maps[:, order], codes) - grid).abs().max()) > 0.01


def assert_close(ours: Tensor, expected: Tensor, atol: float = 2e-5) -> None:
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=atol)


def test_empty_slots_do_not_count() -> None:
    student, encoder = networks(trained=True)
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        other = codes.clone()
        other[:, 1:] = torch.randn(
            1, TINY.slots + TINY.tones - 1, TINY.code, generator=torch.Generator().manual_seed(2)
        )
        assert_close(student(photo(2), whole(), other), student(photo(2), whole(), codes), atol=1e-6)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    student, encoder = networks(trained=True)
    both, maps = torch.cat([photo(1), photo(2)]), random_maps(2, TINY.slots, HALF).float()
    with torch.no_grad():
        grid = student(both, maps, encoder(both.flip(0), maps.flip(0)))
        alone = student(photo(2), maps[1:], encoder(photo(1), maps[:1]))
    assert_close(grid[1:], alone)


def test_a_regions_code_acts_inside_its_region() -> None:
    """A dark left half, a bright right half; the right one's reference changes."""
    student, encoder = networks()
    content = torch.cat([photo(3, 0.1, 0.3)[..., :32], photo(3, 0.7, 0.9)[..., 32:]], -1)
    maps = torch.zeros(1, TINY.slots, HALF, HALF)
    maps[:, 0, :, : HALF // 2], maps[:, 1, :, HALF // 2 :] = 1, 1
    with torch.no_grad():
        codes, other = encoder(content, maps), encoder(photo(5), whole())
        changed = codes.clone()
        changed[:, 1] = other[:, 0]
        before, after = (render(student(content, maps, c), content) for c in (codes, changed))
    change = (after - before).abs().mean(1)[0]
    assert float(change[:, 40:].mean()) > 0.1
    assert float(change[:, :24].mean()) < 0.02 * float(change[:, 40:].mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("maps", [whole(), nothing()], ids=["a region", "tones"])
def test_untrained_a_picture_in_its_own_light_stays_as_it_is(seed: int, maps: Tensor) -> None:
    student, encoder = networks()
    content = photo(seed)
    with torch.no_grad():
        output = render(student(content, maps, encoder(content, maps)), content)
    assert float((output - content).abs().max()) < 3e-3
    assert float((output - content).abs().mean()) < 1e-3


def test_untrained_the_output_has_the_moments_of_the_closed_form() -> None:
    """With the gate wide open, through grid and slice: the reference's mean, and its covariance but for the floors."""
    student, encoder = networks()
    last = student.pairing[2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 20.0)
    content, reference = photo(0, 0.3, 0.6), photo(4, 0.2, 0.7)
    with torch.no_grad():
        output = render(student(content, whole(), encoder(reference, whole())), content)
    quarters = [opponent(halve(halve(x))) for x in (content, reference, output)]
    moments = [region_moments(x, torch.ones(1, 1, 16, 16)) for x in quarters]
    before, wanted, after = (lower(factor[0, 0].numpy()) for _, factor in moments)
    transport, floor = wanted @ np.linalg.inv(before), np.diag(COVARIANCE_FLOOR)
    expected = transport @ (before @ before.T - floor) @ transport.T
    assert_close(moments[2][0], moments[1][0], atol=2e-3)
    np.testing.assert_allclose(after @ after.T - floor, expected, atol=1e-4)
    assert np.abs(expected - (before @ before.T - floor)).max() > 1e-3


def test_codes_begin_with_the_moments() -> None:
    _, encoder = networks()
    maps = random_maps(1, TINY.slots, HALF).float()
    with torch.no_grad():
        codes = encoder(photo(1), maps)
        mean, factor = region_moments(opponent(halve(halve(photo(1)))), halve(maps))
    assert_close(codes[:, : TINY.slots, :MOMENTS], torch.cat([mean, factor], -1), atol=1e-6)


def test_tones_divide_the_whole_reference_whatever_its_regions() -> None:
    _, encoder = networks()
    with torch.no_grad():
        codes, tones = encoder.encode(photo(1), whole())
        others, same = encoder.encode(photo(1), random_maps(1, TINY.slots, HALF).float())
        mean, factor = region_moments(opponent(halve(halve(photo(1)))), tones)
    assert tones.shape == (1, TINY.tones, 16, 16)
    assert float(tones.min()) > 0
    assert_close(tones.sum(1), torch.ones(1, 16, 16))
    assert_close(codes[:, TINY.slots :, :MOMENTS], torch.cat([mean, factor], -1), atol=1e-6)
    assert_close(others[:, TINY.slots :], codes[:, TINY.slots :])
    assert torch.equal(tones, same)


def test_pixels_look_at_the_tone_whose_key_they_match() -> None:
    """Attention written out: a softmax over dot products of embedded pixels with prototypes moved by the codes."""
    student, encoder = networks(trained=True)
    with torch.no_grad():
        codes = encoder(photo(1), nothing())
        _, attention = student.match(photo(2), nothing(), codes)
        _, embedded = student.trunk(photo(2))
    prototypes, bias = (x.detach().numpy() for x in (student.trunk.prototypes.weight, student.trunk.prototypes.bias))
    keys = codes[0, TINY.slots :].numpy() @ student.key.weight.detach().numpy().T + student.key.bias.detach().numpy()
    logits = np.einsum("ke,ehw->khw", prototypes + keys[:, :-1], embedded[0].numpy())
    logits = np.exp(logits + (bias + keys[:, -1])[:, None, None])
    np.testing.assert_allclose(attention[0].numpy(), logits / logits.sum(0), atol=1e-5)


def test_what_no_region_covers_takes_the_light_of_the_tones() -> None:
    """Left half in a region, right half in none: other tones change the right half alone."""
    student, encoder = networks()
    content = torch.cat([photo(3, 0.1, 0.3)[..., :32], photo(3, 0.7, 0.9)[..., 32:]], -1)
    maps = nothing()
    maps[:, 0, :, : HALF // 2] = 1
    with torch.no_grad():
        codes, other = encoder(content, maps), encoder(photo(5), maps)
        changed = codes.clone()
        changed[:, TINY.slots :] = other[:, TINY.slots :]
        before, after = (render(student(content, maps, c), content) for c in (codes, changed))
    change = (after - before).abs().mean(1)[0]
    assert float(change[:, 40:].mean()) > 0.1
    assert float(change[:, :24].mean()) < 0.04 * float(change[:, 40:].mean())


def test_cells_must_divide_the_maps() -> None:
    with pytest.raises(ValueError, match="cells is 12, expected a divisor of half the thumbnail, 128"):
        StudentConfig(cells=12)


def test_every_parameter_is_trained() -> None:
    """Two steps, as a last layer of zeros lets no gradient through."""
    student, encoder = networks(trained=True)
    maps = 0.5 * random_maps(1, TINY.slots, HALF).float()
    output = render(student(photo(1), maps, encoder(photo(2), maps)), photo(1))
    (output - photo(3)).square().mean().backward()
    for network in (student, encoder):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if not name.endswith(("first.weight", "first.bias")):  # behind a zero convolution at the start
                assert float(parameter.grad.abs().max()) > 0, name
