"""What any learned transfer has to beat: closed-form colour transfer."""

import numpy as np


def monge_kantorovich(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """`content` (..., 3) with the mean and covariance of `style` (..., 3): the optimal map between two Gaussians.

    Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping": x -> m' + T (x - m) with
    T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2. Values in [0, 1], clipped. Also the map used per region.
    """
    x, y = content.reshape(-1, 3).astype(np.float64), style.reshape(-1, 3).astype(np.float64)
    a, b = (np.cov(z.T) + 1e-6 * np.eye(3) if len(z) > 1 else 1e-6 * np.eye(3) for z in (x, y))
    root = _power(a, 0.5)
    inverse = _power(a, -0.5)
    transport = inverse @ _power(root @ b @ root, 0.5) @ inverse
    out = (x - x.mean(0)) @ transport.T + y.mean(0)
    return np.clip(out, 0, 1).astype(np.float32).reshape(content.shape)


def per_region(content: np.ndarray, maps: np.ndarray, style: np.ndarray, style_maps: np.ndarray) -> np.ndarray:
    """Monge-Kantorovich from each region of `content` (H, W, 3) to the same one of `style`; maps are boolean (R, H, W).

    Pixels of no region, or of one that is empty on either side, stay as they are.
    """
    out = content.copy()
    for a, b in zip(maps, style_maps, strict=True):
        if a.any() and b.any():
            out[a] = monge_kantorovich(content[a], style[b])
    return out


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A symmetric positive matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-9) ** exponent) @ vectors.T
