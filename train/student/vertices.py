"""The vertices of a bilateral grid: what lies at each of them, and what regions that share them make of it.

Arrays over vertices are (B, depth, cells, cells, K); of K numbers the first R are the masses of regions, then come the
sums of three colours, and last the mass of all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def enlarge(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def splat(values: Tensor, tents: Tensor, cells: int) -> Tensor:
    """Sum values (B, K, H, W) into the vertices of a bilateral grid: (B, depth, cells, cells, K).

    `tents` (B, depth, H, W) are the weights along depth; along x and y every pixel falls in its own cell.
    """
    sums = torch.matmul(_tiles(tents, cells), _tiles(values, cells).transpose(2, 3))
    return sums.transpose(1, 2).unflatten(2, (cells, cells))


def _tiles(x: Tensor, cells: int) -> Tensor:
    """(B, K, H, W) cut into cells: (B, cells * cells, K, pixels of a cell)."""
    b, k, h, w = x.shape
    tiles = x.reshape(b, k, cells, h // cells, cells, w // cells).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(b, cells * cells, k, (h // cells) * (w // cells))


def merge(vertices: Tensor, factor: int) -> Tensor:
    """Vertices (B, depth, n, n, K) added up in cells `factor` times as large."""
    if factor == 1:
        return vertices
    b, d, n, _, k = vertices.shape
    return vertices.reshape(b, d, n // factor, factor, n // factor, factor, k).sum((3, 5))


def filling(vertices: Tensor) -> Tensor:
    """What vertices (B, depth, n, n, K) that hold few pixels are filled with: a tenth of what lies around them, a
    hundredth of the frame. A full vertex keeps its own mixture."""
    b, d, n, _, k = vertices.shape
    volume = vertices.permute(0, 4, 1, 2, 3)
    # Across, then along depth, as two flat means: runtimes are at home in four dimensions.
    across = F.avg_pool2d(volume.reshape(b, k * d, n, n), 3, 1, 1)
    near = F.avg_pool2d(across.reshape(b, k, d, n * n), (3, 1), 1, (1, 0)).reshape(b, k, d, n, n)
    return (0.1 * near + 0.01 * volume.mean((2, 3, 4), keepdim=True)).permute(0, 2, 3, 4, 1)


def filled(vertices: Tensor, around: Tensor) -> Tensor:
    """Vertices (B, depth, n, n, K) filled with what lies `around` them in the same cells, or in larger ones."""
    b, d, n, _, k = around.shape
    if (factor := vertices.shape[2] // n) == 1:
        return vertices + around
    parts = vertices.reshape(b, d, n, factor, n, factor, k) + around[:, :, :, None, :, None] / factor**2
    return parts.reshape(vertices.shape)


def between(n: int, factor: int) -> Tensor:
    """Weights (n * factor, n) of linear interpolation between cells, as `F.interpolate` has them."""
    return F.interpolate(torch.eye(n)[None], scale_factor=float(factor), mode="linear", align_corners=False)[0].T


def shares(vertices: Tensor) -> Tensor:
    """The regions' shares (B, depth, n, n, R) at filled vertices (B, depth, n, n, R + 4)."""
    masses = vertices[..., :-4]
    return masses / (masses.sum(-1, keepdim=True) + 1e-4)


def mixed(shares: Tensor, transports: Tensor) -> Tensor:
    """The maps (B, depth, R, 12) of regions that share vertices (B, depth, n, n, R): (B, depth, n, n, 12)."""
    return torch.matmul(shares.flatten(2, 3), transports).unflatten(2, shares.shape[2:4])
