"""The network: what it measures, its closed-form start, and the symmetries it promises."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from support.region_sums import measured, random_maps
from torch import Tensor

from hueglass.train.bilateral import depth_tents, render
from hueglass.train.student.network import (
    LookEncoder,
    Student,
    StudentConfig,
    between,
    filled,
    filling,
    gaussian_transport,
    halve,
    merge,
    mixed,
    new_networks,
    shares,
    splat,
)
from hueglass.train.student.sums import COVARIANCE_FLOOR, MOMENTS, OPPONENT, averages
from hueglass.train.student.weights import load_weights, save_weights

TINY = StudentConfig(thumbnail=64, tones=3, cells=4, code=32, width=16, hidden=24, pair=16, embedding=8)
HALF = TINY.thumbnail // 2
FINE = TINY.model_copy(update={"cells": 2 * TINY.context})
"""Two cells of the grid along each side of one in which the network thinks."""


def networks(config: StudentConfig = TINY, trained: bool = False) -> tuple[Student, LookEncoder]:
    """Untrained networks; `trained` ones have last layers that say something."""
    torch.manual_seed(0)
    student, encoder = new_networks(config)
    if trained:
        torch.nn.init.normal_(student.delta.weight, std=0.1)
        torch.nn.init.normal_(student.key.weight, std=0.3)
        torch.nn.init.normal_(student.curve.weight, std=0.1)
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
    expected = np.zeros((2, depth, cells, cells, 4))
    for b, y, x in np.ndindex(2, 12, 12):
        z = min(max(guide[b, y, x] * depth - 0.5, 0), depth - 1)
        for plane in range(depth):
            weight = max(0.0, 1 - abs(z - plane))
            expected[b, plane, y // 4, x // 4] += weight * values[b, :, y, x]
    np.testing.assert_allclose(splat(torch.from_numpy(values), tents, cells).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(tents.sum(1).numpy(), 1, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_merged_vertices_are_those_of_larger_cells(factor: int) -> None:
    """What is splatted into fine cells and added up is what is splatted into coarse ones."""
    rng = np.random.default_rng(2)
    values, guide = torch.from_numpy(rng.random((2, 4, 12, 12))), torch.from_numpy(rng.random((2, 12, 12)))
    tents = depth_tents(guide, 5)
    merged = merge(splat(values, tents, 6), factor)
    assert merged.shape == (2, 5, 6 // factor, 6 // factor, 4)
    np.testing.assert_allclose(merged.numpy(), splat(values, tents, 6 // factor).numpy(), atol=1e-12)


def test_filling_is_a_tenth_of_the_neighbours_and_a_hundredth_of_the_frame() -> None:
    """The mean of the 27 vertices around each, none beyond the grid, and of all of them: written out."""
    volume = np.random.default_rng(3).random((2, 4, 5, 5, 3))
    expected = np.zeros_like(volume)
    for b, z, y, x, dz, dy, dx in np.ndindex(2, 4, 5, 5, 3, 3, 3):
        there = (b, z + dz - 1, y + dy - 1, x + dx - 1)
        if all(0 <= i < n for i, n in zip(there[1:], (4, 5, 5), strict=True)):
            expected[b, z, y, x] += 0.1 * volume[there] / 27
    expected += 0.01 * volume.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(filling(torch.from_numpy(volume)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2])
def test_what_lies_around_is_shared_by_the_fine_cells_of_a_coarse_one(factor: int) -> None:
    rng = np.random.default_rng(4)
    fine, around = rng.random((2, 3, 3 * factor, 3 * factor, 4)), rng.random((2, 3, 3, 3, 4))
    expected = fine.copy()
    for b, z, y, x in np.ndindex(fine.shape[:-1]):
        expected[b, z, y, x] += around[b, z, y // factor, x // factor] / factor**2
    found = filled(torch.from_numpy(fine), torch.from_numpy(around))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    coarse = merge(torch.from_numpy(fine), factor)
    np.testing.assert_allclose(merge(found, factor).numpy(), (coarse + torch.from_numpy(around)).numpy(), atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2])
def test_what_is_full_is_kept_and_what_is_empty_is_filled(factor: int) -> None:
    """One full vertex of the first of two kinds among full ones of the second, all in one depth plane of four."""
    cells, depth = 6 * factor, 4
    volume = torch.zeros(1, depth, cells, cells, 2)
    volume[0, 0, ..., 1] = 64
    lonely = (2 * factor, 3 * factor)
    volume[0, 0, *lonely] = torch.tensor([64.0, 0.0])
    full = filled(volume, filling(merge(volume, factor)))[0]
    mixture = full / full.sum(-1, keepdim=True)
    assert float(mixture[0, *lonely, 0]) > 0.95
    assert float(mixture[0, 0, 0, 1]) > 0.99
    assert float(full[0].sum(-1).min()) > 64
    assert float(full.sum(-1).min()) > 0
    far = mixture[3].reshape(-1, 2)
    np.testing.assert_allclose(far.numpy(), np.tile([1 / cells**2, 1 - 1 / cells**2], (cells**2, 1)), atol=1e-6)
    assert float(mixture[1, *lonely, 0]) > 2 / cells**2


def test_filling_is_exact_inside_a_uniform_volume() -> None:
    ones = torch.ones(1, 5, 5, 5, 1)
    assert float(filled(ones, filling(ones))[0, 2, 2, 2]) == pytest.approx(1.11)


def test_shares_are_those_of_the_regions_alone() -> None:
    """Vertices hold regions, then colours and all mass; one without any region has no share of any."""
    vertices = torch.rand(2, 3, 4, 4, 5 + 4, dtype=torch.float64)
    vertices[0, 1, 2, 3, :5] = 0
    expected = vertices[..., :5].numpy() / (vertices[..., :5].numpy().sum(-1, keepdims=True) + 1e-4)
    np.testing.assert_allclose(shares(vertices).numpy(), expected, atol=1e-12)
    np.testing.assert_array_equal(shares(vertices)[0, 1, 2, 3].numpy(), 0)


def test_maps_are_mixed_at_every_depth_by_what_shares_a_vertex() -> None:
    rng = np.random.default_rng(5)
    parts, maps = rng.random((2, 3, 4, 4, 5)), rng.random((2, 3, 5, 12))
    found = mixed(torch.from_numpy(parts), torch.from_numpy(maps))
    np.testing.assert_allclose(found.numpy(), np.einsum("bdyxr,bdrk->bdyxk", parts, maps), atol=1e-12)


@pytest.mark.parametrize(("n", "factor"), [(4, 1), (4, 2), (3, 4), (16, 2)])
def test_between_cells_is_bilinear_interpolation(n: int, factor: int) -> None:
    """Along both sides in turn, as the student uses it."""
    coarse = torch.rand(2, 5, n, n)
    weights = between(n, factor)
    assert weights.shape == (n * factor, n)
    found = torch.matmul(torch.matmul(weights, coarse), weights.T)
    expected = F.interpolate(coarse, scale_factor=float(factor), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("config", [TINY, FINE], ids=["cells are context", "cells are finer"])
def test_untrained_every_cell_has_the_exact_transport_of_the_one_region(config: StudentConfig) -> None:
    """Full or empty, dark or bright: what shares a vertex are the maps of one region, and nothing is added."""
    student, encoder = networks(config)
    last = student.pairing[2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        grid = student(photo(2), whole(), codes)[0]
        moments = measured(halve(halve(photo(2))), torch.ones(1, 1, 16, 16))[..., :MOMENTS]
        gate = torch.full((1, 1, 1), 1.0).sigmoid()
        exact = gaussian_transport(moments[..., :3], moments[..., 3:], codes[:, :1, :MOMENTS], gate)[0, 0]
        full = student.vertices(halve(photo(2)), whole())[0, ..., -1] > 1
    assert grid.shape == (config.depth, config.cells, config.cells, 12)
    off = (grid - exact).abs().amax(-1) / exact.abs().max()
    assert float(off.max()) < 0.01
    assert float(off[full].max()) < 2e-4
    assert 0.2 < float(full.float().mean()) < 0.8


def test_finer_cells_tell_apart_what_coarse_ones_mix() -> None:
    """A border in the middle of a coarse cell: half of either map there; in the fine cells, a whole one in each."""
    maps = nothing()
    border = HALF * 5 // FINE.cells
    maps[:, 0, ..., :border], maps[:, 1, ..., border:] = 1, 1
    found = []
    for config in (TINY, FINE):
        student, encoder = networks(config)
        with torch.no_grad():
            codes, other = encoder(photo(1), whole()), encoder(photo(5), whole())
            codes[:, 1] = other[:, 0]
            sight = student.see(photo(2, 0.4, 0.6), maps, codes)
            ours, theirs = student.pair(sight.sums, codes)[1][0, 4, :2]
        way = (theirs - ours) / (theirs - ours).square().sum()
        found.append(((sight.coefficients[0, 4].mean(0) - ours) @ way).numpy())
    np.testing.assert_allclose(found[0], [0, 0, 0.5, 1], atol=0.03)
    np.testing.assert_allclose(found[1], [0] * 5 + [1] * 3, atol=0.03)


def test_the_network_thinks_in_its_own_cells_and_its_correction_is_interpolated() -> None:
    """The same networks with finer cells: what they add is what they add in coarse ones, between these."""
    grids, added = [], []
    for config in (TINY, FINE):
        student, encoder = networks(config, trained=True)
        torch.nn.init.zeros_(student.curve.weight)
        with torch.no_grad():
            codes = encoder(photo(1), whole())
            grids.append(student(photo(2), whole(), codes))
            torch.nn.init.zeros_(student.delta.weight)
            added.append((grids[-1] - student(photo(2), whole(), codes))[0])
    expected = F.interpolate(added[0].permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
    assert_close(added[1], expected, atol=1e-4)
    assert float(expected.abs().max()) > 0.1


def test_the_curve_is_a_map_for_every_depth_of_all_of_a_region() -> None:
    """At first it is nothing; what it says is added to the closed form wherever the region lies."""
    student, encoder = networks()
    assert all(not bool(parameter.any()) for parameter in student.curve.parameters())
    curve = torch.randn(TINY.depth, 12, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        before = student(photo(2), whole(), codes)[0]
        student.curve.bias.copy_(curve.flatten())
        after = student(photo(2), whole(), codes)[0]
    assert_close(after - before, curve[:, None, None].expand_as(after), atol=0.01)


@pytest.mark.parametrize("cells", [None, 4, 8, 16])
def test_weights_do_for_any_number_of_cells(tmp_path: Path, cells: int | None) -> None:
    student, encoder = networks(trained=True)
    save_weights(tmp_path, student, encoder, {})
    again, encoder_again, _ = load_weights(tmp_path, cells=cells)
    assert again.config == TINY.model_copy(update={"cells": cells or TINY.cells})
    for ours, theirs in ((student, again), (encoder, encoder_again)):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        coarse, fine = (render(s(photo(2), whole(), codes), photo(2)) for s in (student, again))
    assert float((coarse - fine).abs().mean()) < 0.02


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
    quarters = [halve(halve(x)) for x in (content, reference, output)]
    moments = [measured(x, torch.ones(1, 1, 16, 16))[..., :MOMENTS].split([3, 6], -1) for x in quarters]
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
        moments = measured(halve(halve(photo(1))), halve(maps))[..., :MOMENTS]
    assert_close(codes[:, : TINY.slots, :MOMENTS], moments, atol=1e-6)


def test_tones_divide_the_whole_reference_whatever_its_regions() -> None:
    _, encoder = networks()
    with torch.no_grad():
        codes, tones = encoder.encode(photo(1), whole())
        others, same = encoder.encode(photo(1), random_maps(1, TINY.slots, HALF).float())
        bare, _ = encoder.encode(photo(1), nothing())
        moments = measured(halve(halve(photo(1))), tones)[..., :MOMENTS]
    assert tones.shape == (1, TINY.tones, 16, 16)
    assert float(tones.min()) > 0
    assert_close(tones.sum(1), torch.ones(1, 16, 16))
    assert_close(codes[:, TINY.slots :, :MOMENTS], moments, atol=1e-6)
    for other in (others, bare):
        assert_close(other[:, TINY.slots :], codes[:, TINY.slots :])
    assert torch.equal(tones, same)


def test_pixels_look_at_the_tone_whose_key_they_match() -> None:
    """Attention written out: a softmax over dot products of embedded pixels with prototypes moved by the codes."""
    student, encoder = networks(trained=True)
    with torch.no_grad():
        codes = encoder(photo(1), nothing())
        attention = student.see(photo(2), nothing(), codes).attention
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


def test_cells_must_be_a_multiple_of_those_in_which_the_network_thinks() -> None:
    with pytest.raises(ValueError, match="cells is 32, expected at most 12 or a multiple of it"):
        StudentConfig(thumbnail=192, cells=32)
    assert [StudentConfig(cells=cells).context for cells in (8, 16, 32, 64)] == [8, 16, 16, 16]


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


def test_a_memory_of_nothing_changes_nothing_and_one_of_the_frame_itself_hardly_anything() -> None:
    student, encoder = networks(trained=True)
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        sight = student.see(photo(2), whole(), codes)
        again = student.see(photo(2), whole(), codes, torch.zeros_like(sight.sums))
        known = student.see(photo(2), whole(), codes, 1000 * sight.sums)
    assert sight.sums.shape == (1, TINY.slots + TINY.tones + 1, student.remembered)
    for found, wanted in zip(again, sight, strict=True):
        assert torch.equal(found, wanted)
    assert_close(known.coefficients, sight.coefficients, atol=1e-4)
    assert_close(known.sums, sight.sums, atol=1e-5)


def test_sums_count_the_whole_picture_once() -> None:
    student, encoder = networks(trained=True)
    with torch.no_grad():
        sums = student.see(photo(2), nothing(), encoder(photo(1), nothing())).sums
    assert_close(sums[:, :-1, 0].sum(1), torch.ones(1))
    assert_close(sums[:, -1, 0], torch.ones(1))
    assert_close(sums[:, :-1, :42].sum(1), sums[:, -1, :42], atol=1e-5)


def test_with_a_memory_of_the_scene_a_window_of_it_is_treated_as_the_scene_is() -> None:
    """Untrained, the closed form is all there is: what a region becomes depends on the sums alone."""
    student, encoder = networks()
    scene, window = photo(5), photo(6, 0.5, 0.6)
    with torch.no_grad():
        codes = encoder(photo(1), whole())
        sums = student.see(scene, whole(), codes).sums
        wanted = student.pair(sums, codes)[1][:, :, 0]
        alone = student.see(window, whole(), codes).coefficients
        known = student.see(window, whole(), codes, 1e4 * sums).coefficients
    assert_close(known, wanted[:, :, None, None].expand_as(known), atol=2e-3)
    assert float((alone - known).abs().max()) > 0.1


def test_what_surrounds_a_window_is_remembered_too() -> None:
    """The features of a picture stand in its surroundings, of which the memory's last row tells."""
    student, encoder = networks(trained=True)
    torch.nn.init.normal_(student.trunk.surroundings.weight)
    torch.nn.init.normal_(student.trunk.prototypes.weight, std=30)
    with torch.no_grad():
        codes = encoder(photo(1), nothing())
        scene, window = (student.see(x, nothing(), codes) for x in (photo(5, 0.6, 1), photo(6, 0, 0.4)))
        known = student.see(photo(6, 0, 0.4), nothing(), codes, 1e6 * scene.sums)
        levels = student.trunk.look(photo(6, 0, 0.4))
        _, embedded = student.trunk.place(levels, averages(scene.sums)[:, -1])
        wanted = student.trunk.tones(embedded, student.key(codes[:, TINY.slots :]))
    assert_close(known.attention, wanted, atol=1e-5)
    assert float((known.attention - window.attention).abs().max()) > 1e-3
