"""The projection of an output on the bilateral grid: against plain least squares, and what it is to recover."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from hueglass.infer.grid.bilateral import IDENTITY, apply_affine, guide_map, identity_grid, slice_grid
from hueglass.train.teacher.projection import _slice_matrix, project_on_grid

Shape = tuple[int, int, int]
RECOLOUR = np.array([[0.8, 0.1, -0.1, 0.1], [0.05, 0.7, 0.2, 0.0], [-0.2, 0.3, 0.6, 0.15]])


def photo_like(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Patches of all brightnesses under grain: (H, W, 3) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.uniform(0, 1, (height // 4 + 1, width // 4 + 1, 3)), np.ones((4, 4, 1)))
    return np.clip(patches[:height, :width] + rng.normal(0, 0.05, (height, width, 3)), 0, 1).astype(np.float32)


def smooth_grid(shape: Shape, seed: int = 0) -> np.ndarray:
    """The identity under a change that is linear along each axis, and different for each coefficient."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    change = sum(axis[..., None] * rng.normal(0, 0.08, 12) for axis in (*axes, np.ones(shape)))
    return (IDENTITY + change).astype(np.float32)


def sliced(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
    return apply_affine(slice_grid(grid, guide_map(image)), image)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(a - b).mean()))


def slow_projection(content: np.ndarray, output: np.ndarray, shape: Shape, smoothness: float) -> np.ndarray:
    """One dense row for each pixel and for each coefficient of each pair of neighbouring vertices."""
    depth, rows, columns = shape
    vertices, pixels = depth * rows * columns, content[..., 0].size
    design = np.zeros((pixels, vertices, 4))
    for vertex in range(vertices):
        lit = np.zeros((vertices, 1))
        lit[vertex] = 1
        weight = slice_grid(np.repeat(lit.reshape(*shape, 1), 12, 3), guide_map(content))[..., :1]
        design[:, vertex] = (weight * np.dstack([content, np.ones_like(weight)])).reshape(-1, 4)
    differences = []
    for place in np.ndindex(shape):
        for axis in range(3):
            other = list(place)
            other[axis] += 1
            if other[axis] < shape[axis]:
                for k in range(4):
                    row = np.zeros((*shape, 4))
                    row[(*place, k)], row[(*other, k)] = -1, 1
                    differences.append(row.ravel() * np.sqrt(smoothness * pixels / vertices))
    left = np.concatenate([design.reshape(pixels, -1), np.stack(differences)])
    right = np.concatenate([(output - content).reshape(-1, 3), np.zeros((len(differences), 3))])
    change = np.linalg.lstsq(left, right)[0].reshape(*shape, 4, 3)
    return change.swapaxes(3, 4).reshape(*shape, 12) + IDENTITY


# Against the slow way


@pytest.mark.parametrize("shape", [(2, 3, 3), (4, 1, 2), (3, 5, 4)])
def test_each_vertex_weighs_what_a_grid_lit_there_alone_gives(shape: Shape) -> None:
    guide = guide_map(photo_like(9, 13))
    guide[0, :3] = (0, 1, 0.5)
    matrix = _slice_matrix(guide, shape)
    vertices = int(np.prod(shape))
    assert matrix.shape == (guide.size, vertices)
    for vertex in range(vertices):
        lit = np.zeros((vertices, 12), np.float32)
        lit[vertex] = 1
        expected = slice_grid(lit.reshape(*shape, 12), guide)[..., 0]
        np.testing.assert_allclose(matrix[:, [vertex]].toarray().reshape(guide.shape), expected, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("smoothness", [0.01, 0.05, 1.0])
@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 1)])
def test_the_grid_is_that_of_dense_least_squares(shape: Shape, smoothness: float) -> None:
    content, output = photo_like(12, 10), photo_like(12, 10, 1)
    expected = slow_projection(content.astype(np.float64), output, shape, smoothness)
    found = project_on_grid(content, output, shape, smoothness)
    assert found.shape == (*shape, 12)
    assert found.dtype == np.float32
    np.testing.assert_allclose(sliced(found, content), sliced(expected, content), atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=1e-3 if smoothness > 0.01 else 6e-3)


