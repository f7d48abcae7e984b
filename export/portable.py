"""The portable graph: frame in, restyled frame out, for whoever runs one ONNX file and none of this package.

Only operators of four dimensions at most: 5-D GridSample, the obvious slice, is refused by TensorRT 10 and OpenVINO.
The slice is written out instead: each depth plane of the grid is enlarged bilinearly and weighted by its tent.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hueglass.train.bilateral import apply_affine, depth_tents, guide_map
from hueglass.train.student.network import Student


class Portable(nn.Module):
    """Frame (1, 3, H, W) sRGB in [0, 1] of any size, region maps (1, slots, T/2, T/2) and a look's codes (1, slots +
    tones, code) -> the frame in the look's light (1, 3, H, W), in [0, 1]."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, frame: Tensor, regions: Tensor, codes: Tensor) -> Tensor:
        thumbnail = average(frame, self.student.config.thumbnail)
        return slice_by_planes(self.student(thumbnail, regions, codes), frame).clamp(0, 1)


def average(image: Tensor, size: int) -> Tensor:
    """Pictures (B, C, H, W) at `size` x `size`: the mean over each pixel's area, as two matrix products."""
    rows, columns = overlaps(image[0, 0, :, 0], size), overlaps(image[0, 0, 0], size)
    return torch.matmul(torch.matmul(rows, image), columns.transpose(0, 1))


def overlaps(line: Tensor, size: int) -> Tensor:
    """(size, n): by how much each of the n pixels of a line is part of each of `size` equal pieces; rows sum to 1."""
    place = torch.arange(line.shape[0], dtype=line.dtype, device=line.device)
    piece = torch.arange(size, dtype=line.dtype, device=line.device)[:, None]
    length = line.shape[0] / size
    begin, end = piece * length, (piece + 1) * length
    return (torch.minimum(end, place + 1) - torch.maximum(begin, place)).clamp_min(0) / length


def slice_by_planes(grid: Tensor, image: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) through coefficients (B, gd, gh, gw, 12), not clipped: `train.bilateral.render` without 5-D
    operators."""
    size = image.shape[2:]
    tents = depth_tents(guide_map(image), grid.shape[1])
    matrices = torch.zeros((), dtype=image.dtype, device=image.device)
    for k in range(grid.shape[1]):
        plane = F.interpolate(grid[:, k].permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
        matrices = matrices + plane * tents[:, k : k + 1]
    return apply_affine(matrices, image)
