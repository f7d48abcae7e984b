"""The segmenter: a network that says what a frame shows, as soft maps of named regions.

Two kinds serve: the one of the model bundle, and any ONNX segmenter of the user's (user_segmenter.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.resize import resized_square

from .regions import Regions, confident, present

if TYPE_CHECKING:
    from hueglass.infer.network.graph import Graph

MAX_CLASSES = 1024
MAX_SIDE = 2048
LEAST_NAMED = 0.1
"""Regions with less than this share of a pixel do not speak for all of it: what is surely a chair is not to become
sky because sky is the likeliest of the classes that have a name."""


@dataclass(frozen=True)
class Segmenter:
    """A segmentation graph and what has to be known about it. The bundle's is as the defaults say.

    The graph takes `input` (1, 3, *size) float32, sRGB in [0, 1] less `mean` over `deviation`, and gives scores
    (1, C, h, w), probabilities or with `softmax` their logits, or class numbers (1, h, w) or (1, 1, h, w), integers.
    `labels` are the regions of its classes. `path` stands for it in errors.
    """

    graph: "Graph"
    path: Path
    labels: tuple[str | None, ...]
    size: tuple[int, int]
    map_size: int
    input: str = "thumbnail"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    softmax: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The regions it knows, in the order of their first classes."""
        return tuple(dict.fromkeys(name for name in self.labels if name))

    @cached_property
    def membership(self) -> np.ndarray:
        """Which classes make up which region: (regions, classes) float32 of 0 and 1."""
        return np.array([[name == own for own in self.labels] for name in self.names], np.float32)

    def __call__(self, thumbnail: np.ndarray) -> Regions:
        """What a thumbnail (T, T, 3) uint8 sRGB shows, over (map_size, map_size). The maps sum to 1, and to less
        where only classes without a name are likely. HueglassError if the graph gives anything unexpected."""
        scores = self.scores(thumbnail)
        if scores.ndim == 3 and len(scores) != len(self.labels):
            raise HueglassError(f"{self.path}: gives scores of {len(scores)} classes, expected {len(self.labels)}")
        if scores.ndim == 2 and not (scores.min() >= 0 and scores.max() < len(self.labels)):
            found, last = f"{scores.min()} to {scores.max()}", len(self.labels) - 1
            raise HueglassError(f"{self.path}: gives class numbers {found}, expected 0 to {last}")
        return Regions(region_maps(scores, self.membership, self.map_size, self.softmax), self.names)

    def scores(self, thumbnail: np.ndarray) -> np.ndarray:
        """What the graph says: scores (C, h, w) float32 or class numbers (h, w)."""
        output, *_ = self.graph(**{self.input: self._planar(thumbnail)})
        return _checked_scores(self.path, output)

    def _planar(self, thumbnail: np.ndarray) -> np.ndarray:
        """(T, T, 3) uint8 to what the graph takes, (1, 3, *size) float32."""
        if thumbnail.shape[:2] != self.size:
            way = cv2.INTER_AREA if min(thumbnail.shape[:2]) > max(self.size) else cv2.INTER_LINEAR
            thumbnail = cv2.resize(thumbnail, self.size[::-1], interpolation=way)
        planar: np.ndarray = cv2.dnn.blobFromImage(thumbnail, 1 / 255, mean=[255 * m for m in self.mean])
        if self.deviation != (1.0, 1.0, 1.0):
            planar /= np.array(self.deviation, np.float32)[:, None, None]
        return planar


def find_regions(segmenter: Segmenter, thumbnail: np.ndarray) -> Regions:
    """What can be relied on in a single picture, given its thumbnail (T, T, 3) uint8."""
    return present(confident(segmenter(thumbnail)))


def _checked_scores(path: Path, output: object) -> np.ndarray:
    """Without the batch, and float32 unless they are class numbers."""
    if isinstance(output, np.ndarray) and output.ndim in (3, 4) and len(output) == 1 and output.size:
        scores: np.ndarray = output[0]
        numbers = output.dtype.kind in "iu"
        if numbers and output.shape[1] == 1 and output.ndim == 4:
            scores = scores[0]
        small = max(scores.shape[-2:]) <= MAX_SIDE
        if small and numbers and scores.ndim == 2:
            return scores
        if small and output.dtype.kind == "f" and scores.ndim == 3 and 2 <= len(scores) <= MAX_CLASSES:
            if not np.isfinite(scores).all():
                raise HueglassError(f"{path}: gives NaN or infinity, expected finite scores")
            return scores.astype(np.float32, copy=False)
    found = f"{output.dtype} {output.shape}" if isinstance(output, np.ndarray) else "no tensor"
    expected = f"float scores (1, 2 to {MAX_CLASSES}, h, w) or integer class numbers (1, h, w)"
    raise HueglassError(f"{path}: gives {found}, expected {expected}, sides up to {MAX_SIDE}")


def region_maps(scores: np.ndarray, membership: np.ndarray, size: int, softmax: bool) -> np.ndarray:
    """Soft maps (n, size, size) of regions, float32 in [0, 1], from scores (C, h, w) or class numbers (h, w).

    Row i of `membership` (n, C) marks the classes that make up region i: their probabilities are added, and scaled so
    that a pixel's regions sum to 1, or to less where all of them together have less than LEAST_NAMED.
    """
    shares: Iterable[np.ndarray]
    if scores.ndim == 2:
        shares = (row[scores] for row in membership)
    else:
        shares = _added(scores.reshape(len(scores), -1), membership, softmax).reshape(-1, *scores.shape[1:])
    maps = np.stack([share if share.shape == (size, size) else resized_square(share, size) for share in shares])
    maps /= np.maximum(maps.sum(0), LEAST_NAMED)
    return maps


def _added(scores: np.ndarray, membership: np.ndarray, softmax: bool) -> np.ndarray:
    """Probabilities (n, pixels) of regions from the scores (C, pixels) of classes."""
    if not softmax:
        added: np.ndarray = np.maximum(_sums(scores, membership), 0)
        return added
    weights = scores - scores.max(0)
    np.exp(weights, out=weights)
    probabilities: np.ndarray = _sums(weights, membership) / weights.sum(0)
    return probabilities


def _sums(scores: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """`membership` @ `scores`, without BLAS: its threads spin for 20 ms after a product, on the networks' cores."""
    rows = membership > 0
    if (rows.sum(1) == 1).all():  # the bundle's: each class is a region
        chosen: np.ndarray = scores[rows.argmax(1)]
        return chosen
    return np.stack([scores[row].sum(0) for row in rows])