# What it recovers


@pytest.mark.parametrize("size", [(48, 64), (61, 47)])
def test_a_smooth_grid_is_recovered_from_its_own_slice(size: tuple[int, int]) -> None:
    content, grid = photo_like(*size), smooth_grid((8, 16, 16))
    output = sliced(grid, content)
    found = project_on_grid(content, output, smoothness=1e-3)
    assert psnr(sliced(found, content), output) > 45
    other = photo_like(*size, 7)  # the coefficients are right, and not only where they were seen
    assert psnr(sliced(found, other), sliced(grid, other)) > 35


def test_the_smoother_it_is_asked_for_the_smoother_and_the_farther_it_is() -> None:
    content, output = photo_like(40, 40), photo_like(40, 40, 1)
    grids = [project_on_grid(content, output, (4, 6, 6), smoothness) for smoothness in (0.003, 0.03, 0.3, 3)]
    rough = [sum(float(np.square(np.diff(grid, axis=axis)).sum()) for axis in range(3)) for grid in grids]
    near = [psnr(sliced(grid, content), output) for grid in grids]
    assert rough == sorted(rough, reverse=True)
    assert near == sorted(near, reverse=True)
    assert near[-1] > psnr(content, output)


def test_a_recolouring_by_one_affine_map_is_a_constant_grid() -> None:
    content = photo_like(40, 52)
    found = project_on_grid(content, content @ RECOLOUR[:, :3].T + RECOLOUR[:, 3])
    assert found.shape == (8, 16, 16, 12)
    np.testing.assert_allclose(found, np.broadcast_to(RECOLOUR.ravel(), found.shape), atol=0.01)


def test_the_content_itself_gives_the_identity() -> None:
    content = photo_like(33, 50)
    np.testing.assert_array_equal(project_on_grid(content, content), identity_grid())


def test_texture_that_no_grid_can_hold_is_left_behind() -> None:
    content = photo_like(48, 48)
    clean = sliced(smooth_grid((8, 16, 16)), content)
    noise = np.random.default_rng(3).normal(0, 0.1, content.shape)
    found = sliced(project_on_grid(content, clean + noise, (4, 4, 4)), content)
    assert psnr(found, clean) > psnr(clean + noise, clean) + 8


# Where little or nothing is said


def test_where_no_pixel_speaks_the_coefficients_follow_their_neighbours() -> None:
    content = np.clip(photo_like(48, 48), 0.3, 0.45)  # the brightest half of the depth is never seen
    found = project_on_grid(content, content * 0.5 + 0.2, (8, 4, 4), 0.05)
    wanted = np.array([[0.5, 0, 0, 0.2], [0, 0.5, 0, 0.2], [0, 0, 0.5, 0.2]]).ravel()
    assert np.abs(found).max() < 2
    np.testing.assert_allclose(found[4:], np.repeat(found[4:5], 4, 0), atol=0.01)
    shown = sliced(found, np.full((4, 4, 3), 0.9, np.float32))
    np.testing.assert_allclose(shown, 0.65, atol=0.03)
    np.testing.assert_allclose(found.mean((0, 1, 2)), wanted, atol=0.15)


@pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (0.6, 0.3, 0.2), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (30, 30)])
@pytest.mark.parametrize("shape", [(8, 16, 16), (1, 1, 1)])
def test_a_picture_of_one_colour_becomes_the_colour_asked_for(
    colour: tuple[float, ...], size: tuple[int, int], shape: Shape
) -> None:
    content = np.broadcast_to(np.float32(colour), (*size, 3)).copy()
    output = np.broadcast_to(np.float32((0.2, 0.5, 0.9)), content.shape)
    found = project_on_grid(content, output, shape)
    assert np.isfinite(found).all()
    assert np.abs(found - IDENTITY).max() < 1.5
    np.testing.assert_allclose(sliced(found, content), output, atol=0.01)
