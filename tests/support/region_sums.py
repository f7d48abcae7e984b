"""Sums over regions of pictures without features, in double precision."""

import torch
from torch import Tensor

from hueglass.train.student.sums import region_sums, summary


def random_maps(batch: int, slots: int, size: int, seed: int = 0) -> Tensor:
    maps = torch.rand(batch, slots, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 6
    return maps / maps.sum(1, keepdim=True)


def sums_of(image: Tensor, maps: Tensor) -> Tensor:
    """Of a picture without features."""
    return region_sums(image, image.new_zeros(len(image), 1, 1, 1), maps)


def measured(image: Tensor, maps: Tensor) -> Tensor:
    return summary(sums_of(image, maps))
