"""The losses of the student, as plain functions on batches.

Pictures are (B, 3, H, W) sRGB in [0, 1]; region maps are (B, R, H, W) in [0, 1]; grids are (B, gd, gh, gw, 12).
"""

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor

from .colour import to_lab


class LossWeights(BaseModel):
    """How much each loss counts."""

    model_config = ConfigDict(extra="forbid")

    reconstruction: NonNegativeFloat = 1.0
    swd: NonNegativeFloat = 0.5
    laplacian: NonNegativeFloat = 100.0
    smooth: NonNegativeFloat = 0.2
    smooth_depth: NonNegativeFloat = 0.1
    out_of_range: NonNegativeFloat = 0.5


def reconstruction(output: Tensor, target: Tensor) -> Tensor:
    """Charbonnier distance: a mean absolute difference that is smooth at zero."""
    return ((output - target).square() + 1e-6).sqrt().mean()


def out_of_range(output: Tensor) -> Tensor:
    """Mean distance by which values leave [0, 1]: what clipping would destroy."""
    return ((-output).clamp_min(0) + (output - 1).clamp_min(0)).mean()


def smoothness(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared difference of neighbouring vertices: (along height and width, along depth)."""
    across = grid.diff(dim=2).square().mean() + grid.diff(dim=3).square().mean()
    return across, grid.diff(dim=1).square().mean()


def sliced_wasserstein(
    output: Tensor,
    regions: Tensor,
    style: Tensor,
    style_regions: Tensor,
    samples: int = 1024,
    projections: int = 12,
) -> Tensor:
    """Sliced Wasserstein-1 distance of CIELAB colours (in hundreds), region to region, weighted by the output's areas.

    From every pair of regions `samples` pixels are drawn (with replacement, by the soft maps), projected on random
    directions and sorted: the mean gap of the sorted values is the distance along that direction (Pitie et al.
    2007; Bonneel et al. 2015). A region empty on either side counts nothing.
    """
    area, style_area = regions.mean((2, 3)), style_regions.mean((2, 3))
    weight = torch.where(torch.minimum(area, style_area) > 1e-3, area, torch.zeros(()))
    b, r = (weight > 0).nonzero(as_tuple=True)
    if len(b) == 0:
        return output.sum() * 0
    drawn = _draw(output, regions, b, r, samples)
    wanted = _draw(style, style_regions, b, r, samples)
    directions = torch.nn.functional.normalize(torch.randn(3, projections, device=output.device), dim=0)
    ours = (to_lab(drawn) / 100 @ directions).sort(1).values
    theirs = (to_lab(wanted) / 100 @ directions).sort(1).values
    gaps = (ours - theirs).abs().mean((1, 2))
    share = weight[b, r]
    return (gaps * share).sum() / share.sum()


def _draw(image: Tensor, regions: Tensor, b: Tensor, r: Tensor, samples: int) -> Tensor:
    """Colours (N, samples, 3) drawn from region r[n] of picture b[n]."""
    picked = torch.multinomial(regions[b, r].flatten(1).clamp_min(0) + 1e-9, samples, replacement=True)
    pixels = image.flatten(2).transpose(1, 2)[b]
    return torch.gather(pixels, 1, picked[..., None].expand(-1, -1, 3))
