"""The matting Laplacian loss against the matrix of Levin et al. 2006, built entry by entry."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from hueglass.infer.errors import UsageError
from hueglass.train.matting_laplacian import MattingLaplacian, box, laplacian_energy, laplacian_matrix

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


SHAPES = [(1, (7, 6)), (2, (6, 7)), (1, (3, 3)), (1, (3, 9)), (2, (12, 5))]


def pictures(height: int, width: int) -> dict[str, np.ndarray]:
    """Noisy, smooth, constant, and black next to white: (3, H, W) float64."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return {
        "photo": photo_like(height, width),
        "ramp": np.stack([0.2 + 0.5 * x, 0.9 - 0.6 * y, 0.3 + x * y]),
        "constant": np.full((3, height, width), 0.7),
        "edge": np.repeat((x > 0.4)[None].astype(float), 3, 0),
    }


def prepared(image: np.ndarray, dtype: torch.dtype = torch.float64, **options: float) -> MattingLaplacian:
    return MattingLaplacian(torch.from_numpy(image)[None].to(dtype), **options)


def sparse(image: np.ndarray, **options: float) -> np.ndarray:
    return laplacian_matrix(image.transpose(1, 2, 0), **options).toarray()


@pytest.mark.parametrize(("radius", "shape"), SHAPES)
def test_the_sparse_matrix_is_that_of_the_triple_loop(radius: int, shape: tuple[int, int]) -> None:
    for name, image in pictures(*shape).items():
        expected, _ = matrix(image, radius)
        np.testing.assert_allclose(sparse(image, eps=EPS, radius=radius), expected, atol=1e-10, err_msg=name)
    expected, _ = matrix(photo_like(*shape), radius, eps=1e-7)
    np.testing.assert_allclose(sparse(photo_like(*shape), radius=radius), expected, atol=1e-10)


def test_the_sparse_matrix_is_a_laplacian() -> None:
    for image in pictures(11, 8).values():
        laplacian = sparse(image)
        np.testing.assert_array_equal(laplacian, laplacian.T)
        np.testing.assert_allclose(laplacian.sum(1), 0, atol=1e-13)
        assert np.linalg.eigvalsh(laplacian).min() > -1e-12


def test_pixels_farther_apart_than_a_window_have_no_entry() -> None:
    found = laplacian_matrix(photo_like(9, 10).transpose(1, 2, 0))
    row, column = found.nonzero()
    assert found.shape == (90, 90)
    assert np.abs(row // 10 - column // 10).max() == 2
    assert np.abs(row % 10 - column % 10).max() == 2


def test_bands_of_rows_make_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo_like(23, 9)
    whole = sparse(image, radius=2)
    monkeypatch.setattr("hueglass.train.matting_laplacian.BAND", 5)
    np.testing.assert_allclose(sparse(image, radius=2), whole, atol=1e-13)


@pytest.mark.parametrize("eps", [1e-4, 1e-7])
@pytest.mark.parametrize(("radius", "shape"), [*SHAPES, (1, (17, 31)), (2, (20, 11))])
def test_the_matrix_free_form_is_that_of_the_sparse_matrix(radius: int, shape: tuple[int, int], eps: float) -> None:
    output = np.random.default_rng(1).random((3, *shape))
    v = output.reshape(3, -1).T
    for image in pictures(*shape).values():
        laplacian = laplacian_matrix(image.transpose(1, 2, 0), eps, radius)
        found = prepared(image, eps=eps, radius=radius)
        product = found.apply(torch.from_numpy(output)[None])[0].reshape(3, -1).numpy()
        np.testing.assert_allclose(product, (laplacian @ v).T, atol=1e-11)
        (total,) = found.energy(torch.from_numpy(output)[None])
        assert float(total) == pytest.approx(float((v * (laplacian @ v)).sum()), rel=1e-11)


def test_the_energy_is_that_of_the_loss_times_its_window_pixels() -> None:
    image, output = photo_like(14, 19), np.random.default_rng(3).random((3, 14, 19))
    (total,) = prepared(image, eps=EPS).energy(torch.from_numpy(output)[None])
    assert float(total) == pytest.approx(energy(image, output) * 12 * 17 * 9, rel=1e-9)


def test_affine_functions_of_the_picture_have_no_more_than_the_ridges_energy() -> None:
    image = photo_like(24, 32)
    output = torch.from_numpy(recoloured(image, LINEAR))[None]
    windows = 22 * 30
    assert 0 < float(prepared(image).energy(output)) < 1e-7 * float((LINEAR**2).sum()) * windows
    assert float(prepared(image, eps=1e-12).energy(output)) < 1e-8
    assert float(prepared(image).energy(torch.full((1, 3, 24, 32), 0.3, dtype=torch.float64))) == 0


def test_gradients_of_the_energy_are_those_of_finite_differences() -> None:
    images = torch.from_numpy(np.stack([photo_like(6, 7), photo_like(6, 7, seed=1)]))
    output = torch.from_numpy(np.random.default_rng(2).random((2, 3, 6, 7))).requires_grad_()
    laplacian = MattingLaplacian(images)
    assert torch.autograd.gradcheck(laplacian.energy, (output,))
    assert torch.autograd.gradcheck(laplacian.apply, (output,))
    (gradient,) = torch.autograd.grad(laplacian.energy(output).sum(), output)
    torch.testing.assert_close(gradient, 2 * laplacian.apply(output.detach()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_picture_of_a_batch_has_its_own_matrix(dtype: torch.dtype) -> None:
    images = torch.from_numpy(np.stack([photo_like(13, 9, seed) for seed in range(3)])).to(dtype)
    outputs = torch.from_numpy(np.random.default_rng(4).random((3, 3, 13, 9))).to(dtype)
    together = MattingLaplacian(images)
    for k in range(3):
        alone = MattingLaplacian(images[k : k + 1])
        torch.testing.assert_close(together.apply(outputs)[k], alone.apply(outputs[k : k + 1])[0])
        torch.testing.assert_close(together.energy(outputs)[k], alone.energy(outputs[k : k + 1])[0])
    assert together.energy(outputs).dtype == dtype


def test_single_precision_carries_the_eps_of_the_paper() -> None:
    """Even where the energy is the ridge's alone, and where the picture is flat."""
    ramp = pictures(96, 128)["ramp"]
    blown = np.clip(photo_like(96, 128) * np.linspace(0.5, 3, 128), 0, 1)
    for image in (photo_like(96, 128, seed=9), ramp, blown):
        image = image.astype(np.float32).astype(float)
        noise = np.random.default_rng(5).normal(0, 1e-3, image.shape)
        for output, rel in ((recoloured(image, LINEAR), 0.01), (image, 0.01), (image + noise, 1e-4)):
            v = torch.from_numpy(output.astype(np.float32))[None]
            single, double = prepared(image, torch.float32), prepared(image)
            expected = float(double.energy(v.double()))
            assert float(single.energy(v)) == pytest.approx(expected, rel=rel)
            difference = single.apply(v).double() - double.apply(v.double())
            assert float(difference.abs().max()) < 1e-6


def test_a_picture_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(UsageError, match="is 4x2, expected at least 3x3"):
        prepared(np.zeros((3, 2, 4)))
