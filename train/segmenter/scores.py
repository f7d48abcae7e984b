"""How well a segmenter names what it sees: intersection over union, counted over all pixels of a set."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo
from hueglass.infer.regions.drawing import COLOURS
from hueglass.infer.regions.regions import REGION_NAMES, Regions

from .network import Segmenter
from .samples import thumbnails

COUNT = len(REGION_NAMES)


def confusion(truth: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Pixels (8, 8) by true region (rows) and named region (columns). UNKNOWN truth does not count."""
    known = truth != UNKNOWN
    pairs = truth[known].astype(np.int64) * COUNT + named[known]
    return np.bincount(pairs, minlength=COUNT * COUNT).reshape(COUNT, COUNT)


def intersection_over_union(counts: np.ndarray) -> np.ndarray:
    """IoU (8) of every region of a `confusion`; NaN for those that the truth does not have."""
    both, true, named = counts.diagonal(), counts.sum(1), counts.sum(0)
    return np.where(true > 0, both / np.maximum(true + named - both, 1), np.nan)


@torch.no_grad()
def name_pixels(segmenter: Segmenter, photos: list[Photo]) -> list[np.ndarray]:
    """The likeliest region (H, W) uint8 of every pixel of every photograph, each at its photograph's size."""
    device = next(segmenter.parameters()).device
    named = []
    for start in range(0, len(photos), 8):
        batch = photos[start : start + 8]
        maps = segmenter(thumbnails([photo.image for photo in batch], segmenter.config.thumbnail).to(device))
        for photo, soft in zip(batch, maps, strict=True):
            large = F.interpolate(soft[None], size=photo.image.shape[:2], mode="bilinear", align_corners=False)
            named.append(large[0].argmax(0).to(torch.uint8).cpu().numpy())
    return named


@torch.no_grad()
def maps_of(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """Soft maps (8, M, M) over a picture (H, W, 3) uint8 sRGB."""
    device = next(segmenter.parameters()).device
    maps: np.ndarray = segmenter(thumbnails([image], segmenter.config.thumbnail).to(device))[0].cpu().numpy()
    return maps


def name_pixels_of(regions: Regions, size: tuple[int, int]) -> np.ndarray:
    """The same at run time: the likeliest region (H, W) uint8 of every pixel of a picture of `size` (H, W)."""
    large = [cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR) for soft in regions.maps]
    numbers = np.array([REGION_NAMES.index(name) for name in regions.names], np.uint8)
    return numbers[np.argmax(large, 0)]


def scores(photos: list[Photo], named: list[np.ndarray], group: str) -> dict[str, float]:
    """`<group>_miou`, the mean over the regions that occur in the truth, and `<group>_<region>` of each of them."""
    counts = sum((confusion(p.labels, n) for p, n in zip(photos, named, strict=True) if p.labels is not None), 0)
    each = intersection_over_union(np.asarray(counts))
    known = ~np.isnan(each)
    by_name = {f"{group}_{n}": float(v) for n, v, k in zip(REGION_NAMES, each, known, strict=True) if k}
    return {f"{group}_miou": float(each[known].mean()), **by_name}


def selection(scores: dict[str, float]) -> float:
    """By what the weights to keep are chosen: the mean IoU of photographs, that of films and steadiness, alike."""
    return float(np.mean([value for name, value in scores.items() if name.endswith("_miou") or name == "steady"]))


def painted(labels: np.ndarray) -> np.ndarray:
    """A label image (H, W) in colours (H, W, 3) uint8; what is unknown is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:COUNT] = [COLOURS[name] for name in REGION_NAMES]
    return table[labels]
