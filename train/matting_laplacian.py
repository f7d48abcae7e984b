"""The matting Laplacian (Levin et al. 2006): how far an output is from locally affine in its input.

Luan et al. 2017, section 3.1: photorealism is asked for by sum_c V_c^T L V_c over the output's channels V_c, with
L the matting Laplacian of the input I. In every window w the quadratic form is what the best affine function of
the window's input colours (ridge eps) leaves of V,

    |w| ( var V - cov(I, V)^T (cov I + eps / |w|)^-1 cov(I, V) ),

and the matrix itself is L = D - A with the affinities (equation 12)

    A_ij = sum over windows w with i and j of  1/|w| (1 + (I_i - mu)^T (cov I + eps / |w|)^-1 (I_j - mu)).

`laplacian_energy` is the loss of a batch that changes at every step: box filters, differentiable in both pictures.
`MattingLaplacian` is L of one batch, prepared once for an optimisation of the output; `laplacian_matrix` is L as a
sparse matrix. Pictures are sRGB in [0, 1]; windows are (2 radius + 1)^2, wholly inside the picture.
"""

from itertools import combinations, product
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hueglass.infer.errors import UsageError

BAND = 64
"""Rows of windows whose affinities are computed at a time: this bounds the memory."""


def laplacian_energy(image: Tensor, output: Tensor, eps: float = 1e-4, radius: int = 1) -> Tensor:
    """sum_c V_c^T L V_c per window pixel, averaged over the batch: a scalar >= 0.

    `image` and `output` are (B, 3, H, W).
    Departure from Levin et al.: eps is 1e-4 instead of 1e-7, so that single precision carries the covariances.
    """
    size = 2 * radius + 1
    i, v = image - image.mean((2, 3), keepdim=True), output - output.mean((2, 3), keepdim=True)
    r, g, b = i.split(1, 1)
    products = [r * i, g * i[:, 1:], b * b, r * v, g * v, b * v, (v * v).sum(1, keepdim=True)]
    means = box(torch.cat([i, v, *products], 1), size)
    mean_i, mean_v = means[:, :3], means[:, 3:6]
    covariance = (
        _covariance(means[:, 6:12], mean_i) + eps / size**2 * means.new_tensor([1, 0, 0, 1, 0, 1])[:, None, None]
    )
    cross = [means[:, 12 + 3 * c : 15 + 3 * c] - mean_i[:, c : c + 1] * mean_v for c in range(3)]
    variance = means[:, 21] - (mean_v * mean_v).sum(1)
    (first, second, third), (d0, d1, d2) = _eliminated(covariance, cross)
    explained = (first**2 / d0 + second**2 / d1 + third**2 / d2).sum(1)
    return (variance - explained).clamp_min(0).mean()


class MattingLaplacian:
    """L of each picture of a batch: prepared once, then cheap to multiply with.

    The affinities of all pairs of neighbours are computed in double precision and kept in the image's, a plane for
    each of the ((4 radius + 1)^2 - 1) / 2 ways in which a pair can lie: 12 for radius 1. They stay below |w| however
    small eps is, and L V is summed from differences of neighbours, so single precision carries eps = 1e-7, the value
    of Levin et al. and Luan et al. Measured on photographs and ramps at 256 px: the energy is positive and within
    0.2 % of double precision's at eps = 1e-7, within 2 % at 1e-8, even for V = I, of which only the ridge's share is
    left (a residual of 1e-4); with noise of 1e-3 in V it is within 1e-5, and so is the gradient, whatever eps is.
    """

    def __init__(self, image: Tensor, eps: float = 1e-7, radius: int = 1) -> None:
        """`image` (B, 3, H, W); the planes lie on its device. UsageError if it is smaller than a window."""
        planes = _affinities(image.detach().cpu().double(), eps, radius)
        self._affinities = {shift: plane[..., :-shift].to(image) for shift, plane in planes.items()}

    def apply(self, output: Tensor) -> Tensor:
        """L V, (B, 3, H, W), of `output` V (B, 3, H, W): half the gradient of `energy`."""
        v = output.flatten(2)
        product = torch.zeros_like(v)
        for shift, affinity in self._affinities.items():
            pull = affinity * (v[..., :-shift] - v[..., shift:])
            product[..., :-shift] += pull
            product[..., shift:] -= pull
        return product.unflatten(2, output.shape[2:])

    def energy(self, output: Tensor) -> Tensor:
        """sum_c V_c^T L V_c of each sample, (B,), summed over the picture; differentiable (once) in `output`."""
        energy: Tensor = _Energy.apply(output, self)
        return energy


