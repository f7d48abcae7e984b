"""The contract: a bilateral grid of affine colour transforms, and how a frame is sliced through it.

Coefficients are float32, (gd, gh, gw, 12): depth (guide), height, width, and a 3x4 affine matrix in row
order R' G' B', columns R G B 1, acting on sRGB in [0, 1]. For pixel (x, y) of a W x H frame

    gx = (x + .5) gw / W,   gy = (y + .5) gh / H,   gz = guide(x, y) gd

with cell centres at k + .5, borders clamped, and trilinear interpolation (Chen et al. 2007; Gharbi et al.
2017, "Deep bilateral learning"). Mathematically it is a LINEAR, CLAMP_TO_EDGE 3-D texture. The guide map is
luma, a fixed linear function of the pixel: nothing about it has to be learned, exported or kept in step.

This file is the numpy reference, written to be read. `native` renders the same thing fast.
"""

import numpy as np

from hueglass.infer.errors import HueglassError

GRID_SHAPE = (8, 16, 16, 12)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 luma weights: the guide map of an sRGB colour."""
IDENTITY = np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], dtype=np.float32)
BAND_PIXELS = 1 << 18
"""`render` works through this many pixels at a time, so that memory does not grow with the frame."""
MAX_CELLS = 64
"""No axis of a grid may be longer: sizes come from files, and a renderer's tables are bounded by it."""


def identity_grid(shape: tuple[int, ...] = GRID_SHAPE) -> np.ndarray:
    """The grid (gd, gh, gw, 12) that leaves every frame as it is."""
    return np.ascontiguousarray(np.broadcast_to(IDENTITY, shape))


def check_coefficients(grid: np.ndarray) -> np.ndarray:
    """`grid` as contiguous float32 (gd, gh, gw, 12); HueglassError if it is anything else or not finite."""
    if grid.ndim != 4 or grid.shape[3] != 12 or not all(1 <= n <= MAX_CELLS for n in grid.shape[:3]):
        raise HueglassError(f"coefficients have shape {grid.shape}, expected (depth, height, width, 12)")
    if not np.isfinite(grid).all():
        raise HueglassError("coefficients hold NaN or infinity, expected finite numbers")
    return np.ascontiguousarray(grid, dtype=np.float32)


def blend(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b. Strength is `blend(identity_grid(g.shape), g, strength)`; so is smoothing in time."""
    between: np.ndarray = a + np.float32(t) * (b - a)
    return between


def guide_map(image: np.ndarray) -> np.ndarray:
    """Luma (H, W) in [0, 1] of an sRGB image (H, W, 3) in [0, 1]."""
    return np.clip(image @ LUMA, 0, 1)


def _corners(position: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two cells around each position (in cells, centres at k + .5), clamped, and the second one's weight."""
    centred = np.clip(position - 0.5, 0, cells - 1)
    low = np.minimum(centred.astype(np.intp), max(cells - 2, 0))
    return low, np.minimum(low + 1, cells - 1), (centred - low).astype(np.float32)


def slice_grid(grid: np.ndarray, guide: np.ndarray, rows: slice = slice(None), height: int = 0) -> np.ndarray:
    """Affine matrices (h, W, 12) for the guide map (h, W) of `rows` of a frame `height` rows high (0: all of it)."""
    gd, gh, gw, _ = grid.shape
    height = height or guide.shape[0]
    y = np.arange(height)[rows]
    x = np.arange(guide.shape[1])
    y0, y1, fy = _corners((y + 0.5) * gh / height, gh)
    x0, x1, fx = _corners((x + 0.5) * gw / len(x), gw)
    z0, z1, fz = _corners(guide * gd, gd)
    y0, y1, fy = y0[:, None], y1[:, None], fy[:, None, None]
    fx, fz = fx[:, None], fz[..., None]

    def plane(z: np.ndarray) -> np.ndarray:
        top = grid[z, y0, x0] * (1 - fx) + grid[z, y0, x1] * fx
        bottom = grid[z, y1, x0] * (1 - fx) + grid[z, y1, x1] * fx
        sliced: np.ndarray = top * (1 - fy) + bottom * fy
        return sliced

    matrices: np.ndarray = plane(z0) * (1 - fz) + plane(z1) * fz
    return matrices


def apply_affine(matrices: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Each pixel (H, W, 3) through its own 3x4 matrix (H, W, 12), not clipped."""
    m = matrices.reshape(*matrices.shape[:-1], 3, 4)
    colours: np.ndarray = np.einsum("...ij,...j->...i", m[..., :3], image) + m[..., 3]
    return colours


def slice_colours(grid: np.ndarray, colours: np.ndarray, rows: slice = slice(None), height: int = 0) -> np.ndarray:
    """Slice and apply: sRGB (h, W, 3) in [0, 1] through the grid, clipped to [0, 1]; `rows` as in `slice_grid`."""
    through = apply_affine(slice_grid(grid, guide_map(colours), rows, height), colours)
    clipped: np.ndarray = np.clip(through, 0, 1)
    return clipped


def render(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Slice and apply: the frame (H, W, 3) uint8 sRGB through the grid, rounded and clipped to uint8.

    Slow and plain, in bands of rows so that memory stays bounded. The fast ones are behind `renderer`.
    """
    height, width = image.shape[:2]
    out = np.empty_like(image)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        pixels = image[rows].astype(np.float32) / 255
        out[rows] = np.floor(slice_colours(grid, pixels, rows, height) * 255 + 0.5)
    return out
