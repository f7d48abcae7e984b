"""Patches of feature maps and their nearest neighbours, held against loops; the transfer on an untrained network."""

import numpy as np
import pytest

pytest.importorskip("torchvision")

import torch
from pydantic import ValidationError
from torch import Tensor

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.features import Features, random_features
from hueglass.train.teacher import cnnmrf as module
from hueglass.train.teacher.cnnmrf import CnnMrfConfig, MrfEnergy, cnnmrf, mrf_loss, nearest, patches
from hueglass.train.teacher.lbfgs import minimise

SMALL = CnnMrfConfig(size=64, evaluations=8)


@pytest.fixture(scope="module")
def features() -> Features:
    return random_features("squeezenet", 0)


def maps(seed: int, height: int = 6, width: int = 7) -> Tensor:
    """Activations (1, 4, height, width) in double precision, positive as after a ReLU."""
    return torch.rand(1, 4, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def photo(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Patches and grain (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.uniform(40, 210, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))
    return (blocks[:height, :width] + rng.uniform(-20, 20, (height, width, 3))).astype(np.uint8)


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def slow_patches(activations: Tensor, size: int, stride: int) -> list[Tensor]:
    _, _, h, w = activations.shape
    corners = [(y, x) for y in range(0, h - size + 1, stride) for x in range(0, w - size + 1, stride)]
    return [activations[0, :, y : y + size, x : x + size].flatten() for y, x in corners]


def slow_nearest(ours: list[Tensor], style: list[Tensor]) -> list[int]:
    """Equation 3 as it is written."""
    return [max(range(len(style)), key=lambda j: float(p @ style[j]) / float(p.norm() * style[j].norm())) for p in ours]


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1), (2, 3)])
def test_patches_are_those_of_a_loop(size: int, stride: int) -> None:
    expected = torch.stack(slow_patches(maps(0), size, stride), 1)
    torch.testing.assert_close(patches(maps(0), size, stride), expected, rtol=0, atol=0)


