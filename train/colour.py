"""CIELAB for losses and metrics."""

import torch
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.950456, 1.0, 1.088754)
"""sRGB primaries and the D65 white point (IEC 61966-2-1)."""


def to_lab(colours: Tensor) -> Tensor:
    """sRGB (..., 3), nominally in [0, 1], to CIELAB (..., 3): L in 0..100, a and b about -100..100. Differentiable."""
    c = colours.clamp(0, 1)
    linear = torch.where(c > 0.04045, ((c.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = linear @ (c.new_tensor(XYZ).T / c.new_tensor(WHITE))
    f = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
