"""Cuts: where a frame belongs to another shot than the one before."""

from dataclasses import dataclass

import cv2
import numpy as np

THRESHOLD = 0.5
"""A score above this is a cut."""
_SIZE = 32
_BINS = 8


@dataclass
class CutDetector:
    """Says of each frame whether it is the first of a shot. Its whole state is the frame before."""

    thumbnail: np.ndarray | None = None
    time: float = 0.0

    def update(self, thumbnail: np.ndarray, time: float) -> bool:
        """True for the first frame, after a cut, and where time goes back; `thumbnail` (T, T, 3) uint8 sRGB."""
        before, self.thumbnail = self.thumbnail, thumbnail
        backwards, self.time = time < self.time, time
        return before is None or backwards or cut_score(before, thumbnail) > THRESHOLD

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self.thumbnail = None


def cut_score(before: np.ndarray, after: np.ndarray) -> float:
    """0 (the same picture) to 1 for two thumbnails (T, T, 3) uint8 sRGB.

    The geometric mean of two distances, so that a cut has to show in both: of the pictures, after each is
    brought to the same mean and contrast (a change of light is not a cut), and of their colour histograms
    (motion is not a cut).
    """
    return float(np.sqrt(_structure_distance(before, after) * _histogram_distance(before, after)))


def _structure_distance(before: np.ndarray, after: np.ndarray) -> float:
    """(1 - correlation) of small grey copies, clipped to [0, 1]."""
    a, b = (_standardised(x) for x in (before, after))
    return float(np.clip(1 - (a * b).mean(), 0, 1))


def _standardised(thumbnail: np.ndarray) -> np.ndarray:
    small = cv2.resize(thumbnail, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # What is added keeps a flat picture from dividing by 0; much more would take a low contrast for a change.
    return (grey - grey.mean()) / (grey.std() + 0.2)


def _histogram_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Half the L1 distance of colour histograms: the share of pixels that changed their bin."""
    a, b = (_histogram(x) for x in (before, after))
    return float(0.5 * np.abs(a - b).sum())


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    counts = cv2.calcHist([thumbnail], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    return cv2.GaussianBlur(counts.reshape(_BINS * _BINS, _BINS), (3, 3), 0).ravel() / counts.sum()
