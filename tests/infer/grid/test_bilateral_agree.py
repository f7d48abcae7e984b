"""Every renderer against the numpy reference, and the reference against its own docstring.

Tolerance: one uint8 level, and that on few values, where a sum falls on a rounding boundary. A new renderer
is one more line in RENDERERS.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from support.grids import CASES, assert_agree, expected, grey_ramp, noise, random_grid

from hueglass.infer.grid import bilateral
from hueglass.infer.grid.cpu import native

SHARE = {"native": 0.05, "torch": 0.005}
"""The share of values that may differ at all: who truncates, or is off by half a pixel, fails here first. The compiled
renderer counts in 16 bits."""


def render_native(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
    if not native.available():
        pytest.skip("the compiled renderer was not built")
    return native.render(grid, image)


def render_native_on(path: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The compiled renderer on one of its paths."""

    def render(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
        if path not in native.paths():
            pytest.skip(f"this machine has no {path}")
        assert native._render is not None
        out = np.empty_like(image)
        native._render.render(np.ascontiguousarray(grid), np.ascontiguousarray(image), out, path=path)
        return out

    return render


def render_torch(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    from hueglass.train import bilateral as differentiable

    pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]
    result = differentiable.render(torch.from_numpy(grid.copy())[None], pixels)[0].permute(1, 2, 0)
    return torch.floor(result.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


RENDERERS = {
    "native": render_native,
    **{f"native-{path}": render_native_on(path) for path in ("avx512", "avx2", "neon", "plain")},
    "torch": render_torch,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_agrees_with_the_reference(renderer: str, case: str) -> None:
    grid, image, reference = expected(case)
    assert_agree(RENDERERS[renderer](grid, image), reference, SHARE[renderer.partition("-")[0]])


@pytest.mark.parametrize("renderer", [*RENDERERS, "reference"])
def test_identity_grid_changes_no_level(renderer: str) -> None:
    render = bilateral.render if renderer == "reference" else RENDERERS[renderer]
    image = grey_ramp()
    np.testing.assert_array_equal(render(bilateral.identity_grid(), image), image)


def brute_force(grid: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The docstring of infer/grid/bilateral.py, in scalars: a sum over all cells, each with its tent of weight."""
    gd, gh, gw, _ = grid.shape
    height, width = image.shape[:2]
    out = np.zeros_like(image)

    def tent(position: float, cell: int, cells: int) -> float:
        clamped = min(max(position, 0.5), cells - 0.5)
        return max(0.0, 1 - abs(clamped - (cell + 0.5)))

    for y, x in np.ndindex(height, width):
        r, g, b = (float(v) / 255 for v in image[y, x])
        gx, gy = (x + 0.5) * gw / width, (y + 0.5) * gh / height
        gz = (0.299 * r + 0.587 * g + 0.114 * b) * gd
        matrix = [0.0] * 12
        for k, j, i in np.ndindex(gd, gh, gw):
            weight = tent(gz, k, gd) * tent(gy, j, gh) * tent(gx, i, gw)
            for c in range(12):
                matrix[c] += weight * float(grid[k, j, i, c])
        for c in range(3):
            value = matrix[4 * c] * r + matrix[4 * c + 1] * g + matrix[4 * c + 2] * b + matrix[4 * c + 3]
            out[y, x, c] = math.floor(255 * min(max(value, 0), 1) + 0.5)
    return out


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 1, 1), (2, 1, 3)])
def test_reference_does_what_its_docstring_says(shape: tuple[int, int, int]) -> None:
    grid, image = random_grid(shape), noise(6, 9)
    assert_agree(bilateral.render(grid, image), brute_force(grid, image), 0.005)


def test_reference_in_bands_is_the_reference_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, image, whole = expected("colour ramps")
    monkeypatch.setattr(bilateral, "BAND_PIXELS", 7 * image.shape[1])
    np.testing.assert_array_equal(bilateral.render(grid, image), whole)
