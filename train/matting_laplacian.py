"""The matting Laplacian (Levin et al. 2006) as a loss: how far an output is from locally affine in its input.

Luan et al. 2017, section 3.1: photorealism is asked for by sum_c V_c^T L V_c over the output's channels V_c, with
L the matting Laplacian of the input I. In every window w the quadratic form is what the best affine function of
the window's input colours (ridge eps) leaves of V,

    |w| ( var V - cov(I, V)^T (cov I + eps / |w|)^-1 cov(I, V) ),

which is how it is computed here: box filters, no matrix, differentiable, on any device.
"""

import torch
from torch import Tensor


def laplacian_energy(image: Tensor, output: Tensor, eps: float = 1e-4, radius: int = 1) -> Tensor:
    """sum_c V_c^T L V_c per window pixel, averaged over the batch: a scalar >= 0.

    `image` and `output` are (B, 3, H, W) in [0, 1]; windows are (2 radius + 1)^2, wholly inside the picture.
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
    return (variance - _explained(covariance, cross)).clamp_min(0).mean()


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


def _explained(covariance: Tensor, cross: list[Tensor]) -> Tensor:
    """sum over the output's channels of c^T M^-1 c, by elimination (M = L D L^T), which single precision survives.

    `covariance` (B, 6, h, w) is M; `cross[k]` (B, 3, h, w) is the k-th entry of c for the three output channels.
    """
    rr, rg, rb, gg, gb, bb = covariance.split(1, 1)
    a, b = rg / rr, rb / rr
    d1 = gg - a * rg
    e = gb - a * rb
    c = e / d1
    d2 = bb - b * rb - c * e
    first = cross[0]
    second = cross[1] - a * first
    third = cross[2] - b * first - c * second
    return (first**2 / rr + second**2 / d1 + third**2 / d2).sum(1)
