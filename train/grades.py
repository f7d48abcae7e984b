"""Random photographic grades: the "other light" of self-supervised training.

A grade is what a colourist would do with a few dials: exposure, white balance, contrast, gamma, saturation, hue,
split toning, black and white points. A *local* grade gives every region its own dials.
"""

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, PositiveFloat
from torch import Tensor

from .bilateral import LUMA


class GradeConfig(BaseModel):
    """Spread of each dial (a standard deviation unless said otherwise)."""

    model_config = ConfigDict(extra="forbid")

    exposure: PositiveFloat = 0.5
    balance: PositiveFloat = 0.2
    gamma: PositiveFloat = 0.25
    contrast: PositiveFloat = 0.6
    saturation: PositiveFloat = 0.45
    hue: PositiveFloat = 0.2
    tint: PositiveFloat = 0.07
    black: PositiveFloat = 0.12
    """The black point is uniform between 0 and this, the white point between 1 minus this and 1."""


def random_grades(count: tuple[int, ...], config: GradeConfig, generator: torch.Generator) -> Tensor:
    """Dials of random grades: (*count, 16)."""
    c = config
    spread = [c.exposure] + 3 * [c.balance] + [c.gamma, c.contrast, c.saturation, c.hue] + 6 * [c.tint]
    normal = torch.randn(*count, 14, generator=generator).clamp(-2.5, 2.5) * torch.tensor(spread)
    points = torch.rand(*count, 2, generator=generator) * c.black
    return torch.cat([normal, points], -1)


def grade(image: Tensor, dials: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) sRGB in [0, 1] under dials (B, 16, H, W) or (B, 16, 1, 1): the same, graded and clipped."""
    exposure, balance, shadows, highlights = dials[:, :1], dials[:, 1:4], dials[:, 8:11], dials[:, 11:14]
    gamma, contrast, saturation, hue = dials[:, 4:8].split(1, 1)
    black, white = dials[:, 14:].split(1, 1)
    # Exposure is in linear light, 2.2 its gamma: (x^2.2 e)^(g / 2.2) is (x e^(1 / 2.2))^g, one power instead of two.
    x = (image * torch.exp((exposure + balance) / 2.2)).clamp(1e-3, 1) ** torch.exp(gamma)
    x = x + contrast * (x * x * (3 - 2 * x) - x)
    luma = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    x = luma + torch.exp(saturation) * _turn(x - luma, hue)
    x = x + (1 - luma) * shadows + luma * highlights
    return (black + (1 - black - white) * x).clamp(0, 1)


def _turn(chroma: Tensor, angle: Tensor) -> Tensor:
    """Rotate colours about the grey axis (Rodrigues' formula) by `angle` radians."""
    along = chroma.mean(1, keepdim=True)
    crossed = (chroma.roll(1, 1) - chroma.roll(-1, 1)) / 3**0.5
    return chroma * torch.cos(angle) + crossed * torch.sin(angle) + along * (1 - torch.cos(angle))


def grade_regions(image: Tensor, maps: Tensor, dials: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) with every region of `maps` (B, R, h, w, summing to 1) under its own dials (B, R, 16).

    Where regions meet the dials blend, as a colourist's soft mask would have it.
    """
    b, _, h, w = maps.shape
    if (dials == dials[:, :1]).all():
        return grade(image, dials[:, 0, :, None, None])
    mixed = torch.matmul(dials.transpose(1, 2), maps.flatten(2)).reshape(b, -1, h, w)
    return grade(image, F.interpolate(mixed, size=image.shape[-2:], mode="bilinear", align_corners=False))
