"""The local affine reconstruction and the repair of posterisation, each against the slow, obvious way."""

from math import exp

import cv2
import numpy as np
import pytest
from support.places import DATA

pytest.importorskip("torch")

from hueglass.train.teacher.finishing import guided_filter, local_affine_reconstruction, posterisation_repair

LINEAR = np.array([[0.8, 0.1, -0.1], [0.05, 0.7, 0.2], [-0.2, 0.3, 0.6]])


def photo_like(height: int, width: int, seed: int = 0, grain: float = 0.02) -> np.ndarray:
    """Soft shading, hard edges and grain: (H, W, 3) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    shade = np.stack([0.3 + 0.3 * x, 0.5 - 0.2 * y, 0.4 + 0.2 * x * y], 2)
    patches = np.kron(rng.uniform(-0.3, 0.3, (height // 6 + 1, width // 6 + 1, 3)), np.ones((6, 6, 1)))
    noisy = shade + patches[:height, :width] + rng.normal(0, grain, (height, width, 3))
    return np.clip(noisy, 0, 1).astype(np.float32)


def recoloured(image: np.ndarray) -> np.ndarray:
    return (image @ LINEAR.T + 0.1).astype(np.float32)


def around(image: np.ndarray, y: int, x: int, radius: int) -> tuple[slice, slice]:
    """The window about (y, x), cut off at the picture's edge."""
    return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)


def slow_fit(content: np.ndarray, output: np.ndarray, y: int, x: int) -> np.ndarray:
    """The map (4, 3) of a 3x3 window: least squares with one more row per unknown for the ridge of 1e-3."""
    window = around(content, y, x, 1)
    colours = content[window].reshape(-1, 3)
    left = np.vstack([np.hstack([colours, np.ones((len(colours), 1))]), np.sqrt(1e-3) * np.eye(4)])
    right = np.vstack([output[window].reshape(-1, 3), np.zeros((4, 3))])
    return np.linalg.lstsq(left, right)[0]


def slow_reconstruction(content: np.ndarray, output: np.ndarray, radius: int, range_sigma: float) -> np.ndarray:
    content, output = content.astype(float), output.astype(float)
    height, width, _ = content.shape
    fits = np.array([[slow_fit(content, output, y, x) for x in range(width)] for y in range(height)])
    result = np.empty_like(content)
    for y, x in np.ndindex(height, width):
        total, weights = np.zeros((4, 3)), 0.0
        for v in range(max(0, y - radius), min(height, y + radius + 1)):
            for u in range(max(0, x - radius), min(width, x + radius + 1)):
                colour = ((content[v, u] - content[y, x]) ** 2).mean()
                place = (v - y) ** 2 + (u - x) ** 2
                weight = exp(-place / (2 * (radius / 3) ** 2)) * exp(-colour / (2 * range_sigma**2))
                total += weight * fits[v, u]
                weights += weight
        result[y, x] = [*content[y, x], 1] @ total / weights
    return result


@pytest.mark.parametrize(
    ("shape", "radius", "range_sigma"), [((9, 11), 15, 0.01), ((21, 13), 4, 0.05), ((1, 5), 2, 0.2)]
)
def test_reconstruction_is_that_of_the_slow_loop(
    shape: tuple[int, int], radius: int, range_sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = photo_like(*shape)
    output = np.random.default_rng(1).random((*shape, 3)).astype(np.float32)
    expected = slow_reconstruction(content, output, radius, range_sigma)
    found = local_affine_reconstruction(content, output, radius, range_sigma)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)
    monkeypatch.setattr("hueglass.train.teacher.finishing.BAND", 4)
    np.testing.assert_allclose(local_affine_reconstruction(content, output, radius, range_sigma), found, atol=1e-6)


def test_an_affine_recolouring_is_reconstructed() -> None:
    """But for the ridge, which takes contrast from fine grain: 1e-3 against nine times its variance, here 4e-4."""
    content = photo_like(40, 50)
    found = local_affine_reconstruction(content, recoloured(content))
    assert np.abs(found - recoloured(content)).max() < 0.02
    assert np.abs(found - recoloured(content)).mean() < 0.003


def test_noise_that_the_content_lacks_is_taken_out() -> None:
    """A window of nine fits four unknowns to it and would keep two thirds; the smoothing of the maps does the rest."""
    content = photo_like(40, 50, grain=0.002)
    noise = np.random.default_rng(2).normal(0, 0.05, content.shape).astype(np.float32)
    error = local_affine_reconstruction(content, recoloured(content) + noise) - recoloured(content)
    assert error.std() < noise.std() / 4


