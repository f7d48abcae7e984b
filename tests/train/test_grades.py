"""Random photographic grades: what every dial promises."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pydantic import ValidationError
from torch import Tensor

from hueglass.train.grades import GradeConfig, grade, grade_regions, random_grades

DIALS = 16
EXPOSURE, BALANCE, GAMMA, CONTRAST, SATURATION, HUE = 0, slice(1, 4), 4, 5, 6, 7
BLACK, WHITE = 14, 15


def pictures(count: int = 2, size: int = 32) -> Tensor:
    """Random colours, with black, white and the primaries among them."""
    image = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    corners = torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0])]).T
    image[:, :, 0, :8] = corners
    return image


def dials(count: int = 2, **values: float) -> Tensor:
    """Neutral dials (count, 16) but for those given."""
    out = torch.zeros(count, DIALS)
    for name, value in values.items():
        out[:, globals()[name.upper()]] = value
    return out


def halves(count: int = 2, size: int = 16) -> Tensor:
    maps = torch.zeros(count, 2, size, size)
    maps[:, 0, :, : size // 2] = 1
    maps[:, 1, :, size // 2 :] = 1
    return maps


def graded(image: Tensor, settings: Tensor) -> Tensor:
    return grade(image, settings[..., None, None])


def test_neutral_dials_change_nothing() -> None:
    """But for black: powers are kept away from zero, which lifts it by half a level of 8 bits."""
    image = pictures()
    np.testing.assert_allclose(graded(image, dials()).numpy(), image.numpy(), atol=0.5 / 255)
    light = image.clamp_min(0.01)
    np.testing.assert_allclose(graded(light, dials()).numpy(), light.numpy(), atol=1e-5)


def test_exposure_is_a_factor_on_linear_light() -> None:
    image = 0.1 + 0.4 * pictures()
    stop = graded(image, dials(exposure=math.log(2)))
    np.testing.assert_allclose(stop.numpy(), (2 * image**2.2).numpy() ** (1 / 2.2), atol=1e-5)


def test_gamma_and_contrast() -> None:
    image = 0.1 + 0.8 * pictures()
    np.testing.assert_allclose(graded(image, dials(gamma=math.log(1.5))).numpy(), image.numpy() ** 1.5, atol=1e-5)
    curved = graded(image, dials(contrast=1.0))
    np.testing.assert_allclose(curved.numpy(), (image**2 * (3 - 2 * image)).numpy(), atol=1e-5)


def test_no_saturation_is_grey_and_hue_leaves_greys_alone() -> None:
    image = 0.2 + 0.6 * pictures()
    drained = graded(image, dials(saturation=-30.0))
    assert float((drained.amax(1) - drained.amin(1)).max()) < 1e-5
    greys = image[:, :1].expand(-1, 3, -1, -1)
    np.testing.assert_allclose(graded(greys, dials(hue=1.0)).numpy(), greys.numpy(), atol=1e-5)


def test_a_third_of_a_turn_of_hue_exchanges_the_channels() -> None:
    image = torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)
    turned = graded(image, dials(1, hue=2 * math.pi / 3))
    chroma = turned - (image * torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    expected = (image - image.mul(torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1, True)).roll(1, 1)
    np.testing.assert_allclose(chroma.numpy(), expected.numpy(), atol=1e-5)


def test_black_and_white_points() -> None:
    ends = torch.tensor([0.01, 1.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2)
    out = graded(ends, dials(1, black=0.1, white=0.2))
    np.testing.assert_allclose(out[0, 0, 0].numpy(), [0.1 + 0.7 * 0.01, 0.8], atol=1e-4)


def test_grades_stay_in_range_and_are_finite() -> None:
    image = pictures(64, 8)
    settings = 2 * random_grades((64,), GradeConfig(), torch.Generator().manual_seed(0))
    image.requires_grad_()
    out = graded(image, settings)
    assert 0 <= float(out.detach().min()) <= float(out.detach().max()) <= 1
    out.sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_one_tone_is_the_plain_grade() -> None:
    image = pictures()
    settings = random_grades((2, 1), GradeConfig(), torch.Generator().manual_seed(2))
    out = grade_regions(image, halves(), settings.expand(2, 2, DIALS))
    np.testing.assert_array_equal(out.numpy(), graded(image, settings[:, 0]).numpy())


def test_one_tone_beside_a_local_grade_is_the_plain_grade_too() -> None:
    """In a batch with local grades, dials go through the maps: equal ones come out as they went in."""
    image = pictures()
    settings = random_grades((2, 2), GradeConfig(), torch.Generator().manual_seed(3))
    settings[0, 1] = settings[0, 0]
    out = grade_regions(image, halves(), settings)
    np.testing.assert_allclose(out[0].numpy(), graded(image, settings[:, 0])[0].numpy(), atol=1e-5)


def test_a_local_grade_stays_in_its_region() -> None:
    image = pictures()
    before = random_grades((2, 2), GradeConfig(), torch.Generator().manual_seed(4))
    after = before.clone()
    after[:, 1] = random_grades((2,), GradeConfig(), torch.Generator().manual_seed(5))
    first, second = grade_regions(image, halves(), before), grade_regions(image, halves(), after)
    np.testing.assert_array_equal(first[..., :15].numpy(), second[..., :15].numpy())
    assert float((first - second)[..., 17:].abs().mean()) > 0.03
    np.testing.assert_allclose(first[..., :15].numpy(), graded(image, before[:, 0])[..., :15].numpy(), atol=1e-5)
    np.testing.assert_allclose(first[..., 17:].numpy(), graded(image, before[:, 1])[..., 17:].numpy(), atol=1e-5)


def test_a_generator_decides_everything() -> None:
    draws = [random_grades((3, 4), GradeConfig(), torch.Generator().manual_seed(seed)) for seed in (6, 6, 7)]
    assert draws[0].shape == (3, 4, DIALS)
    np.testing.assert_array_equal(draws[0].numpy(), draws[1].numpy())
    assert float((draws[0] - draws[2]).abs().max()) > 0.1


def test_spreads_are_those_of_the_configuration() -> None:
    config = GradeConfig(
        exposure=0.1, balance=0.2, gamma=0.3, contrast=0.4, saturation=0.5, hue=0.6, tint=0.7, black=0.25
    )
    drawn = random_grades((20000,), config, torch.Generator().manual_seed(8))
    spread = np.array([0.1, *3 * [0.2], 0.3, 0.4, 0.5, 0.6, *6 * [0.7]])
    normal, points = drawn[:, :14].numpy(), drawn[:, 14:].numpy()
    np.testing.assert_allclose(normal.std(0), spread, rtol=0.04)
    np.testing.assert_allclose(normal.mean(0), 0, atol=0.03 * spread.max())
    assert (np.abs(normal) <= 2.5 * spread + 1e-6).all()
    assert points.min() >= 0
    assert points.max() <= 0.25
    np.testing.assert_allclose(points.mean(0), 0.125, rtol=0.03)


def test_unknown_and_negative_dials_are_refused() -> None:
    with pytest.raises(ValidationError, match="sepia"):
        GradeConfig.model_validate({"sepia": 1})
    with pytest.raises(ValidationError, match="exposure"):
        GradeConfig.model_validate({"exposure": -1})
