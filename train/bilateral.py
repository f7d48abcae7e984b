"""The bilateral contract in torch, differentiable.

The same mathematics as `hueglass.infer.grid.bilateral` (the reference): `grid_sample` with `align_corners=False` and
clamped borders has cell centres at k + .5 and is trilinear. Grid axes are depth, height, width; `grid_sample`
takes places as x, y, z.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def guide_map(image: Tensor) -> Tensor:
    """Luma (B, H, W) in [0, 1] of sRGB images (B, 3, H, W) in [0, 1]."""
    weights = image.new_tensor(LUMA)
    return (image * weights[:, None, None]).sum(1).clamp(0, 1)


def depth_tents(guide: Tensor, depth: int) -> Tensor:
    """Each pixel's weight (B, depth, H, W) for each depth plane, for a guide map (B, H, W). Sums to 1."""
    z = (guide * depth - 0.5).clamp(0, depth - 1)
    planes = torch.arange(depth, device=guide.device, dtype=guide.dtype)
    return (1 - (z[:, None] - planes[:, None, None]).abs()).clamp_min(0)


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Affine matrices (B, 12, H, W) of coefficients (B, gd, gh, gw, 12) at a guide map (B, H, W)."""
    b, h, w = guide.shape
    y = (torch.arange(h, device=guide.device, dtype=guide.dtype) + 0.5) * (2 / h) - 1
    x = (torch.arange(w, device=guide.device, dtype=guide.dtype) + 0.5) * (2 / w) - 1
    place = torch.stack([x.expand(b, h, w), y[:, None].expand(b, h, w), guide * 2 - 1], -1)
    volume = grid.permute(0, 4, 1, 2, 3)
    return F.grid_sample(volume, place[:, None], padding_mode="border", align_corners=False)[:, :, 0]


def apply_affine(matrices: Tensor, image: Tensor) -> Tensor:
    """Each pixel of (B, 3, H, W) through its own 3x4 matrix (B, 12, H, W), not clipped."""
    m = matrices.unflatten(1, (3, 4))
    return (m[:, :, :3] * image[:, None]).sum(2) + m[:, :, 3]


def render(grid: Tensor, image: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] through coefficients (B, gd, gh, gw, 12); not clipped."""
    return apply_affine(slice_grid(grid, guide_map(image)), image)
