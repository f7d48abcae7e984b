"""Pictures and region maps that several tests share."""

import numpy as np


def photo(seed: int = 0) -> np.ndarray:
    """Patches, shading and grain (48, 64, 3) float32 in [0.05, 0.95]."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.uniform(0.2, 0.8, (6, 8, 3)), np.ones((8, 8, 1)))
    shade = np.linspace(-0.1, 0.1, 64)[None, :, None]
    return np.clip(patches + shade + rng.normal(0, 0.02, patches.shape), 0.05, 0.95).astype(np.float32)


def halves() -> np.ndarray:
    maps = np.zeros((2, 48, 64), bool)
    maps[0, :, :16] = True
    maps[1, :, 16:] = True
    return maps
