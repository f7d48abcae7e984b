"""Look-up tables of colours: what a look does to one picture or clip, as far as colour alone can say it.

A table (N, N, N, 3) float32, indexed by red, green, blue, holds what each sRGB colour becomes, trilinear in between. It
forgets where a colour lies in the picture: that is the price of a `.cube` file, which nearly every editor reads.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.ndimage import map_coordinates
from scipy.sparse.linalg import cg

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import whole_file, writable_place

SUFFIX = ".cube"
SAMPLES = 1 << 18
"""Pixels that a table is fitted to, at most."""


def identity_table(size: int) -> np.ndarray:
    """The table (size, size, size, 3) that leaves every colour as it is."""
    steps = np.linspace(0, 1, size, dtype=np.float32)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1)


def sample_pixels(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels of pairs of pictures (H, W, 3) uint8, about SAMPLES of `count` pairs: colours (n, 3) in [0, 1]
    before and after."""
    rng, each = np.random.default_rng(seed), max(1, SAMPLES // max(count, 1))
    before, after = [], []
    for a, b in pairs:
        chosen = rng.integers(0, a.shape[0] * a.shape[1], each)
        before.append(a.reshape(-1, 3)[chosen])
        after.append(b.reshape(-1, 3)[chosen])
    if not before:
        raise HueglassError("no picture to fit a table to, expected at least one")
    return np.concatenate(before).astype(np.float32) / 255, np.concatenate(after).astype(np.float32) / 255


def fit_table(before: np.ndarray, after: np.ndarray, size: int = 33, smoothness: float = 1e-3) -> np.ndarray:
    """The table nearest to what happened to colours (n, 3): least squares, smooth where no pixel says anything.

    Minimises |slice(table) - after|^2 + smoothness * n / size^2 * |second differences of table - identity|^2.
    """
    weights = _trilinear(before, size)
    bend = _second_differences(size)
    matrix = weights.T @ weights + (smoothness * len(before) / size**2) * (bend.T @ bend)
    matrix += 1e-6 * len(before) / size**3 * sparse.identity(size**3)  # what no pixel reaches goes nowhere
    right = weights.T @ (after - before).astype(np.float64)
    scale = sparse.diags(1 / matrix.diagonal())
    change = np.stack([cg(matrix, right[:, c], rtol=1e-4, maxiter=400, M=scale)[0] for c in range(3)], -1)
    return identity_table(size) + change.reshape(size, size, size, 3).astype(np.float32)


def apply_table(table: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 through the table, trilinear, as uint8."""
    places = image.astype(np.float32).transpose(2, 0, 1) * ((len(table) - 1) / 255)
    channels = [map_coordinates(table[..., c], places, order=1, mode="nearest") for c in range(3)]
    return np.floor(np.clip(np.stack(channels, -1), 0, 1) * 255 + 0.5).astype(np.uint8)


def write_cube(path: Path, table: np.ndarray, title: str) -> None:
    """The table as an Adobe .cube file, red fastest, values in [0, 1]. Errors as `writable_place` and `whole_file`."""
    writable_place(path, (SUFFIX,))
    safe = "".join(c for c in title if c.isprintable() and c != '"')[:200]
    lines = [f'TITLE "{safe}"', f"LUT_3D_SIZE {len(table)}", "DOMAIN_MIN 0 0 0", "DOMAIN_MAX 1 1 1"]
    rows = np.clip(table.transpose(2, 1, 0, 3), 0, 1).reshape(-1, 3)
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", errors="replace") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, rows, fmt="%.6f")


def _trilinear(colours: np.ndarray, size: int) -> sparse.csr_matrix:
    """Each colour's weights on the table's entries: (n, size^3)."""
    place = np.clip(colours, 0, 1) * (size - 1)
    low = np.minimum(place.astype(np.intp), size - 2)
    part = place - low
    index, weight = np.zeros((len(colours), 1), np.intp), np.ones((len(colours), 1))
    for axis in range(3):
        near, far = low[:, axis : axis + 1], part[:, axis : axis + 1]
        index = np.concatenate([index * size + near, index * size + near + 1], 1)
        weight = np.concatenate([weight * (1 - far), weight * far], 1)
    rows = np.repeat(np.arange(len(colours)), 8)
    return sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), (len(colours), size**3))


def _second_differences(size: int) -> sparse.csr_matrix:
    """Second differences of a table along its three axes, one below the other."""
    bend = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(size - 2, size))
    one = sparse.identity(size)
    along = [(bend, one, one), (one, bend, one), (one, one, bend)]
    return sparse.vstack([sparse.kron(sparse.kron(a, b), c) for a, b, c in along]).tocsr()
