"""The bilateral grid that comes nearest to a given output: least squares, smooth where the picture says nothing.

Sliced through the grid, the content at any size takes the light of an output that was made at a small one; and what
no grid can hold, such as invented texture, is left behind.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from hueglass.infer.grid.bilateral import GRID_SHAPE, IDENTITY, guide_map


def project_on_grid(
    content: np.ndarray, output: np.ndarray, shape: tuple[int, int, int] = GRID_SHAPE[:3], smoothness: float = 0.05
) -> np.ndarray:
    """Coefficients (gd, gh, gw, 12) float32 whose slice takes `content` nearest to `output`, both (H, W, 3) in [0, 1].

    Minimises sum_pixels |slice(grid) content - output|^2 + `smoothness` * (pixels a vertex) * sum of squared
    differences of neighbouring vertices. The three output channels share one matrix.
    """
    weights = _slice_matrix(guide_map(content), shape)
    colours = np.concatenate([content.reshape(-1, 3), np.ones((content[..., 0].size, 1))], 1).astype(np.float64)
    matrix = _normal_matrix(weights, colours)
    share = smoothness * len(colours) / weights.shape[1]
    matrix += share * sparse.kron(_difference_matrix(shape), sparse.identity(4)).tocsr()
    residual = output.reshape(-1, 3).astype(np.float64) - colours[:, :3]
    scale = sparse.diags(1 / np.maximum(matrix.diagonal(), 1e-12))  # black alone, in one cell, says nothing of a colour
    right = np.stack([weights.T @ (colours[:, k : k + 1] * residual) for k in range(4)], 1).reshape(-1, 3)
    columns = [cg(matrix, right[:, c], rtol=1e-4, maxiter=2000, M=scale)[0] for c in range(3)]
    change = np.stack(columns, 1).reshape(-1, 4, 3).transpose(0, 2, 1)
    return (change.reshape(*shape, 12) + IDENTITY).astype(np.float32)


def _slice_matrix(guide: np.ndarray, shape: tuple[int, int, int]) -> sparse.csr_matrix:
    """Each pixel's trilinear weights on the vertices, (pixels, vertices): the slice of the contract as a matrix."""
    height, width = guide.shape
    depth, rows, columns = shape
    y, x = np.mgrid[:height, :width]
    places = (guide * depth, (y + 0.5) * rows / height, (x + 0.5) * columns / width)
    axes = [_tent(p.ravel(), cells) for p, cells in zip(places, shape, strict=True)]
    index, weight = np.zeros((guide.size, 1), np.intp), np.ones((guide.size, 1))
    for (low, high, fraction), cells in zip(axes, shape, strict=True):
        index = np.concatenate([index * cells + low[:, None], index * cells + high[:, None]], 1)
        weight = np.concatenate([weight * (1 - fraction)[:, None], weight * fraction[:, None]], 1)
    pixels = np.repeat(np.arange(guide.size), 8)
    return sparse.csr_matrix((weight.ravel(), (pixels, index.ravel())), (guide.size, depth * rows * columns))


def _tent(position: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two cells around each position, clamped, and the second one's weight."""
    centred = np.clip(position - 0.5, 0, cells - 1)
    low = np.minimum(centred.astype(np.intp), max(cells - 2, 0))
    return low, np.minimum(low + 1, cells - 1), centred - low


def _normal_matrix(weights: sparse.csr_matrix, colours: np.ndarray) -> sparse.csr_matrix:
    """A^T A of the design matrix A, whose columns are (vertex, colour channel or 1), channel fastest."""
    total: sparse.csr_matrix = None
    for a in range(4):
        for b in range(a, 4):
            block = weights.T @ weights.multiply((colours[:, a] * colours[:, b])[:, None])
            spot = np.zeros((4, 4))
            spot[a, b] = spot[b, a] = 1
            part = sparse.kron(block, spot, format="csr")
            total = part if total is None else total + part
    return total


def _difference_matrix(shape: tuple[int, int, int]) -> sparse.csr_matrix:
    """D^T D of the differences D between neighbouring vertices along all three axes."""
    total = sparse.csr_matrix((int(np.prod(shape)),) * 2)
    for axis, cells in enumerate(shape):
        d = sparse.diags([-np.ones(cells - 1), np.ones(cells - 1)], [0, 1], shape=(cells - 1, cells))
        before, after = sparse.identity(int(np.prod(shape[:axis]))), sparse.identity(int(np.prod(shape[axis + 1 :])))
        total = total + sparse.kron(sparse.kron(before, d.T @ d), after)
    return total.tocsr()
