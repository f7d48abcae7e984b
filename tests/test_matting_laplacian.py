"""The matting Laplacian loss against the matrix of Levin et al. 2006, built entry by entry."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from hueglass.train.matting_laplacian import box, laplacian_energy  # noqa: E402

EPS = 1e-4


def photo_like(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft shading, hard edges and grain: (3, H, W) float64 in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    shade = np.stack([0.3 + 0.3 * x, 0.5 - 0.2 * y, 0.4 + 0.2 * x * y])
    patches = np.kron(rng.uniform(-0.3, 0.3, (3, height // 4 + 1, width // 4 + 1)), np.ones((4, 4)))
    return np.clip(shade + patches[:, :height, :width] + rng.normal(0, 0.02, (3, height, width)), 0, 1)


def matrix(image: np.ndarray, radius: int, eps: float = EPS) -> tuple[np.ndarray, int]:
    """Levin's Laplacian (H W, H W) of an image (3, H, W), and the number of its windows.

    L_ij = sum over windows w with i and j of  delta_ij - 1/|w| (1 + (I_i - mu)^T (Sigma + eps/|w|)^-1 (I_j - mu)).
    """
    _, height, width = image.shape
    size, windows = 2 * radius + 1, 0
    laplacian = np.zeros((height * width,) * 2)
    for top in range(height - size + 1):
        for left in range(width - size + 1):
            place = [(y, x) for y in range(top, top + size) for x in range(left, left + size)]
            colours = np.array([image[:, y, x] for y, x in place])
            centred = colours - colours.mean(0)
            inverse = np.linalg.inv(centred.T @ centred / len(place) + eps / len(place) * np.eye(3))
            for i, (yi, xi) in enumerate(place):
                for j, (yj, xj) in enumerate(place):
                    entry = float(i == j) - (1 + centred[i] @ inverse @ centred[j]) / len(place)
                    laplacian[yi * width + xi, yj * width + xj] += entry
            windows += 1
    return laplacian, windows


def quadratic(image: np.ndarray, output: np.ndarray, radius: int = 1) -> float:
    """sum_c V_c^T L V_c per window and window pixel."""
    laplacian, windows = matrix(image, radius)
    total = sum(float(v @ laplacian @ v) for v in output.reshape(3, -1))
    return total / (windows * (2 * radius + 1) ** 2)


def energy(image: np.ndarray, output: np.ndarray, dtype: torch.dtype = torch.float64, **options: float) -> float:
    return float(laplacian_energy(*(torch.from_numpy(x)[None].to(dtype) for x in (image, output)), **options))


def recoloured(image: np.ndarray, linear: np.ndarray, offset: float = 0.1) -> np.ndarray:
    return np.einsum("ij,jhw->ihw", linear, image) + offset


LINEAR = np.array([[0.8, 0.1, -0.1], [0.05, 0.7, 0.2], [-0.2, 0.3, 0.6]])


@pytest.mark.parametrize(("radius", "shape"), [(1, (7, 6)), (2, (6, 7)), (1, (3, 3))])
def test_is_the_quadratic_form_of_the_matrix(radius: int, shape: tuple[int, int]) -> None:
    image = photo_like(*shape)
    output = np.random.default_rng(1).random((3, *shape))
    expected = quadratic(image, output, radius)
    assert expected > 1e-3
    assert energy(image, output, radius=radius) == pytest.approx(expected, rel=1e-9)


def test_is_the_quadratic_form_on_smooth_outputs_too() -> None:
    """Where the energy is small it comes from cancellation."""
    image = photo_like(8, 8, seed=3)
    output = recoloured(image, LINEAR) + 0.01 * np.random.default_rng(4).random(image.shape)
    assert energy(image, output) == pytest.approx(quadratic(image, output), rel=1e-7)


def test_a_batch_is_averaged() -> None:
    images = [photo_like(9, 8, seed) for seed in (5, 6)]
    outputs = [np.random.default_rng(seed).random((3, 9, 8)) for seed in (7, 8)]
    together = float(laplacian_energy(*(torch.from_numpy(np.stack(x)) for x in (images, outputs))))
    assert together == pytest.approx(np.mean([energy(i, o) for i, o in zip(images, outputs, strict=True)]), rel=1e-12)


def test_affine_recolourings_cost_no_more_than_the_ridge() -> None:
    """What a ridge of eps/9 leaves of an affine map A is at most eps/9 |A|^2, and without a ridge nothing."""
    image = photo_like(24, 32)
    output = recoloured(image, LINEAR)
    bound = EPS / 9 * float((LINEAR**2).sum())
    assert 0 <= energy(image, output) < bound
    assert energy(image, output, eps=1e-11) < 1e-9
    assert energy(image, np.full_like(image, 0.3)) < 1e-15


def test_a_smeared_picture_costs_much_more_than_a_recoloured_one() -> None:
    image = photo_like(24, 32)
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
    smeared = box(torch.from_numpy(padded)[None], 5)[0].numpy()
    assert smeared.shape == image.shape
    assert energy(image, smeared) > 5 * energy(image, recoloured(image, LINEAR))
    assert energy(image, smeared) > 2e-5


def test_gradients_are_those_of_finite_differences() -> None:
    image = torch.from_numpy(photo_like(6, 7))[None].requires_grad_()
    output = torch.from_numpy(np.random.default_rng(2).random((1, 3, 6, 7))).requires_grad_()
    assert torch.autograd.gradcheck(laplacian_energy, (image, output), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("bright", [0.0, 0.5, 1.0])
def test_single_precision_is_close_on_flat_pictures(bright: float) -> None:
    flat = np.full((3, 32, 32), bright)
    noise = flat + np.random.default_rng(0).normal(0, 0.02, flat.shape)
    assert energy(flat, flat, torch.float32) < 1e-9
    # A flat picture explains nothing: all the output's variance (8/9 of it within a window of nine) is left.
    assert energy(flat, noise, torch.float32) == pytest.approx(3 * 0.02**2 * 8 / 9, rel=0.1)
    assert energy(flat, noise, torch.float32) == pytest.approx(energy(flat, noise), rel=1e-4)


def test_single_precision_is_close_on_a_photograph() -> None:
    image = photo_like(64, 64, seed=9)
    for output in (recoloured(image, LINEAR), np.clip(image**0.6, 0, 1), np.roll(image, 1, 2)):
        assert energy(image, output, torch.float32) == pytest.approx(energy(image, output), rel=0.01, abs=1e-8)


def test_single_precision_gradients_are_finite_everywhere() -> None:
    for image in (np.zeros((3, 16, 16)), np.ones((3, 16, 16)), photo_like(16, 16)):
        output = torch.from_numpy(image)[None].float().requires_grad_()
        laplacian_energy(torch.from_numpy(image)[None].float(), output).backward()
        assert isinstance(output.grad, Tensor)
        assert torch.isfinite(output.grad).all()


def test_box_is_the_mean_of_the_windows_inside() -> None:
    x = torch.arange(24, dtype=torch.float64).reshape(1, 1, 4, 6)
    expected = [[float(x[0, 0, i : i + 3, j : j + 3].mean()) for j in range(4)] for i in range(2)]
    np.testing.assert_allclose(box(x, 3)[0, 0].numpy(), expected)
