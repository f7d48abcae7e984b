"""The segmenter: the whole network in one file but for its trunk. It names what a thumbnail shows.

The trunk (trunk.py) looks at the thumbnail a little smaller, and starts from weights learnt on ImageNet: a
few thousand pictures do not teach a network what the world looks like. A decoder goes back up (feature pyramids, Lin et
al. 2017), told at the coarsest level what the whole picture is about (Liu et al. 2015, ParseNet), and at the finest
levels where edges lie, by a thin branch that sees the thumbnail at full size.
"""

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.checkpoint import save_network, saved_network

from .trunk import CHANNELS, Trunk

WEIGHTS = "segmenter.safetensors"
SETTINGS = "segmenter.json"
HIGHEST = 30.0
"""Logits are kept within this of zero: the softmax is then safe without looking for the largest first."""
Width = Annotated[int, Field(ge=8, le=512)]


class SegmenterConfig(BaseModel):
    """Sizes of the network. They travel with every checkpoint. Multiples of 16 are what ONNX Runtime is fast at."""

    model_config = ConfigDict(extra="forbid")

    thumbnail: int = Field(256, ge=64, le=512, multiple_of=64)
    seen: int = Field(224, ge=64, le=512, multiple_of=32)
    """Pixels of a side at which the trunk looks at it: what is thin melts away below, and time goes with its square."""
    widths: tuple[Width, Width, Width, Width] = (16, 32, 64, 96)
    """Channels of the decoder: at 1/2 of the thumbnail; at 1/4 of it and of what the trunk sees; at 1/8; below."""


class Segmenter(nn.Module):
    """Thumbnails (B, 3, T, T) sRGB in [0, 1] to soft maps (B, 8, T/2, T/2) of REGION_NAMES that sum to 1."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        finest, fine, middle, coarse = config.widths
        widths = (fine, middle, coarse, coarse)
        self.trunk = Trunk()
        self.edges = nn.ModuleList([_block(3, finest, 3, stride=2), _block(finest, fine, 3, stride=2)])
        self.laterals = nn.ModuleList([_block(c, w, 1) for c, w in zip(CHANNELS, widths, strict=True)])
        self.context = nn.Conv2d(CHANNELS[-1], coarse, 1)
        self.narrow = nn.ModuleList([_block(w, n, 1) for w, n in ((middle, fine), (coarse, middle), (coarse, coarse))])
        self.mix = nn.ModuleList([_block(w, w, 3) for w in widths[:3]])
        self.join = _block(fine, fine, 3)
        self.last = nn.Conv2d(fine, finest, 1)
        self.name = nn.Conv2d(finest, len(REGION_NAMES), 1)

    def forward(self, image: Tensor) -> Tensor:
        # Written out: over the channels of a map ONNX Runtime's Softmax takes ten times as long.
        weights = torch.exp(self.logits(image))
        return weights / weights.sum(1, keepdim=True)

    def logits(self, image: Tensor) -> Tensor:
        """What `forward` takes the softmax of, (B, 8, T/2, T/2)."""
        half = self.edges[0](image)
        quarter = self.edges[1](half)
        *finer, coarsest = self.trunk(_resized(image, self.config.seen))
        x = self.laterals[3](coarsest) + self.context(coarsest.mean((2, 3), keepdim=True))
        for i in (2, 1, 0):
            level = finer[i]
            x = self.mix[i](_resized(self.narrow[i](x), level.shape[-1]) + self.laterals[i](level))
        x = self.join(_resized(x, quarter.shape[-1]) + quarter)
        x = self.name(F.relu(_resized(self.last(x), half.shape[-1]) + half))
        return x.clamp(-HIGHEST, HIGHEST)


def _block(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _resized(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


def save_segmenter(folder: Path, segmenter: Segmenter, facts: dict) -> None:
    """Write the network, its sizes and `facts` (steps, scores, configuration) to `folder`, each file whole."""
    facts = {"segmenter": segmenter.config.model_dump(), **facts}
    save_network(folder, "segmenter", segmenter.state_dict(), facts)


def load_segmenter(folder: Path) -> tuple[Segmenter, dict]:
    """The network of a checkpoint folder, in evaluation mode, and its facts.

    UsageError if there is none, HueglassError if its files do not fit together.
    """
    with saved_network(folder, "segmenter", "segmenter") as (tensors, facts):
        segmenter = Segmenter(SegmenterConfig.model_validate(facts.pop("segmenter")))
        segmenter.load_state_dict(tensors)
    return segmenter.eval(), facts
