"""What is counted of each region of a picture: sums that can be added up over pictures, and what follows from them.

Everything that the networks measure of a region comes from such sums, so those of one frame and those of the scene
around it are put together by mere addition. All are means over the picture: the masses of maps that cover it sum to 1.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hueglass.train.bilateral import depth_tents, guide_map

OPPONENT = (
    (0.299, 0.587, 0.114),
    (-0.169, -0.331, 0.500),
    (0.500, -0.419, -0.081),
)
"""sRGB to luma and two chroma axes (JPEG's YCbCr without the offset). Luma comes first, so that the triangular
transport of the student maps luma by luma alone, and chroma by luma and chroma: highlights may turn gold, shadows
blue."""
FROM_OPPONENT = np.linalg.inv(np.array(OPPONENT)).tolist()
COVARIANCE_FLOOR = (1e-3, 2e-4, 2e-4)
"""Added to each region's variances: keeps flat skies from being stretched into noise and bands."""
MOMENTS = 9
"""A code begins with the mean (3) and the lower Cholesky factor (6) of its region's colours."""
HISTOGRAM_BINS = 8
SUMMARY = MOMENTS + 4 * HISTOGRAM_BINS + 1
MEASURED = 1 + 9 + 4 * HISTOGRAM_BINS
"""Of a region's sums: its mass, opponent colours and their products, and the mass and colours of every luma bin. Then
come features."""
NOTHING = 2.5e-8
"""A mass that is none: a hundredth of a per mille of a pixel of a quarter of a thumbnail."""


def opponent(image: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] to luma in [0, 1] and two chroma channels in [-.5, .5]."""
    b, _, h, w = image.shape
    return torch.matmul(image.new_tensor(OPPONENT), image.reshape(b, 3, h * w)).reshape(b, 3, h, w)


def region_sums(image: Tensor, features: Tensor, regions: Tensor) -> Tensor:
    """Of an image (B, 3, H, W) sRGB and features (B, K, h, w), over regions (B, R, H, W): (B, R, MEASURED + K)."""
    factor = image.shape[-1] // features.shape[-1]
    measured = torch.cat([torch.ones_like(image[:, :1]), _products(opponent(image)), _binned(image)], 1)
    return torch.cat([_means(measured, regions), _means(features, F.avg_pool2d(regions, factor))], -1)


def summary(sums: Tensor, whole: Tensor | float = 1.0) -> Tensor:
    """All that is measured, not learned, of each region: mean, Cholesky factor, histogram, area (B, R, SUMMARY).

    `whole` (B, 1, 1) is the mass of the pictures that they were counted over, of which an area is a share: 1 is one.
    """
    mass, products, bins = sums[..., :MEASURED].split([1, 9, 4 * HISTOGRAM_BINS], -1)
    mean, factor = moments(products / (mass + NOTHING))
    area = mass / whole
    return torch.cat([mean, factor, _histogram(bins), area], -1)


def averages(sums: Tensor) -> Tensor:
    """The mean features (B, R, K) of each region."""
    return sums[..., MEASURED:] / (sums[..., :1] + NOTHING)


def moments(products: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, R, 3) and lower Cholesky factor (B, R, 6: 00 10 11 20 21 22) from mean colours and their products."""
    mean, second = products[..., :3], products[..., 3:]
    yy, uu, vv = (second[..., i] - mean[..., i] ** 2 for i in range(3))
    yu = second[..., 3] - mean[..., 0] * mean[..., 1]
    uv = second[..., 4] - mean[..., 1] * mean[..., 2]
    yv = second[..., 5] - mean[..., 0] * mean[..., 2]
    l00 = (yy.clamp_min(0) + COVARIANCE_FLOOR[0]).sqrt()
    l10, l20 = yu / l00, yv / l00
    l11 = ((uu - l10**2).clamp_min(0) + COVARIANCE_FLOOR[1]).sqrt()
    l21 = (uv - l20 * l10) / l11
    l22 = ((vv - l20**2 - l21**2).clamp_min(0) + COVARIANCE_FLOOR[2]).sqrt()
    return mean, torch.stack([l00, l10, l11, l20, l21, l22], -1)


def _products(colours: Tensor) -> Tensor:
    """Opponent colours (B, 3, H, W) and their products (B, 9, H, W): yy uu vv, yu uv, yv."""
    return torch.cat([colours, colours * colours, colours[:, :2] * colours[:, 1:], colours[:, :1] * colours[:, 2:]], 1)


def _binned(image: Tensor) -> Tensor:
    """Each pixel's share in every luma bin, and its colour times that: (B, 4 x bins, H, W), a bin's four together."""
    tents = depth_tents(guide_map(image), HISTOGRAM_BINS)
    joint = tents[:, :, None] * torch.cat([torch.ones_like(image[:, :1]), image], 1)[:, None]
    return joint.flatten(1, 2)


def _histogram(bins: Tensor) -> Tensor:
    """Share and mean colour of each luma bin (B, R, 4 x bins), from its mass and colours."""
    bins = bins.unflatten(-1, (HISTOGRAM_BINS, 4))
    mass = bins[..., :1]
    share = mass / (mass.sum(2, keepdim=True) + NOTHING)
    colour = bins[..., 1:] / (mass + 1e-2 * mass.mean(2, keepdim=True) + NOTHING)
    return torch.cat([share, colour], -1).flatten(2)


def _means(values: Tensor, regions: Tensor) -> Tensor:
    """Values (B, K, H, W) times regions (B, R, H, W), averaged over the picture: (B, R, K)."""
    pixels = values.shape[2] * values.shape[3]
    return torch.matmul(regions.flatten(2), values.flatten(2).transpose(1, 2)) / pixels
