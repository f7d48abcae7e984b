"""What any learned transfer has to beat: classical colour transfer, of a picture as a whole or region by region.

Colours are sRGB in [0, 1], taken as they are: the papers speak of no display gamma to undo.
"""

from collections.abc import Callable

import numpy as np

Transfer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From `content` (..., 3) and `style` (..., 3), at least one pixel each, to float32 in [0, 1] like the content."""

TO_LMS = np.array(((0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444)))
TO_LAB = np.diag((1 / 3**0.5, 1 / 6**0.5, 1 / 2**0.5)) @ np.array(((1, 1, 1), (1, 1, -2), (1, -1, 0)))
"""Reinhard et al. 2001, equations 4 and 6; the inverses are computed, as those printed are rounded."""
TOE = 1 / 255
"""Departure: added before the logarithm, which the paper takes of black as well."""
ROTATIONS = 25
QUANTILES = 256
SAMPLES = 1 << 15


def reinhard(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """`content` with the means and standard deviations of `style` along l, alpha and beta: Reinhard et al. 2001."""
    x, y = to_lab(_colours(content)), to_lab(_colours(style))
    spread = x.std(0)
    # What does not vary cannot be stretched: rounding alone would be.
    scale = np.where(spread > 1e-6, y.std(0) / np.maximum(spread, 1e-6), 1)
    return _like(content, from_lab((x - x.mean(0)) * scale + y.mean(0)))


def to_lab(colours: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) in [0, 1] to Ruderman's l-alpha-beta (N, 3): opponent colours of the logarithm of cone responses."""
    return np.log10(colours @ TO_LMS.T + TOE) @ TO_LAB.T


def from_lab(lab: np.ndarray) -> np.ndarray:
    """The inverse of `to_lab`; sRGB (N, 3), not clipped."""
    # A stretch along l can ask for any power of ten; white is about 0.
    return (10 ** np.minimum(lab @ np.linalg.inv(TO_LAB).T, 9) - TOE) @ np.linalg.inv(TO_LMS).T


def monge_kantorovich(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """`content` with the mean and covariance of `style`: the optimal map between two Gaussians.

    Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping": x -> m' + T (x - m) with
    T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2.
    """
    x, y = _colours(content), _colours(style)
    a, b = (np.cov(z.T) + 1e-6 * np.eye(3) if len(z) > 1 else 1e-6 * np.eye(3) for z in (x, y))
    root = _power(a, 0.5)
    inverse = _power(a, -0.5)
    transport = inverse @ _power(root @ b @ root, 0.5) @ inverse
    return _like(content, (x - x.mean(0)) @ transport.T + y.mean(0))


def distribution_transfer(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """`content` with the colour distribution of `style`: iterative distribution transfer, Pitie et al. 2005, 2007.

    In each of ROTATIONS random orthogonal frames (the same in every call) the distribution along each axis is matched
    to the style's. Departures: quantiles of at most SAMPLES evenly spaced pixels, not histograms; no regrain step.
    """
    x, y = _colours(content), _colours(style)
    rng = np.random.default_rng(0)
    for _ in range(ROTATIONS):
        frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        ours, theirs = x @ frame, y[:: len(y) // SAMPLES + 1] @ frame
        x = np.stack([_matched(a, b) for a, b in zip(ours.T, theirs.T, strict=True)], -1) @ frame.T
    return _like(content, x)


def _matched(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`values` (N,) moved so that their quantiles are those of `wanted` (M,)."""
    ranks = np.linspace(0, 1, QUANTILES)
    ours, theirs = np.quantile(values[:: len(values) // SAMPLES + 1], ranks), np.quantile(wanted, ranks)
    # Equal values move as one, by the mean of what their quantiles ask for: np.interp wants distinct places.
    places, index, counts = np.unique(ours, return_inverse=True, return_counts=True)
    # Moves, not values, are interpolated: what lies beyond the samples goes along with the outermost.
    return values + np.interp(values, places, np.bincount(index, theirs - ours) / counts)


CLASSICAL: dict[str, Transfer] = {
    "Reinhard": reinhard,
    "Monge-Kantorovich": monge_kantorovich,
    "distribution transfer": distribution_transfer,
}


def per_region(
    transfer: Transfer, content: np.ndarray, maps: np.ndarray, style: np.ndarray, style_maps: np.ndarray
) -> np.ndarray:
    """`transfer` from each region of `content` (H, W, 3) to the same one of `style`; maps are boolean (R, H, W).

    Pixels of no region, or of one that is empty on either side, stay as they are.
    """
    out = content.copy()
    for a, b in zip(maps, style_maps, strict=True):
        if a.any() and b.any():
            out[a] = transfer(content[a], style[b])
    return out


def _colours(image: np.ndarray) -> np.ndarray:
    return image.reshape(-1, 3).astype(np.float64)


def _like(content: np.ndarray, colours: np.ndarray) -> np.ndarray:
    return np.clip(colours, 0, 1).astype(np.float32).reshape(content.shape)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A symmetric positive matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-9) ** exponent) @ vectors.T
