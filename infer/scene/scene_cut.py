"""Cuts: where a frame belongs to another shot than the one before."""

from dataclasses import dataclass

import cv2
import numpy as np

THRESHOLD = 0.5
"""A score above this is a cut."""
SIZE = 32
BINS = 8


@dataclass(frozen=True)
class Summary:
    """What is compared of a picture: a small grey copy of mean 0 and contrast 1, and a histogram that sums to 1."""

    grey: np.ndarray
    histogram: np.ndarray


@dataclass
class CutDetector:
    """Says of each frame whether it is the first of a shot. Its whole state is what it keeps of the frame before."""

    before: Summary | None = None
    time: float = 0.0

    def update(self, thumbnail: np.ndarray, time: float) -> bool:
        """True for the first frame, after a cut, and where time goes back; `thumbnail` (T, T, 3) uint8 sRGB."""
        after = summary_of(thumbnail)
        before, self.before = self.before, after
        backwards, self.time = time < self.time, time
        return before is None or backwards or not same_shot(before, after)


def cut_score(before: np.ndarray, after: np.ndarray) -> float:
    """0 (the same picture) to 1 for two thumbnails (T, T, 3) uint8 sRGB.

    The geometric mean of two distances, so that a cut has to show in both: of the pictures, after each is
    brought to the same mean and contrast (a change of light is not a cut), and of their colour histograms
    (motion is not a cut).
    """
    return _distance(summary_of(before), summary_of(after))


def summary_of(thumbnail: np.ndarray) -> Summary:
    """Of a thumbnail (T, T, 3) uint8 sRGB."""
    return Summary(_standardised(thumbnail), _histogram(thumbnail))


def same_shot(before: Summary, after: Summary) -> bool:
    """Whether there is no cut between two pictures."""
    return _distance(before, after) <= THRESHOLD


def _distance(before: Summary, after: Summary) -> float:
    """1 - correlation of the grey copies, and the share of pixels that changed their bin: their geometric mean."""
    structure = np.clip(1 - (before.grey * after.grey).mean(), 0, 1)
    changed = 0.5 * np.abs(before.histogram - after.histogram).sum()
    return float(np.sqrt(structure * changed))


def _standardised(thumbnail: np.ndarray) -> np.ndarray:
    small = cv2.resize(thumbnail, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # What is added keeps a flat picture from dividing by 0; much more would take a low contrast for a change.
    standardised: np.ndarray = (grey - grey.mean()) / (grey.std() + 0.2)
    return standardised


def _histogram(thumbnail: np.ndarray) -> np.ndarray:
    counts = cv2.calcHist([thumbnail], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
    shares: np.ndarray = cv2.GaussianBlur(counts.reshape(BINS * BINS, BINS), (3, 3), 0).ravel() / counts.sum()
    return shares
