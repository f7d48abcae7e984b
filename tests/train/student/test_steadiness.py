"""Steadiness: shaking is what it says, a student that cannot see is steady, one that looks at places is not."""

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor, nn

from hueglass.train.student.steadiness import NOISE, Shake, unsteadiness

SIZE, SHAPE = 64, (8, 16, 16, 12)
FLOOR = 1.5e-3
"""The Charbonnier distance of equal pictures is .001."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def smooth_pictures(count: int = 3) -> Tensor:
    return F.interpolate(torch.rand(count, 3, 5, 5), size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)


class Fixed(nn.Module):
    """Gives every picture the grid that `of` makes of it."""

    def __init__(self, of) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.of = of

    def forward(self, image: Tensor, maps: Tensor, codes: Tensor) -> Tensor:
        return self.of(image)


def brighter(image: Tensor) -> Tensor:
    """The same gain everywhere."""
    grid = torch.zeros(len(image), *SHAPE)
    grid[..., (0, 5, 10)] = 1.3
    return grid


def left_only(image: Tensor) -> Tensor:
    """A gain that stands where it stands, whatever moves."""
    grid = brighter(image)
    grid[:, :, :, 8:] = 0
    return grid


def by_one_pixel(image: Tensor) -> Tensor:
    return brighter(image) * (0.5 + image[:, :1, 31, 31, None, None, None])


def measured(of) -> float:  # type: ignore[no-untyped-def]
    content = smooth_pictures()
    inputs = (content, torch.zeros(3, 8, SIZE // 2, SIZE // 2), torch.zeros(3, 16, 8))
    found = [unsteadiness(Fixed(of), Shake.draw(3, content.device), *inputs, of(content)) for _ in range(20)]
    return float(torch.stack(found).mean())


def test_a_steady_student_is_at_the_floor_and_others_are_not() -> None:
    assert measured(brighter) < FLOOR
    assert measured(left_only) > 4 * FLOOR
    assert measured(by_one_pixel) > 4 * FLOOR


def test_a_shake_moves_by_what_it_says() -> None:
    picture = smooth_pictures(1)
    theta = torch.tensor([[[1.0, 0, 2 * 3 / SIZE], [0, 1.0, 0]]])  # three pixels further right is what comes here
    moved = Shake(theta, torch.zeros(1, 1, 1, 1)).move(picture)
    torch.testing.assert_close(moved[..., :-3], picture[..., 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., -3:], picture[..., -3:].flip(-1), atol=1e-5, rtol=0)


def test_noise_is_in_what_is_filmed_and_in_range() -> None:
    still = torch.eye(2, 3)[None]
    grey = torch.full((1, 3, SIZE, SIZE), 0.5)
    filmed = Shake(still, torch.full((1, 1, 1, 1), NOISE)).film(grey)
    assert float((filmed - grey).std()) == pytest.approx(NOISE, rel=0.05)
    black = Shake(still, torch.full((1, 1, 1, 1), NOISE)).film(torch.zeros(1, 3, SIZE, SIZE))
    assert float(black.min()) == 0