@pytest.mark.parametrize("scores", [1, 50, 1 << 24])
def test_the_nearest_patches_are_those_of_a_loop(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the patches are gone through in parts; brightness is not what decides."""
    monkeypatch.setattr(module, "MAX_SCORES", scores)
    ours, style = maps(0), maps(1, 8, 5) * torch.linspace(0.1, 9, 5, dtype=torch.float64)
    expected = slow_nearest(slow_patches(ours, 3, 1), slow_patches(style, 3, 2))
    assert nearest(patches(ours, 3), patches(style, 3, 2)).tolist() == expected
    assert len(set(expected)) > 2


def test_the_loss_is_the_distance_to_the_nearest_patch_of_a_loop() -> None:
    ours, style = slow_patches(maps(0), 3, 1), slow_patches(maps(1, 8, 5), 3, 1)
    distances = [(p - style[j]).square().sum() for p, j in zip(ours, slow_nearest(ours, style), strict=True)]
    sizes = [q.square().sum() for q in style]
    expected = torch.stack(distances).mean() / torch.stack(sizes).mean()
    loss = mrf_loss(patches(maps(0), 3), patches(maps(1, 8, 5), 3))
    torch.testing.assert_close(loss, expected[None])


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    style = patches(maps(1, 8, 5), 3)
    assert torch.autograd.gradcheck(lambda x: mrf_loss(patches(x, 3), style), maps(0).requires_grad_())


def test_a_picture_made_of_its_own_patches_has_no_energy(features: Features) -> None:
    picture = tensor(photo(0))
    energy = MrfEnergy(picture, picture, features, CnnMrfConfig(stride=1, tv_weight=0))
    assert energy(picture).shape == (1,)
    assert float(energy(picture)) == pytest.approx(0, abs=1e-9)
    assert float(energy(tensor(photo(1)))) > 0.01


def test_the_energy_is_the_weighted_sum_of_its_terms(features: Features) -> None:
    content, style, image = (tensor(photo(n)) for n in range(3))
    style_term = float(MrfEnergy(content, style, features, CnnMrfConfig(content_weight=0, tv_weight=0))(image))
    found, wanted = (features(x, ["fire6"])["fire6"] for x in (image, content))
    content_term = float((found - wanted).square().sum() / wanted.square().sum())
    steps = [np.diff(photo(2).astype(float), axis=axis) for axis in (0, 1)]
    tv = sum((s**2).sum() for s in steps) / photo(2).size / 2
    total = float(MrfEnergy(content, style, features, CnnMrfConfig(content_weight=0.5, tv_weight=1e-3))(image))
    assert total == pytest.approx(style_term + 0.5 * content_term + 1e-3 * tv, rel=1e-4)


def test_the_energy_falls(features: Features) -> None:
    content, style = tensor(photo(0)), tensor(photo(1))
    energy = MrfEnergy(content, style, features, CnnMrfConfig())
    found = minimise(energy, content, 30)
    assert float(found.energies) < 0.75 * float(energy(content))
    assert float(energy(found.x)) == pytest.approx(float(found.energies), rel=1e-4)


@pytest.mark.parametrize("style", [photo(1), photo(1, 100, 52)], ids=["same size", "other size"])
def test_the_output_is_nearer_to_the_patches_of_the_style_than_the_content_was(
    style: np.ndarray, features: Features
) -> None:
    content = photo(0)
    out = cnnmrf(content, style, features, CnnMrfConfig(size=64, evaluations=20, content_weight=0, tv_weight=0))
    assert out.shape == content.shape
    assert out.dtype == np.uint8
    energy = MrfEnergy(tensor(content), tensor(style), features, CnnMrfConfig(content_weight=0, tv_weight=0))
    assert float(energy(tensor(out))) < 0.8 * float(energy(tensor(content)))


def test_the_output_has_the_size_of_the_content_and_is_the_same_every_time(features: Features) -> None:
    content, style = photo(0, 120, 90), photo(1)
    out = cnnmrf(content, style, features, SMALL)
    assert out.shape == (120, 90, 3)
    np.testing.assert_array_equal(cnnmrf(content, style, features, SMALL), out)
    assert (content == photo(0, 120, 90)).all()


def test_the_content_weight_keeps_the_content(features: Features) -> None:
    content, style = photo(0), photo(1)
    gaps = []
    for weight in (0.0, 100.0):
        out = cnnmrf(content, style, features, CnnMrfConfig(size=64, evaluations=15, content_weight=weight))
        found, wanted = (features(tensor(x), ["fire6"])["fire6"] for x in (out, content))
        gaps.append(float((found - wanted).square().mean()))
    assert gaps[1] < 0.5 * gaps[0]


def test_it_runs_on_vgg_with_the_layers_of_the_paper() -> None:
    out = cnnmrf(photo(0), photo(1), random_features("vgg19", 0), CnnMrfConfig(size=64, evaluations=2))
    assert out.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (CnnMrfConfig(layers=("fire3", "relu3_1")), "relu3_1"),
        (CnnMrfConfig(content_layer="fire10"), "fire10"),
        (CnnMrfConfig(size=64, layers=("fire9",)), "feature maps of 3x2"),
    ],
)
def test_a_layer_that_does_not_do_is_named_in_one_line(config: CnnMrfConfig, named: str, features: Features) -> None:
    with pytest.raises(UsageError, match=named) as error:
        cnnmrf(photo(0), photo(1), features, config)
    assert "\n" not in str(error.value)


def test_weights_that_overflow_are_an_error_not_a_picture(features: Features) -> None:
    with pytest.raises(HueglassError, match="the energy is not a number from the start"):
        cnnmrf(photo(0), photo(1), features, SMALL.model_copy(update={"tv_weight": float("inf")}))


@pytest.mark.parametrize("narrow", [(20, 64), (300, 30)])
def test_a_picture_too_narrow_for_patches_is_refused(narrow: tuple[int, int], features: Features) -> None:
    for content, style in ((photo(0, *narrow), photo(1)), (photo(1), photo(0, *narrow))):
        with pytest.raises(UsageError, match="expected 32 or more"):
            cnnmrf(content, style, features, SMALL)


@pytest.mark.parametrize("wrong", [{"rotations": 3}, {"size": 4096}, {"layers": ()}, {"patch": 0}, {"tv_weight": -1}])
def test_the_configuration_is_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CnnMrfConfig.model_validate(wrong)