class _Energy(torch.autograd.Function):
    """V^T L V with the gradient 2 L V, which is at hand once the energy is."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, laplacian: MattingLaplacian) -> Tensor:
        product = laplacian.apply(output)
        ctx.save_for_backward(product)
        # L does not see the mean: without it single precision loses less.
        centred = output - output.mean((2, 3), keepdim=True)
        return (centred * product).sum((1, 2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (product,) = ctx.saved_tensors
        return 2 * gradient[:, None, None, None] * product, None


def laplacian_matrix(image: np.ndarray, eps: float = 1e-7, radius: int = 1) -> scipy.sparse.csr_matrix:
    """L of `image` (H, W, 3), (H W, H W) float64; pixel (y, x) is row y W + x. Errors as MattingLaplacian."""
    planes = _affinities(torch.from_numpy(np.ascontiguousarray(image, np.float64)).permute(2, 0, 1)[None], eps, radius)
    shifts = sorted(planes)
    diagonals = np.zeros((2 * len(shifts) + 1, image.shape[0] * image.shape[1]))
    # A diagonal's entries are stored by column: the plane holds A_ij, j = i + shift, at i.
    for k, shift in enumerate(shifts):
        diagonals[k] = -planes[shift][0, 0].numpy()
        diagonals[-1 - k] = np.roll(diagonals[k], shift)
    diagonals[len(shifts)] = -diagonals.sum(0)
    offsets = [-s for s in shifts] + [0] + shifts[::-1]
    return scipy.sparse.dia_matrix((diagonals, offsets), shape=(diagonals.shape[1],) * 2).tocsr()


def _affinities(image: Tensor, eps: float, radius: int) -> dict[int, Tensor]:
    """A above its diagonal: by shift s > 0 the plane (B, 1, H W) that holds A_ij, j = i + s, at i.

    `image` (B, 3, H, W). Pixels are numbered row by row. That a shift can cross the picture's edge into the next
    row does no harm: such pixels share no window, their affinity is 0.
    """
    (batch, _, height, width), size = image.shape, 2 * radius + 1
    if min(height, width) < size:
        raise UsageError(f"picture: is {width}x{height}, expected at least {size}x{size} for the matting Laplacian")
    places = list(product(range(size), range(size)))
    planes: dict[int, Tensor] = {}
    for top in range(0, height - size + 1, BAND):
        colours = _whitened(image[:, :, top : top + BAND + size - 1], places, eps)
        rows, columns = colours.shape[3:]
        for p, q in combinations(range(len(places)), 2):
            (y, x), (y2, x2) = places[p], places[q]
            plane = planes.setdefault((y2 - y) * width + x2 - x, image.new_zeros(batch, 1, height, width))
            affinity = (1 + (colours[:, :, p] * colours[:, :, q]).sum(1, keepdim=True)) / size**2
            plane[:, :, top + y : top + y + rows, x : x + columns] += affinity
    return {shift: plane.flatten(2) for shift, plane in planes.items()}


def _whitened(image: Tensor, places: list[tuple[int, int]], eps: float) -> Tensor:
    """W (I_i - mu) with W^T W = (cov I + eps / |w|)^-1, of the pixels of all windows: (B, 3, |w|, h, w).

    `places` are the window's pixels as (y, x) in 0 .. size - 1, h and w count windows.
    """
    count, size = len(places), 1 + places[-1][0]
    h, w = image.shape[2] - size + 1, image.shape[3] - size + 1
    colours = torch.stack([image[:, :, y : y + h, x : x + w] for y, x in places], 2)
    colours = colours - colours.mean(2, keepdim=True)
    r, g, b = colours.unbind(1)
    ridge = eps / count
    covariance = [(r * r).mean(1) + ridge, (r * g).mean(1), (r * b).mean(1)]
    covariance += [(g * g).mean(1) + ridge, (g * b).mean(1), (b * b).mean(1) + ridge]
    entries, pivots = _eliminated(torch.stack(covariance, 1), [r, g, b])
    return torch.stack([e / p.sqrt() for e, p in zip(entries, pivots, strict=True)], 1)


def box(x: Tensor, size: int) -> Tensor:
    """Mean over size x size windows wholly inside: (B, C, H, W) to (B, C, H - size + 1, W - size + 1)."""
    rows = sum(x[:, :, k : x.shape[2] - size + 1 + k] for k in range(size))
    assert isinstance(rows, Tensor)
    total = sum(rows[..., k : rows.shape[3] - size + 1 + k] for k in range(size))
    assert isinstance(total, Tensor)
    return total / size**2


def _covariance(products: Tensor, mean: Tensor) -> Tensor:
    """Covariance (B, 6: rr rg rb gg gb bb, h, w) from mean products and means (B, 3, h, w)."""
    r, g, b = mean.split(1, 1)
    return products - torch.cat([r * mean, g * mean[:, 1:], b * b], 1)


def _eliminated(matrix: Tensor, vector: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """By M = L D L^T, which single precision survives: the entries of L^-1 v and D's, so that
    u^T M^-1 v = sum_k (L^-1 u)_k (L^-1 v)_k / D_k.

    `matrix` (B, 6: rr rg rb gg gb bb, h, w) is M; `vector[k]` (B, n, h, w) is the k-th entry of n vectors v.
    """
    rr, rg, rb, gg, gb, bb = matrix.split(1, 1)
    a, b = rg / rr, rb / rr
    d1 = gg - a * rg
    e = gb - a * rb
    c = e / d1
    d2 = bb - b * rb - c * e
    first = vector[0]
    second = vector[1] - a * first
    third = vector[2] - b * first - c * second
    return [first, second, third], [rr, d1, d2]
