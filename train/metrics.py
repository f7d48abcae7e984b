"""The yardstick: how faithful to the reference a result is, and how photographic.

Pictures are float32 (H, W, 3) sRGB in [0, 1]. Names and definitions are the same everywhere:

    swd     sliced Wasserstein distance of CIELAB colours, region to region       faithfulness, lower is better
    edge    SSIM of Sobel magnitudes of content and output                        photorealism, higher is better
    resid   share of the output's variance that no local affine map explains      photorealism, lower is better
    dE      mean CIEDE2000 to the paper's own result, after a blur                closeness, lower is better
    halo    how far colours along a region's border are off what its inside says  photorealism, lower is better
"""

from collections.abc import Callable

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from hueglass.infer.grid.bilateral import LUMA


def swd(
    output: np.ndarray, maps: np.ndarray, style: np.ndarray, style_maps: np.ndarray, samples: int = 8192, seed: int = 0
) -> float:
    """Sliced Wasserstein-2 distance of CIELAB colours from each region of `output` to the same one of `style`.

    `maps`, `style_maps` are boolean (R, H, W); regions are weighted by their area in the output, those empty on
    either side are left out. 64 fixed random directions; colours beyond `samples` are subsampled, seeded.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, 64))
    directions /= np.linalg.norm(directions, axis=0)
    ours, theirs = rgb2lab(output), rgb2lab(style)
    total = area = 0.0
    for a, b in zip(maps, style_maps, strict=True):
        if not a.any() or not b.any():
            continue
        gap = _projected(ours[a], directions, samples, rng) - _projected(theirs[b], directions, samples, rng)
        total += float(np.sqrt((gap**2).mean())) * float(a.mean())
        area += float(a.mean())
    if area == 0:
        raise ValueError("no region lies on both sides, expected at least one")
    return total / area


def _projected(colours: np.ndarray, directions: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Quantiles (directions, 1024) of colours (N, 3) along each direction."""
    if len(colours) > samples:
        colours = colours[rng.choice(len(colours), samples, replace=False)]
    # What np.quantile gives, in half its time: it partitions where a sort is faster.
    ordered = np.sort((colours @ directions).T)
    place = (np.arange(1024) + 0.5) / 1024 * (len(colours) - 1)
    below = place.astype(int)
    step = ordered[:, np.minimum(below + 1, len(colours) - 1)] - ordered[:, below]
    return ordered[:, below] + (place - below) * step


def edge(content: np.ndarray, output: np.ndarray) -> float:
    """SSIM of the Sobel magnitudes of luma, each scaled by its own 99th percentile and clipped to [0, 1]."""
    return float(structural_similarity(_edges(content), _edges(output), data_range=1.0))


def _edges(image: np.ndarray) -> np.ndarray:
    luma = image @ LUMA
    magnitude = np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
    return np.clip(magnitude / max(float(np.percentile(magnitude, 99)), 1e-6), 0, 1)


def resid(content: np.ndarray, output: np.ndarray, window: int = 9, ridge: float = 1e-4) -> float:
    """Share of the output's variance in window x window patches that no affine function of the content explains."""
    i, v = content.astype(np.float64), output.astype(np.float64)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, -1, (window, window))

    mean_i, mean_v = mean(i), mean(v)
    covariance = _outer_mean(i, i, mean) - mean_i[..., :, None] * mean_i[..., None, :]
    cross = _outer_mean(i, v, mean) - mean_i[..., :, None] * mean_v[..., None, :]
    variance = mean(v * v) - mean_v**2
    explained = (cross * np.linalg.solve(covariance + ridge * np.eye(3), cross)).sum(-2)
    left = np.maximum(variance - explained, 0).sum()
    return float(left / max(variance.sum(), 1e-9))


def _outer_mean(a: np.ndarray, b: np.ndarray, mean: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([mean(a[..., k : k + 1] * b) for k in range(3)], -2)


def delta_e(output: np.ndarray, result: np.ndarray) -> float:
    """Mean CIEDE2000 between output and the paper's result after a Gaussian blur of 1 % of the longer side."""
    sigma = 0.01 * max(output.shape[:2])
    blurred = [rgb2lab(cv2.GaussianBlur(x, (0, 0), sigma)) for x in (output, result)]
    return float(deltaE_ciede2000(*blurred).mean())


LEAST = 0.04
"""Of a picture: halos are looked for in regions larger than this."""
INSIDE, BAND = 0.06, 0.03
"""Widths of the picture from the next region: what lies further in is inside, what lies nearer is the band."""
FITTED = 20000
"""Pixels of an inside that are fitted to, at most."""


def halo(content: np.ndarray, output: np.ndarray, maps: np.ndarray) -> float:
    """CIEDE2000 that the band along a region's border is off, less that of its inside: the mean over the regions.

    In each region of `maps`, boolean (R, H, W), a map from content to output, quadratic in colour and linear in place,
    is fitted to the inside: what a light without halos would do. Regions without an inside or a band are left out; 0
    if none is left.
    """
    width = content.shape[1]
    features = _features(content)
    colours = rgb2lab(output)
    found = []
    for part in maps:
        deep = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inside, band = part & (deep > INSIDE * width), part & (deep <= BAND * width)
        if part.mean() <= LEAST or inside.sum() < features.shape[-1] ** 2 or not band.any() or part.all():
            continue
        step = max(1, int(inside.sum()) // FITTED)
        fit = np.linalg.lstsq(features[inside][::step], output[inside][::step].astype(np.float64), rcond=None)[0]
        off = deltaE_ciede2000(rgb2lab(np.clip(features[part] @ fit, 0, 1)), colours[part])
        found.append(float(off[band[part]].mean() - off[inside[part]].mean()))
    return float(np.mean(found)) if found else 0.0


def _features(image: np.ndarray) -> np.ndarray:
    """(H, W, 12): 1, the colours, their products, and the place in [-1, 1]."""
    height, width = image.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    products = [image[..., i] * image[..., j] for i in range(3) for j in range(i, 3)]
    return np.stack([np.ones_like(x), *image.transpose(2, 0, 1), *products, x, y], -1).astype(np.float64)
