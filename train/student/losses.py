"""The losses of the student, as plain functions on batches.

Pictures are (B, 3, H, W) sRGB in [0, 1]; region maps are (B, R, H, W) in [0, 1]; grids are (B, gd, gh, gw, 12).
"""

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor

from hueglass.train.bilateral import depth_tents, guide_map
from hueglass.train.colour import to_lab


class LossWeights(BaseModel):
    """How much each loss counts."""

    model_config = ConfigDict(extra="forbid")

    reconstruction: NonNegativeFloat = 1.0
    """To the known targets of graded samples."""
    teacher: NonNegativeFloat = 1.0
    """To the teacher's targets, as pictures."""
    teacher_grid: NonNegativeFloat = 0.0
    """To the teacher's targets, as grids: of a student whose grid is the teacher's."""
    swd: NonNegativeFloat = 0.6
    """To the reference's colours, region by region, of unpaired samples."""
    correspondence: NonNegativeFloat = 0.1
    """Of hidden regions: whether pixels find those of their own kind."""
    border: NonNegativeFloat = 2.0
    """By how much more an error counts where regions meet."""
    laplacian: NonNegativeFloat = 100.0
    smooth: NonNegativeFloat = 0.2
    smooth_depth: NonNegativeFloat = 0.1
    out_of_range: NonNegativeFloat = 0.5
    consistency: NonNegativeFloat = 1.0
    """By how much the second view of a scene gets other colours than the first; see `scene`."""
    halo: NonNegativeFloat = 1.0
    """By how much a region gets other colours along its border than inside."""


INSIDE, BORDER = 0.06, 0.03
"""Of the picture: how far from others a region's inside begins, and how wide its border is."""
LEAST_INSIDE = 0.02
"""Share of the picture that a region's inside has to cover for its answer to count."""


def reconstruction(output: Tensor, target: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Charbonnier distance: a mean absolute difference that is smooth at zero, with weights (B, 1, H, W)."""
    return (weights * ((output - target).square() + 1e-6).sqrt()).mean()


def box_blur(x: Tensor, size: int) -> Tensor:
    """Mean of the `size` x `size` pixels (odd) around each of (B, C, H, W), of those that lie inside."""
    rows = F.avg_pool2d(x, (1, size), 1, (0, size // 2), count_include_pad=False)
    return F.avg_pool2d(rows, (size, 1), 1, (size // 2, 0), count_include_pad=False)


def borders(regions: Tensor, width: float = 0.03) -> Tensor:
    """1 where several regions of (B, R, H, W) meet, 0 further than `width` of the picture from there: (B, 1, H, W)."""
    near = box_blur(regions, 2 * round(width * regions.shape[-1]) + 1)
    return 2 * (1 - near.amax(1, keepdim=True)).clamp(0, 0.5)


def unevenness(output: Tensor, content: Tensor, regions: Tensor) -> Tensor:
    """How far each region's colours along its border are from what its inside says: halos, and blue holes in golden
    skies.

    Of each of `regions` (B, R, H, W) a smooth map, quadratic in the content's colour and linear in place, is fitted
    from `content` to `output` (B, 3, H, W) where no other region is near; the mean Charbonnier distance of its answer
    along the border (`halo` of `hueglass.train.metrics` measures the same in CIEDE2000). Small regions count nothing.
    """
    size = regions.shape[-1]
    inside = regions * (box_blur(regions, 2 * round(INSIDE * size) + 1) > 0.98)
    border = regions * (box_blur(regions, 2 * round(BORDER * size) + 1) < 0.98)
    b, r = ((inside.mean((2, 3)) > LEAST_INSIDE) & (border.mean((2, 3)) > 1e-3)).nonzero(as_tuple=True)
    if len(b) == 0:
        return output.sum() * 0
    known, wanted = _smooth_features(content).flatten(2)[b], output.flatten(2)[b]
    weights, near = inside.flatten(2)[b, r][:, None], border.flatten(2)[b, r][:, None]
    with torch.no_grad():
        normal = torch.matmul(known * weights, known.transpose(1, 2))
        ridge = 1e-3 * weights.sum(2, keepdim=True) * torch.eye(known.shape[1], device=output.device)
        answer = torch.linalg.solve(normal + ridge, torch.matmul(known * weights, wanted.transpose(1, 2)))
    gaps = ((wanted - torch.matmul(answer.transpose(1, 2), known).clamp(0, 1)).square() + 1e-6).sqrt()
    return (gaps * near).sum() / (3 * near.sum())


def _smooth_features(content: Tensor) -> Tensor:
    """Of pictures (B, 3, H, W): one, place, colours and their products, centred (B, 12, H, W)."""
    b, _, h, w = content.shape
    colours = content - 0.5
    y = torch.linspace(-0.5, 0.5, h, device=content.device)[:, None].expand(b, 1, h, w)
    x = torch.linspace(-0.5, 0.5, w, device=content.device).expand(b, 1, h, w)
    products = [colours * colours, colours * colours.roll(1, 1)]
    return torch.cat([torch.ones_like(x), x, y, colours, *products], 1)


def grid_distance(grid: Tensor, target: Tensor, image: Tensor, known: Tensor) -> Tensor:
    """Charbonnier distance of grids (B, gd, gh, gw, 12) at the vertices that pixels of `image` use, as much as they
    do; of the pictures `known` (B) only."""
    depth, cells = grid.shape[1:3]
    tents = depth_tents(guide_map(image), depth)
    mass = F.adaptive_avg_pool2d(tents, cells) * known.float()[:, None, None, None]
    gaps = ((grid - target).square() + 1e-6).sqrt().mean(-1)
    return (mass * gaps).sum() / mass.sum().clamp_min(1e-6)


def correspondence(
    attention: Tensor, regions: Tensor, tones: Tensor, style_regions: Tensor, semantic: Tensor
) -> Tensor:
    """How badly pixels find the region that they belong to: mean -log of the attention that lands in it.

    `attention` (B, K, H, W) are the tones that the pixels of regions (B, R, H, W) look at, `tones` (B, K, H, W) is
    where these lie among the style's regions (B, R, H, W). Only where both know what is what: `semantic` (B).
    """
    inside = torch.matmul(tones.flatten(2), style_regions.flatten(2).transpose(1, 2))
    inside = inside / (tones.sum((2, 3))[..., None] + 1e-4)
    landed = torch.einsum("bkhw,bkr->brhw", attention, inside)
    known = regions * semantic.float()[:, None, None, None]
    return -(known * (landed + 1e-3).log()).sum() / known.sum().clamp_min(1.0)


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
    directions = F.normalize(torch.randn(3, projections, device=output.device), dim=0)
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
