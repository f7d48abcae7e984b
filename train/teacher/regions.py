"""Which region of the style a region of the content takes its light from.

Regions belong together where their names are equal. Luan et al. 2017 drag a region without a counterpart towards
an all-zero Gram matrix; here it takes the light of the whole style, and is reported by name.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from hueglass.infer.regions.masks import MINIMUM_PIXELS, Mask
from hueglass.infer.regions.regions import WHOLE
from hueglass.infer.resize import reduced_size

MAX_AREA_RATIO = 100
"""Regions whose shares of their pictures differ more have little in common (Li et al. 2018, FastPhotoStyle)."""


@dataclass(frozen=True)
class RegionPair:
    """Region r of the content, `maps[r]`, takes the light of `style_maps[r]`.

    `maps` (R, H, W) and `style_maps` (R, h, w) are boolean; every pixel of the content lies in exactly one region.
    They may be smaller than the pictures: see `resized`.
    `unmatched` names those regions of the content whose `style_maps[r]` is the whole style for want of a counterpart.
    """

    names: tuple[str, ...]
    maps: np.ndarray
    style_maps: np.ndarray
    unmatched: tuple[str, ...] = ()


def whole_pair(content_size: tuple[int, int], style_size: tuple[int, int]) -> RegionPair:
    """The one region of pictures without masks; sizes are (height, width)."""
    return RegionPair((WHOLE,), np.ones((1, *content_size), bool), np.ones((1, *style_size), bool))


def match_regions(mask: Mask, style_mask: Mask) -> RegionPair:
    """The content's regions, largest first, each with its counterpart in the style.

    A counterpart has the same name, more than MINIMUM_PIXELS on both sides and an area ratio under MAX_AREA_RATIO.
    A region of the content of MINIMUM_PIXELS or fewer is a slip of the brush and joins the largest.
    """
    counts = np.bincount(mask.labels.ravel(), minlength=len(mask.names))
    order = [int(n) for n in np.argsort(-counts, kind="stable") if counts[n] > MINIMUM_PIXELS]
    if not order:
        return whole_pair(mask.labels.shape, style_mask.labels.shape)
    labels = np.where(np.isin(mask.labels, order), mask.labels, order[0])
    names = tuple(mask.names[n] for n in order)
    maps = np.stack([labels == n for n in order])
    counterparts = [_counterpart(name, m.mean(), style_mask) for name, m in zip(names, maps, strict=True)]
    unmatched = tuple(name for name, c in zip(names, counterparts, strict=True) if c is None)
    everything = np.ones(style_mask.labels.shape, bool)
    return RegionPair(names, maps, np.stack([everything if c is None else c for c in counterparts]), unmatched)


def reduced_mask(mask: Mask, size: int) -> Mask:
    """The mask with its longer side at most `size`: regions are compared small, and a large picture's fill memory."""
    height, width = reduced_size(mask.labels.shape, size)
    return Mask(cv2.resize(mask.labels, (width, height), interpolation=cv2.INTER_NEAREST), mask.names)


def _counterpart(name: str, share: float, style_mask: Mask) -> np.ndarray | None:
    """The style's region (h, w) of this name, or None if it is missing or of quite another size."""
    if name not in style_mask.names:
        return None
    region = style_mask.labels == style_mask.names.index(name)
    if region.sum() <= MINIMUM_PIXELS:
        return None
    ratio = float(region.mean()) / share
    return region if 1 / MAX_AREA_RATIO < ratio < MAX_AREA_RATIO else None


def resized(pair: RegionPair, content_size: tuple[int, int], style_size: tuple[int, int]) -> RegionPair:
    """The same regions over pictures of (height, width); every pixel still lies in exactly one of the content's.

    A region of the style that vanishes at the new size keeps the pixel nearest to its centre.
    """
    labels = cv2.resize(pair.maps.argmax(0).astype(np.uint8), content_size[::-1], interpolation=cv2.INTER_NEAREST)
    maps = labels == np.arange(len(pair.names))[:, None, None]
    return RegionPair(pair.names, maps, np.stack([_shrunk(m, style_size) for m in pair.style_maps]), pair.unmatched)


def _shrunk(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    small = cv2.resize(region.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    if not small.any():
        y, x = (np.argwhere(region).mean(0) / region.shape * size).astype(int)
        small[y, x] = True
    return small
