"""Steadiness: what a camera adds from frame to frame, noise and a small motion, must not change the light.

The transform invariance of Eilertsen et al. 2019 ("Single-frame regularization for temporally stable CNNs"): a frame
that is shaken and then restyled should be the frame that is restyled and then shaken. It needs no video.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hueglass.train.bilateral import render

from .losses import reconstruction
from .network import Student

SHIFT = 0.02
"""Of the picture's sides, at most: five pixels of a thumbnail."""
ZOOM = 0.03
NOISE = 0.02
"""Standard deviation in sRGB [0, 1], at most; a thumbnail has averaged most of a camera's noise away."""


@dataclass(frozen=True)
class Shake:
    """How pictures of a batch are moved, `theta` (B, 2, 3) as `F.affine_grid` has it; their `noise` (B, 1, 1, 1)."""

    theta: Tensor
    noise: Tensor

    @staticmethod
    def draw(count: int, device: torch.device) -> "Shake":
        theta = torch.eye(2, 3).repeat(count, 1, 1)
        theta[:, :, :2] *= 1 + ZOOM * (2 * torch.rand(count, 1, 1) - 1)
        theta[:, :, 2] = 2 * SHIFT * (2 * torch.rand(count, 2) - 1)
        return Shake(theta.to(device), (NOISE * torch.rand(count, 1, 1, 1)).to(device))

    def move(self, x: Tensor) -> Tensor:
        """(B, C, H, W) moved; what comes in from outside is mirrored."""
        places = F.affine_grid(self.theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, places, padding_mode="reflection", align_corners=False)

    def film(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] as the camera gives them a moment later: moved, and with noise."""
        moved = self.move(image)
        return (moved + self.noise * torch.randn_like(moved)).clamp(0, 1)


def unsteadiness(student: Student, shake: Shake, content: Tensor, maps: Tensor, codes: Tensor, grid: Tensor) -> Tensor:
    """Charbonnier distance of pictures that are shaken before and after they are restyled.

    `content` (B, 3, T, T) and `maps` are the student's inputs, `grid` is what it made of them. Noise is shown to the
    student only: that it stays in the picture is right.
    """
    again = student(shake.film(content), shake.move(maps), codes)
    small = F.avg_pool2d(content, 2)
    return reconstruction(render(again, shake.move(small)), shake.move(render(grid, small)))
