"""What follows the optimisation of Luan et al. 2017: the output as local affine maps of the content, and its detail.

`local_affine_reconstruction` is the final step of the published code. `posterisation_repair` its authors applied by
hand to those results that had lost fine detail. Pictures are (H, W, 3) float32 sRGB, nominally in [0, 1]; results
are not clipped.
"""

from itertools import product
from math import exp

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

RIDGE = 1e-3
"""Added to the normal matrix of each window, its colours in [0, 1] summed and not averaged."""
BAND = 64
"""Rows computed at a time: this bounds the memory and keeps the sums in the cache."""


def local_affine_reconstruction(
    content: np.ndarray, output: np.ndarray, radius: int = 15, range_sigma: float = 0.01
) -> np.ndarray:
    """The content (H, W, 3) under local affine maps to the optimised output (H, W, 3), as float32 (H, W, 3).

    To each pixel belongs the 3x4 map that takes the content's colours in its 3x3 window nearest to the output's (a
    ridge fit). The maps are smoothed by a joint bilateral filter with the content as guide: windows (2 radius + 1)^2,
    spatial sigma radius / 3, range sigma on the root mean square over the channels. The defaults are those that the
    paper's results were made with. At the picture's edge windows are cut off.
    """
    planes = torch.from_numpy(_affine_fits(content, output)).permute(2, 3, 0, 1).flatten(0, 1).float()
    guide = torch.from_numpy(np.ascontiguousarray(content, np.float32)).permute(2, 0, 1)
    maps = _bilateral(planes, guide, radius, range_sigma).unflatten(0, (4, 3))
    return ((maps[:3] * guide[:, None]).sum(0) + maps[3]).permute(1, 2, 0).contiguous().numpy()


def _affine_fits(content: np.ndarray, output: np.ndarray) -> np.ndarray:
    """The ridge fit of each pixel's 3x3 window, (H, W, 4, 3) float32: rows R G B 1, columns R' G' B'."""
    height = len(content)
    fits = np.empty((*content.shape[:2], 4, 3), np.float32)
    for top in range(0, height, BAND):
        first, last = max(0, top - 1), min(height, top + BAND + 1)  # one row more on either side, for the windows
        x = np.pad(content[first:last].astype(float), ((0, 0), (0, 0), (0, 1)), constant_values=1)
        y = output[first:last].astype(float)
        normal = _box(x[..., :, None] * x[..., None, :], 1) + RIDGE * np.eye(4)
        cross = _box(x[..., :, None] * y[..., None, :], 1)
        fits[top : top + BAND] = np.linalg.solve(normal, cross)[top - first :][:BAND]
    return fits


def _bilateral(planes: Tensor, guide: Tensor, radius: int, range_sigma: float) -> Tensor:
    """`planes` (n, H, W), averaged in windows (2 radius + 1)^2 with weights by distance and by colour in `guide`."""
    _, height, width = guide.shape
    # Rows are laid end to end with a margin between them, so that each neighbour is one shift of all pixels. In the
    # margin the planes, the last of which sums the weights, are 0.
    margin = (0, radius, radius + 1, radius + 1)
    stride = width + radius
    values = F.pad(torch.cat([planes, torch.ones_like(planes[:1])]), margin).flatten(1)
    colours = F.pad(guide / (range_sigma * 6**0.5), margin).flatten(1)
    offsets = list(product(range(-radius, radius + 1), repeat=2))
    bands = []
    for top in range(0, height, BAND):
        rows = min(BAND, height - top)
        start, count = (top + radius + 1) * stride, rows * stride
        total = values.new_zeros(len(values), count)
        for y, x in offsets:
            there = slice(start + y * stride + x, start + y * stride + x + count)
            distance = (colours[:, there] - colours[:, start : start + count]).square_().sum(0)
            # exp(-80) is nothing, and less would be denormal, which is slow.
            weight = distance.clamp_max_(80).neg_().exp_()
            total.addcmul_(weight, values[:, there], value=exp(-(x * x + y * y) / (2 * (radius / 3) ** 2)))
        total = total.unflatten(1, (rows, stride))[..., :width]
        bands.append(total[:-1] / total[-1:])
    return torch.cat(bands, 1)


def posterisation_repair(content: np.ndarray, output: np.ndarray) -> np.ndarray:
    """The output with the content's fine detail put back: J + I - guided_filter(I, I), float32 (H, W, 3).

    Radius 8 and eps 0.01, as in the published code, which filters each channel with the colour picture as guide.
    """
    return (output + content - guided_filter(content, content, 8, 0.01)).astype(np.float32)


def guided_filter(guide: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """He et al. 2010 with a colour guide: `image` smoothed where `guide` has no edges.

    `guide` (H, W, 3) and `image` (H, W, C) in [0, 1], float32 (H, W, C) out. Windows are (2 radius + 1)^2, cut off at
    the picture's edge; eps is added to the variances of the guide.
    """
    guide, image = guide.astype(float), image.astype(float)
    count = _box(np.ones((*guide.shape[:2], 1)), radius)
    mean_guide, mean_image = _box(guide, radius) / count, _box(image, radius) / count

    def covariance(other: np.ndarray, mean_other: np.ndarray) -> np.ndarray:
        means = _box(guide[..., :, None] * other[..., None, :], radius) / count[..., None]
        return means - mean_guide[..., :, None] * mean_other[..., None, :]

    slope = np.linalg.solve(covariance(guide, mean_guide) + eps * np.eye(3), covariance(image, mean_image))
    offset = mean_image - (mean_guide[..., None] * slope).sum(-2)
    mean_slope = _box(slope, radius) / count[..., None]
    return ((guide[..., None] * mean_slope).sum(-2) + _box(offset, radius) / count).astype(np.float32)


def _box(x: np.ndarray, radius: int) -> np.ndarray:
    """Sums over windows (2 radius + 1)^2, cut off at the picture's edge, of (H, W, ...)."""
    side = (2 * radius + 1,) * 2
    flat = x.reshape(*x.shape[:2], -1)
    sums = cv2.boxFilter(flat, cv2.CV_64F, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums).reshape(x.shape)
