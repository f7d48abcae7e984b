"""The page in a browser: grids to show, and what it shows of them."""

from typing import Any

import numpy as np

from hueglass.infer.grid import bilateral
from hueglass.infer.screen.web.messages import STEP
from support.browser import (
    bytes_of,
    picture_of,
    until,
)

LEVELS = 2
SHARE = 0.001
"""The share of pixels that may be further from the reference than LEVELS."""
WIDTH, HEIGHT = 640, 360
TO_TEXT = """
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (array) => {
  let all = "";
  for (let k = 0; k < array.length; k += 32768) all += String.fromCharCode(...array.subarray(k, k + 32768));
  return btoa(all);
};
const shown = ({ width, height, pixels }) => ({ width, height, pixels: text(pixels) });
"""
SAME_FRAME = f"""() => {{ {TO_TEXT}
  const {{ renderer }} = window.hueglass, {{ strength }} = renderer;
  renderer.strength = 0;
  const plain = shown(renderer.readPixels());
  renderer.strength = strength;
  const {{ grid }} = renderer;
  return {{ plain, styled: shown(renderer.readPixels()), grid: text(new Uint8Array(grid.values.slice().buffer)),
    shape: grid.shape }};
}}"""
"""In one task, so that both pictures are of one frame and one grid."""
DROP = """(jpeg) => {
  const bytes = Uint8Array.from(atob(jpeg), (c) => c.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], "evening.jpg", { type: "image/jpeg" }));
  window.dispatchEvent(new DragEvent("dragover", { dataTransfer: files, cancelable: true }));
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
}"""


def sent(grid: np.ndarray) -> np.ndarray:
    """As the page gets it: every number rounded to a step, which half floats up to 2 hold."""
    return (np.rint(grid / STEP) * STEP).astype(np.float16).astype(np.float32)


def toned(red: float, green: float, blue: float) -> np.ndarray:
    """A grid that weighs the channels, more in the dark than in the light, and more at the left."""
    grid = bilateral.identity_grid().copy()
    depth, _, width = bilateral.GRID_SHAPE[:3]
    amount = np.linspace(1, 0.5, depth)[:, None, None] * np.linspace(1, 0.6, width)
    for entry, weight in ((0, red), (5, green), (10, blue)):
        grid[..., entry] += (weight - 1) * amount
    return sent(grid)


LOOKS = {"gold": toned(1.2, 0.9, 0.5), "night": toned(0.4, 0.6, 1.1)}
PHOTO = toned(0.5, 1.3, 0.6)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_agree(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    far = np.abs(got.astype(int) - expected.astype(int)).max(axis=2) > LEVELS
    assert far.mean() <= SHARE


def wait_for_grids(page: Any, count: int = 3) -> None:
    """Until that many more grids were shown."""
    before = page.evaluate("hueglass.counts.predicted")
    until(page, f"hueglass.counts.predicted >= {before + count}")


def same_frame(page: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame of the page as it is, as it is shown, and the grid between them."""
    answer = page.evaluate(SAME_FRAME)
    grid = bytes_of(answer["grid"]).view("<f2").astype(np.float32).reshape(answer["shape"])
    return picture_of(answer["plain"]), picture_of(answer["styled"]), grid
