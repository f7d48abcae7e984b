"""The segmenter: the whole network in one file. It names what a thumbnail shows.

The trunk is SqueezeNet 1.0 (Iandola et al. 2016) on the thumbnail at half size, so that it can start from weights
learnt on ImageNet: a few hundred labelled pictures do not teach a network what the world looks like. A decoder goes
back up (feature pyramids, Lin et al. 2017), told at the coarsest level what the whole picture is about (Liu et al.
2015, ParseNet), and at the finest levels where edges lie, by a thin branch that sees the thumbnail at full size.
"""

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import torchvision
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.checkpoint import save_network, saved_network
from hueglass.train.features import TORCHVISION, Features

WEIGHTS = "segmenter.safetensors"
SETTINGS = "segmenter.json"
MEAN = TORCHVISION.mean
DEVIATION = 0.226
HIGHEST = 30.0
"""Logits are kept within this of zero: the softmax is then safe without looking for the largest first."""
_FIRE4, _FIRE8, _FIRE9 = 6, 11, 13
"""Where the levels of the trunk end: the places after these modules in torchvision's Sequential."""
_CHANNELS = (256, 512, 512)


Width = Annotated[int, Field(ge=8, le=512)]


class SegmenterConfig(BaseModel):
    """Sizes of the network. They travel with every checkpoint. Multiples of 16 are what ONNX Runtime is fast at."""

    model_config = ConfigDict(extra="forbid")

    thumbnail: int = Field(256, ge=64, le=512, multiple_of=64)
    widths: tuple[Width, Width, Width, Width] = (16, 32, 48, 64)
    """Channels of the decoder at 1/2, 1/4, 1/8 and 1/16 of the thumbnail."""


class Segmenter(nn.Module):
    """Thumbnails (B, 3, T, T) sRGB in [0, 1] to soft maps (B, 8, T/2, T/2) of REGION_NAMES that sum to 1."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        finest, fine, middle, coarse = config.widths
        self.trunk = _trunk()
        self.edges = nn.ModuleList([_block(3, finest, 3, stride=2), _block(finest, fine, 3, stride=2)])
        self.laterals = nn.ModuleList(
            [_block(c, w, 1) for c, w in zip(_CHANNELS, (middle, coarse, coarse), strict=True)]
        )
        self.context = nn.Conv2d(_CHANNELS[2], coarse, 1)
        self.mix = nn.ModuleList([_block(coarse, middle, 3), _block(middle, middle, 3), _block(fine, fine, 3)])
        self.narrow = nn.ModuleList([nn.Conv2d(middle, fine, 1), nn.Conv2d(fine, finest, 1)])
        self.name = nn.Conv2d(finest, len(REGION_NAMES), 1)

    def forward(self, image: Tensor) -> Tensor:
        # Written out: over the channels of a map ONNX Runtime's Softmax takes ten times as long.
        weights = torch.exp(self.logits(image))
        return weights / weights.sum(1, keepdim=True)

    def logits(self, image: Tensor) -> Tensor:
        """What `forward` takes the softmax of, (B, 8, T/2, T/2)."""
        half = self.edges[0](image)
        quarter = self.edges[1](half)
        fire4, fire8, fire9 = self._levels(image)
        x = self.laterals[2](fire9) + self.context(fire9.mean((2, 3), keepdim=True))
        x = self.mix[0](_double(x) + self.laterals[1](fire8))
        x = self.mix[1](_double(x) + self.laterals[0](fire4))
        x = self.mix[2](F.relu(_double(self.narrow[0](x)) + quarter))
        x = self.name(F.relu(_double(self.narrow[1](x)) + half))
        return x.clamp(-HIGHEST, HIGHEST)

    def _levels(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the trunk sees at 1/8, 1/16 and 1/32 of the thumbnail."""
        small = F.avg_pool2d(image, 2)
        x = (small - small.new_tensor(MEAN)[:, None, None]) / DEVIATION
        fire4 = self.trunk[:_FIRE4](x)
        fire8 = self.trunk[_FIRE4:_FIRE8](fire4)
        return fire4, fire8, self.trunk[_FIRE8:_FIRE9](fire8)

    @torch.no_grad()
    def start_from(self, features: Features) -> None:
        """Give the trunk the weights of a trained SqueezeNet, whatever way it wants its pictures prepared."""
        self.trunk.load_state_dict(features.stack.state_dict())
        p = features.preparation
        first = self.trunk[0]
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        by_channel = first.weight * first.weight.new_tensor(p.scale)[:, None, None]
        means = [MEAN[c] - mean for c, mean in zip(p.order, p.mean, strict=True)]
        first.bias += (by_channel * by_channel.new_tensor(means)[:, None, None]).sum((1, 2, 3))
        first.weight[:, list(p.order)] = by_channel * DEVIATION
        # ReLU networks scale with their input: biases and first weights bring Caffe's hundreds to the order of one.
        scale = p.activations / TORCHVISION.activations
        first.weight *= scale
        for name, value in self.trunk.named_parameters():
            if name.endswith("bias"):
                value.mul_(scale)


def _trunk() -> nn.Sequential:
    """SqueezeNet's features; padded so that sizes halve exactly and the levels lie over one another."""
    trunk = torchvision.models.squeezenet1_0().features
    trunk[0].padding = (3, 3)
    trunk[6] = nn.MaxPool2d(3, stride=2, padding=1)
    return trunk


def _block(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


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
