"""Regions: which part of the picture is sky, which is house, as soft maps that are matched by name.

A region has a name: one of the nine mask colours of Luan et al. 2017 ("blue", "green", ...), the number of a
label image ("3"), or a class of a segmenter ("sky"). Regions of a frame and of a reference belong together where
their names are equal. The network sees soft maps over the thumbnail, one slot each, and matches by itself what lies
in none.
"""

from dataclasses import dataclass

import numpy as np

SLOTS = 8
WHOLE = "whole"
"""The name of a region that is all of the picture."""
REGION_NAMES = ("sky", "building", "vegetation", "ground", "water", "vehicle", "person", "other")
PRESENT = 0.01
"""A region found in a smaller share of a picture is a slip of the segmenter."""


@dataclass(frozen=True)
class Doubt:
    """How a segmenter's word is taken: its probabilities to a `power`; and below `unsure`, the likeliest region of a
    pixel counts for nothing, above `sure` wholly."""

    power: float
    unsure: float
    sure: float


DOUBT = Doubt(2, 0.2, 0.6)
"""Chosen on held-out photographs."""


@dataclass(frozen=True)
class Regions:
    """Soft maps (n, T, T) float32 in [0, 1] over a thumbnail, summing to at most 1, and the name of each."""

    maps: np.ndarray
    names: tuple[str, ...]


def no_regions(size: int) -> Regions:
    """Nothing is known of the picture, over a thumbnail `size` pixels wide."""
    return Regions(np.zeros((0, size, size), np.float32), ())


def confident(regions: Regions, doubt: Doubt = DOUBT) -> Regions:
    """A segmenter's maps with the likelier regions made likelier still, and unsure pixels left to nobody.

    The student matches those by itself, better than by a guess.
    """
    maps = regions.maps**doubt.power
    trust = (regions.maps.max(0, initial=0) - doubt.unsure) / max(doubt.sure - doubt.unsure, 1e-6)
    maps *= np.clip(trust, 0, 1) / (maps.sum(0) + 1e-6)
    return Regions(maps, regions.names)


def present(regions: Regions) -> Regions:
    """Those that a segmenter found in more than PRESENT of the picture."""
    there = [i for i, region in enumerate(regions.maps) if region.mean() > PRESENT]
    return Regions(regions.maps[there], tuple(regions.names[i] for i in there))
