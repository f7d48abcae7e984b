"""Pairs with a known answer: a photograph under one grade, in the light of itself under another.

What a method should make of it is the second picture, pixel by pixel:

    psnr        of output and answer, in decibels
    ssim        structural similarity of their luma
    histogram   correlation of their colour histograms, mean over the channels
    lipschitz   the most that two colours are driven apart, over random pairs of pixels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from skimage.metrics import structural_similarity

from hueglass.datasets.photos import Photo
from hueglass.infer.grid.bilateral import LUMA

from .grades import GradeConfig, grade, random_grades

METRICS = ("psnr", "ssim", "histogram", "lipschitz")
BINS = 64
PAIRS = 50_000
LEAST_APART = 1 / 255
"""Colours nearer than this say nothing of how far they are driven apart: they are rounded."""


@dataclass(frozen=True)
class Known:
    """`content` and `style`, both (H, W, 3) uint8 sRGB and one photograph: the style is the answer."""

    name: str
    content: np.ndarray
    style: np.ndarray


def known_pairs(photos: Sequence[Photo], config: GradeConfig) -> list[Known]:
    """A pair of each photograph; its grades are its name's, the same everywhere."""
    return [_graded(photo, config) for photo in photos]


def _graded(photo: Photo, config: GradeConfig) -> Known:
    generator = torch.Generator().manual_seed(crc32(photo.name.encode()))
    image = torch.from_numpy(photo.image).permute(2, 0, 1)[None].float() / 255
    graded = grade(image.expand(2, -1, -1, -1), random_grades((2,), config, generator)[..., None, None])
    content, style = (255 * graded).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return Known(photo.name, np.ascontiguousarray(content), np.ascontiguousarray(style))


def measure(pair: Known, output: np.ndarray) -> dict[str, float]:
    """All metrics of an output (H, W, 3) uint8 of a pair."""
    ours, answer = (image.astype(np.float32) / 255 for image in (output, pair.style))
    return {
        "psnr": psnr(ours, answer),
        "ssim": float(structural_similarity(ours @ LUMA, answer @ LUMA, data_range=1.0)),
        "histogram": histogram_correlation(output, pair.style),
        "lipschitz": lipschitz(pair.content, output),
    }


def psnr(output: np.ndarray, answer: np.ndarray) -> float:
    """Of pictures in [0, 1]; 99 where they are the same."""
    error = float(((output - answer) ** 2).mean())
    return min(99.0, -10 * float(np.log10(max(error, 1e-12))))


def histogram_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of the histograms of each channel of pictures (H, W, 3) uint8, mean over the channels."""
    found = []
    for channel in range(3):
        a, b = (np.histogram(image[..., channel], BINS, (0, 256))[0].astype(float) for image in (one, other))
        found.append(np.corrcoef(a, b)[0, 1])
    return float(np.mean(found))


def lipschitz(content: np.ndarray, output: np.ndarray, seed: int = 0) -> float:
    """The largest |dO| / |dI| over random pairs of pixels of pictures (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    pixels = content.shape[0] * content.shape[1]
    first, second = rng.integers(0, pixels, (2, PAIRS))
    before, after = (image.reshape(-1, 3).astype(np.float32) / 255 for image in (content, output))
    apart = np.linalg.norm(before[first] - before[second], axis=1)
    driven = np.linalg.norm(after[first] - after[second], axis=1)
    counted = apart >= LEAST_APART
    return float((driven[counted] / apart[counted]).max(initial=0.0))
