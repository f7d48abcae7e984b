"""The scene: what a camera sees twice has to get the same colours twice, once the scene is remembered.

A second view is seen with the memory of the first one; where both show the same, it has to become the same. The memory
weighs anything from one frame to a thousand: at first it is half of what the student goes by, later nearly all.

The transform invariance of Eilertsen et al. 2019 ("Single-frame regularization for temporally stable CNNs"), with the
motion of a head that turns, with noise, and with a memory. It needs no video.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import Sight, Student

HEAVIEST = 1000.0
"""How many frames a memory weighs at most."""


def remembered(sums: Tensor) -> Tensor:
    """Memories of scenes of which one frame was seen, `sums` (B, R, S) as `Sight` has them, each of a random weight."""
    weight = torch.exp(math.log(HEAVIEST) * torch.rand(len(sums), 1, 1))
    return sums * weight.to(sums.device)


def seen_again(student: Student, sight: Sight, view: Tensor, maps: Tensor, codes: Tensor) -> Sight:
    """What the student makes of other views (B, 3, T, T) of scenes of which it remembers the first `sight`."""
    return student.see(view, maps, codes, remembered(sight.sums))


def inconsistency(first: Tensor, output: Tensor, second: Tensor, again: Tensor, motion: Tensor) -> Tensor:
    """Charbonnier distance of what two views of a scene become, where both show the same.

    `first`, `second` (B, 3, H, W) sRGB are the views, `output` and `again` their restyled pictures; `motion` (B, 2, 3)
    takes places of the second to the first. What is compared is the change: the views themselves differ in sharpness.
    """
    places = F.affine_grid(motion, list(second.shape), align_corners=False)
    inside = (places.abs() <= 1).all(-1)[:, None].float()
    moved = F.grid_sample(output - first, places, padding_mode="border", align_corners=False)
    gaps = ((again - second - moved).square() + 1e-6).sqrt().mean(1, keepdim=True)
    return (gaps * inside).sum() / inside.sum().clamp_min(1.0)
