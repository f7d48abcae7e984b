"""CNNMRF: the style as patches of feature maps, each patch of the output drawn to the nearest one of the style.

Li and Wand 2016, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis". A baseline
beside Gram matrices: it copies what it finds in the style and knows nothing of regions. Departures: no rotated or
rescaled copies of the style (section 3.4); each term is relative to the size of what it compares with, so that one
set of weights serves both networks.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat
from torch import Tensor

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.features import Features

from .lbfgs import NO_START, minimise
from .style_losses import content_loss, total_variation

LAYERS = {"vgg19": ("relu3_1", "relu4_1"), "squeezenet": ("fire2", "fire5")}
CONTENT_LAYER = {"vgg19": "relu4_2", "squeezenet": "fire6"}
"""The paper's layers, the first at strides 4 and 8 and a deeper one; and the same of SqueezeNet."""
SCALES = 3
MINIMUM_SIDE = 32
"""Feature maps of a narrower picture hold no patch."""
MAX_SCORES = 1 << 24
"""As many correlations of patches are held at a time."""


class CnnMrfConfig(BaseModel):
    """Weights are relative to a weight of 1 for each layer of patches."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(256, ge=64, le=512)
    """Longer side in pixels at which is optimised; the output is enlarged from there."""
    layers: tuple[str, ...] | None = Field(None, min_length=1)
    content_layer: str | None = None
    """None: LAYERS and CONTENT_LAYER of the network."""
    patch: int = Field(3, ge=1, le=7)
    stride: int = Field(2, ge=1, le=16)
    """Between patches of the style; those of the output lie at every place. 2 as in the published code."""
    content_weight: NonNegativeFloat = 0.3
    tv_weight: NonNegativeFloat = 1e-3
    """Of half the mean squared difference of neighbouring pixels, on the scale 0..255."""
    evaluations: int = Field(100, ge=2, le=2000)
    """At each of the scales."""


def cnnmrf(content: np.ndarray, style: np.ndarray, features: Features, config: CnnMrfConfig) -> np.ndarray:
    """`content` (H, W, 3) in the style of `style` (h, w, 3), at the content's size; uint8 sRGB throughout.

    UsageError for a layer that the network does not have, or pictures too narrow for patches in it; HueglassError if
    the optimisation fails.
    """
    features.check([*_layers(features, config), _content_layer(features, config)])
    x = None
    for longest in _scales(content, style, config):
        here, there = (_resized(picture, longest) for picture in (content, style))
        energy = MrfEnergy(_tensor(here, features), _tensor(there, features), features, config)
        start = _tensor(
            here if x is None else cv2.resize(x, here.shape[1::-1], interpolation=cv2.INTER_CUBIC), features
        )
        found = minimise(energy, start, config.evaluations)
        if not found.alive.all():
            raise HueglassError(NO_START)
        x = _picture(found.x)
    assert x is not None
    return cv2.resize(x, content.shape[1::-1], interpolation=cv2.INTER_CUBIC)


class MrfEnergy:
    """The paper's equation 1 for one picture (1, 3, H, W): style patches, content and smoothness; the sum, (1,)."""

    def __init__(self, content: Tensor, style: Tensor, features: Features, config: CnnMrfConfig) -> None:
        self.features, self.config = features, config
        self.layers, self.content_layer = _layers(features, config), _content_layer(features, config)
        with torch.no_grad():
            found = features(style, self.layers)
            self.patches = {layer: patches(found[layer], config.patch, config.stride) for layer in self.layers}
            self.content = features(content, [self.content_layer])[self.content_layer]
        self.content_size = self.content.square().mean().clamp_min(1e-12)

    def __call__(self, image: Tensor) -> Tensor:
        found = self.features(image, [*self.layers, self.content_layer])
        energy = self.config.content_weight * content_loss(found[self.content_layer], self.content) / self.content_size
        for layer, style in self.patches.items():
            energy = energy + mrf_loss(patches(found[layer], self.config.patch), style)
        return energy + self.config.tv_weight * total_variation(image) / image.numel()


def patches(activations: Tensor, size: int, stride: int = 1) -> Tensor:
    """All size x size patches of activations (1, C, h, w), as columns (C size size, N)."""
    _, _, h, w = activations.shape
    if min(h, w) < size:
        raise UsageError(f"feature maps of {w}x{h} hold no patch of {size}x{size}: expected shallower layers")
    return F.unfold(activations, size, stride=stride)[0]


def nearest(ours: Tensor, style: Tensor) -> Tensor:
    """Which column of `style` (D, M) has the highest normalised cross-correlation with each of `ours` (D, N): (N,).

    Equation 3; the length of our own patch does not change the order.
    """
    directions = F.normalize(style, dim=0).T
    chunks = ours.split(max(1, MAX_SCORES // style.shape[1]), dim=1)
    return torch.cat([(directions @ chunk).argmax(0) for chunk in chunks])


def mrf_loss(ours: Tensor, style: Tensor) -> Tensor:
    """Mean squared distance of our patches (D, N) to their nearest in `style` (D, M), over the latter's mean square.

    Equation 2, but relative; (1,). The assignment is held fixed in the gradient, as in the paper.
    """
    with torch.no_grad():
        wanted = style[:, nearest(ours, style)]
    return ((ours - wanted).square().mean() / style.square().mean().clamp_min(1e-12))[None]


def _layers(features: Features, config: CnnMrfConfig) -> tuple[str, ...]:
    return config.layers or LAYERS[features.name]


def _content_layer(features: Features, config: CnnMrfConfig) -> str:
    return config.content_layer or CONTENT_LAYER[features.name]


def _scales(content: np.ndarray, style: np.ndarray, config: CnnMrfConfig) -> list[int]:
    """Longer sides from coarse to fine, each twice the last; those at which a picture is too narrow are left out."""
    finest = min(config.size, max(content.shape[:2]))
    for picture in (content, style):
        height, width = _size(picture, finest)
        if min(height, width) < MINIMUM_SIDE:
            raise UsageError(f"a picture shrinks to {width}x{height} pixels, expected {MINIMUM_SIDE} or more a side")
    longer = [finest >> n for n in reversed(range(SCALES))]
    return [n for n in longer if min(_size(content, n) + _size(style, n)) >= MINIMUM_SIDE]


def _size(picture: np.ndarray, longest: int) -> tuple[int, int]:
    """(height, width) of a picture brought to a longer side."""
    height, width = picture.shape[:2]
    return max(1, round(height * longest / max(height, width))), max(1, round(width * longest / max(height, width)))


def _resized(picture: np.ndarray, longest: int) -> np.ndarray:
    way = cv2.INTER_AREA if longest < max(picture.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(picture, _size(picture, longest)[::-1], interpolation=way)


def _tensor(picture: np.ndarray, features: Features) -> Tensor:
    """uint8 (H, W, 3) to (1, 3, H, W) in [0, 1], where the network is."""
    device = next(features.parameters()).device
    return torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255


def _picture(image: Tensor) -> np.ndarray:
    return (image[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
