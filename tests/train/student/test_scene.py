"""Scenes seen twice: what is the same everywhere is consistent, what stands on the screen or in a frame is not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor

from hueglass.train.sampling import Crop, motion
from hueglass.train.student.network import StudentConfig, new_networks
from hueglass.train.student.scene import HEAVIEST, inconsistency, remembered, seen_again

SIZE, COUNT = 64, 4
FLOOR = 2e-3
"""The Charbonnier distance of equal pictures is .001; one that is seen from further is sharper."""
WHOLE = Crop(0, 0, 1, 1, False)
VIEWS = {
    "still": (Crop(0.2, 0.2, 0.5, 0.5, False), Crop(0.2, 0.2, 0.5, 0.5, False)),
    "turned": (Crop(0.1, 0.1, 0.5, 0.5, False), Crop(0.3, 0.2, 0.5, 0.5, False)),
    "nearer": (Crop(0.1, 0.1, 0.8, 0.8, False), Crop(0.4, 0.2, 0.4, 0.5, False)),
    "further": (Crop(0.1, 0.1, 0.5, 0.6, False), Crop(0.2, 0.2, 0.7, 0.7, False)),
    "mirrored": (Crop(0.1, 0.1, 0.6, 0.6, True), Crop(0.2, 0.2, 0.5, 0.5, True)),
}
"""First and second crop of one photograph."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def scene() -> Tensor:
    """Smooth pictures (COUNT, 3, 8 SIZE, 8 SIZE)."""
    return F.interpolate(torch.rand(COUNT, 3, 5, 5), size=(8 * SIZE, 8 * SIZE), mode="bicubic").clamp(0, 1)


def moves(first: Crop, second: Crop) -> Tensor:
    return torch.from_numpy(motion(first, second))[None].expand(COUNT, 2, 3)


def seen(scene: Tensor, crop: Crop) -> Tensor:
    """What a crop shows, read off between the scene's pixels."""
    places = F.affine_grid(moves(WHOLE, crop), [COUNT, 3, SIZE, SIZE], align_corners=False)
    return F.grid_sample(scene, places, padding_mode="border", align_corners=False)


def brighter(view: Tensor) -> Tensor:
    """The same gain everywhere."""
    return 1.3 * view


def left_only(view: Tensor) -> Tensor:
    """A gain that stands where it stands, whatever moves."""
    return torch.cat([1.3 * view[..., : SIZE // 2], view[..., SIZE // 2 :]], -1)


def by_one_pixel(view: Tensor) -> Tensor:
    """A gain that depends on what stands at one place of the frame."""
    return view * (0.5 + view[:, :1, 31:32, 31:32])


@pytest.mark.parametrize("views", VIEWS)
def test_what_is_the_same_everywhere_is_at_the_floor(scene: Tensor, views: str) -> None:
    first, second = (seen(scene, crop) for crop in VIEWS[views])
    motions = moves(*VIEWS[views])
    assert float(inconsistency(first, brighter(first), second, brighter(second), motions)) < FLOOR
    assert float(inconsistency(first, first + 0.2, second, second + 0.2, motions)) < FLOOR


@pytest.mark.parametrize("views", ["turned", "nearer"])
def test_what_depends_on_the_screen_or_on_the_frame_is_above_it(scene: Tensor, views: str) -> None:
    first, second = (seen(scene, crop) for crop in VIEWS[views])
    for restyled in (left_only, by_one_pixel):
        assert float(inconsistency(first, restyled(first), second, restyled(second), moves(*VIEWS[views]))) > 4 * FLOOR


def test_only_what_both_show_is_compared(scene: Tensor) -> None:
    """The second view shows the left half of the first one in its own right half; beyond, anything may happen."""
    first, second = (seen(scene, Crop(left, 0.2, 0.4, 0.5, False)) for left in (0.4, 0.2))
    motions = moves(Crop(0.4, 0.2, 0.4, 0.5, False), Crop(0.2, 0.2, 0.4, 0.5, False))
    wild = second.clone()
    wild[..., : SIZE // 2] = torch.rand(COUNT, 3, SIZE, SIZE // 2)
    assert float(inconsistency(first, first, second, wild, motions)) < FLOOR
    wild[..., -SIZE // 4 :] += 0.5
    assert float(inconsistency(first, first, second, wild, motions)) == pytest.approx((1e-3 + 0.5) / 2, rel=0.01)


def test_views_without_anything_in_common_cost_nothing() -> None:
    far = torch.tensor([[1.0, 0, 5], [0, 1, 0]]).expand(COUNT, 2, 3)
    output = torch.rand(COUNT, 3, SIZE, SIZE, requires_grad=True)
    loss = inconsistency(torch.rand(COUNT, 3, SIZE, SIZE), output, torch.rand(COUNT, 3, SIZE, SIZE), output, far)
    loss.backward()
    assert float(loss.detach()) == 0
    assert output.grad is not None
    assert not bool(output.grad.any())


def test_a_motion_is_what_it_says() -> None:
    """Three pixels further right, and five below, is what the second view shows: the change is looked for there."""
    first, output = torch.rand(2, COUNT, 3, SIZE, SIZE)
    right, down = 3, 5
    motions = torch.tensor([[1.0, 0, 2 * right / SIZE], [0, 1.0, 2 * down / SIZE]]).expand(COUNT, 2, 3)
    second, again = (torch.rand_like(first) for _ in range(2))
    common = (..., slice(SIZE - down), slice(SIZE - right))
    moved = (output - first)[..., down:, right:]
    gaps = np.sqrt((again[common] - second[common] - moved).numpy() ** 2 + 1e-6)
    assert float(inconsistency(first, output, second, again, motions)) == pytest.approx(gaps.mean(), rel=1e-4)


def test_a_memory_weighs_one_to_many_frames_and_is_the_same_mixture() -> None:
    sums = torch.rand(500, 3, 7) + 0.1
    weights = remembered(sums) / sums
    assert 1 <= float(weights.min()) < 1.2
    assert 0.8 * HEAVIEST < float(weights.max()) <= HEAVIEST * (1 + 1e-5)
    assert_all_equal(weights.flatten(1))
    assert float(weights[:, 0, 0].log().mean()) == pytest.approx(np.log(HEAVIEST) / 2, rel=0.1)


def assert_all_equal(rows: Tensor) -> None:
    np.testing.assert_allclose(rows.numpy(), rows[:, :1].expand_as(rows).numpy(), rtol=1e-5)


def test_the_second_view_is_seen_with_a_memory_of_the_first() -> None:
    """Of a picture in bright and dark: with what was seen first, the second is not taken for all there is."""
    config = StudentConfig(thumbnail=64, tones=3, cells=8, code=32, width=16, hidden=24, pair=16, embedding=8)
    student, encoder = new_networks(config)
    scene = F.interpolate(torch.rand(1, 3, 5, 5), size=(64, 64), mode="bicubic").clamp(0, 1)
    view, maps = 0.5 * scene, torch.zeros(1, config.slots, 32, 32)
    maps[:, 0] = 1
    with torch.no_grad():
        codes = encoder(scene.flip(1), maps)
        first = student.see(scene, maps, codes)
        torch.manual_seed(5)
        again = seen_again(student, first, view, maps, codes)
        torch.manual_seed(5)
        wanted = student.see(view, maps, codes, remembered(first.sums))
        alone = student.see(view, maps, codes)
    for ours, theirs in zip(again, wanted, strict=True):
        assert torch.equal(ours, theirs)
    near, far = (float((x.coefficients - first.coefficients).abs().mean()) for x in (again, alone))
    assert near < 0.7 * far