def test_reconstruction_does_not_clip() -> None:
    content = photo_like(24, 24)
    found = local_affine_reconstruction(content, 2 * content - 0.5)
    np.testing.assert_allclose(found, 2 * content - 0.5, atol=0.04)
    assert found.min() < -0.2
    assert found.max() > 1.1


def slow_guided_filter(guide: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """By the definition: each window's ridge regression of `image` on `guide`, averaged over the windows of a pixel."""
    guide, image = guide.astype(float), image.astype(float)
    total, count = np.zeros_like(image), np.zeros(image.shape[:2])
    for y, x in np.ndindex(*image.shape[:2]):
        window = around(guide, y, x, radius)
        colours = guide[window].reshape(-1, 3)
        ones = np.ones((len(colours), 1))
        ridge = np.sqrt(len(colours) * eps) * np.eye(3, 4)
        left = np.vstack([np.hstack([colours, ones]), ridge])
        right = np.vstack([image[window].reshape(len(colours), -1), np.zeros((3, image.shape[2]))])
        a = np.linalg.lstsq(left, right)[0]
        total[window] += guide[window] @ a[:3] + a[3]
        count[window] += 1
    return total / count[..., None]


@pytest.mark.parametrize(("radius", "eps", "channels"), [(2, 0.01, 3), (3, 1e-4, 1), (8, 0.01, 4)])
def test_guided_filter_is_that_of_the_windows(radius: int, eps: float, channels: int) -> None:
    guide = photo_like(14, 11)
    image = np.random.default_rng(3).random((14, 11, channels)).astype(np.float32)
    found = guided_filter(guide, image, radius, eps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_guided_filter(guide, image, radius, eps), atol=1e-6)


def test_guided_filter_smooths_grain_and_keeps_edges() -> None:
    guide = np.full((40, 40, 3), 0.2, np.float32)
    guide[:, 20:] = 0.8
    grainy = guide + np.random.default_rng(4).normal(0, 0.02, guide.shape).astype(np.float32)
    found = guided_filter(grainy, grainy, 8, 0.01)
    assert found[:, :16].std() < 0.3 * grainy[:, :16].std()
    assert (found[:, 20:24].mean(0) - found[:, 16:20].mean(0)).min() > 0.5


def flat_share(image: np.ndarray) -> float:
    """Share of neighbours in a row that are alike, less than half a step of 8 bits apart in every channel."""
    return float((np.abs(np.diff(image, axis=1)).max(2) < 0.5 / 255).mean())


def test_repair_lowers_the_banding_of_a_posterised_gradient() -> None:
    """A sky with its grain, and an output that lost the grain to eight flat bands."""
    ramp = np.linspace(0.3, 0.8, 128)[None, :, None] * np.array([0.6, 0.8, 1.0])
    grain = np.random.default_rng(5).normal(0, 0.01, (64, 128, 3))
    content = (ramp + grain).astype(np.float32)
    banded = np.broadcast_to(np.round(ramp * 16) / 16, content.shape).astype(np.float32)
    repaired = posterisation_repair(content, banded)
    assert flat_share(banded) > 0.8
    assert flat_share(repaired) < 0.02
    steps = [np.diff(image, axis=1) for image in (content, banded, repaired)]
    assert np.abs(steps[2] - steps[0]).mean() < 0.5 * np.abs(steps[1] - steps[0]).mean()
    # Only detail is put back: the colours of whole areas stay.
    middle = slice(16, -16), slice(16, -16)
    moved = cv2.blur(repaired, (33, 33)) - cv2.blur(banded, (33, 33))
    assert np.abs(moved[middle]).max() < 5e-3


def test_repair_adds_what_the_filter_takes_from_the_content() -> None:
    content, output = photo_like(20, 30), photo_like(20, 30, seed=1)
    detail = content - slow_guided_filter(content, content, 8, 0.01)
    np.testing.assert_allclose(posterisation_repair(content, output), output + detail, atol=1e-6)
    flat = np.full((20, 30, 3), 0.4, np.float32)
    np.testing.assert_allclose(posterisation_repair(flat, output), output, atol=1e-6)


def photograph(kind: str) -> np.ndarray:
    """A pair's photograph at half size, (H, W, 3) float32 sRGB in [0, 1]."""
    folder = DATA
    path = folder / "dpst" / kind / "01.jpg"
    if not path.exists():
        pytest.skip(f"{path}: the photographs are not here")
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (350, 218), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def test_the_authors_result_is_nearly_its_own_reconstruction() -> None:
    """It came out of this very step, so that doing it again must not change much."""
    content, official = photograph("content"), photograph("official")
    again = local_affine_reconstruction(content, official)
    assert np.abs(again - official).mean() < 0.01  # the content is 0.43 off
    assert np.abs(np.diff(again, axis=1)).mean() > 0.8 * np.abs(np.diff(official, axis=1)).mean()
