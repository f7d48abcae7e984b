"""The losses of neural style transfer per region (Gatys et al. 2016; Luan et al. 2017), as plain functions.

Pictures are (B, 3, H, W) sRGB in [0, 1], activations (B, C, h, w), region maps (B, R, h, w) in [0, 1]. A loss is (B,):
one number a picture, so that a batch is many optimisations side by side, none of which sees another.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from hueglass.train.colour import to_lab


def content_loss(activations: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of the activations at a content layer."""
    return (activations - wanted).square().mean((1, 2, 3))


@dataclass(frozen=True)
class RegionPixels:
    """Soft region maps (B, R, h, w) as lists: each region's pixels and their weights, so that none pays for the others.

    `places[b][r]` (n) are the pixels of region r that count, `weights[b][r]` (n) how much; `areas` (B, R) their
    shares, 0 where no pixel counts.
    """

    places: list[list[Tensor]]
    weights: list[list[Tensor]]
    areas: Tensor


def region_pixels(maps: Tensor, least: float = 0.05) -> RegionPixels:
    """Pixels that weigh less than `least` are left out: a Gram matrix takes the square of the weights."""
    flat = maps.flatten(2)
    places = [[(region > least).nonzero()[:, 0] for region in picture] for picture in flat]
    weights = [[w[p] for w, p in zip(picture, ps, strict=True)] for picture, ps in zip(flat, places, strict=True)]
    return RegionPixels(places, weights, flat.mean(2) * (flat > least).any(2))


def gram_matrices(activations: Tensor, regions: RegionPixels) -> Tensor:
    """Gram matrices (B, R, C, C) of each region's activations, F masked by its map, over C h w mean(map).

    Luan et al. 2017, equation 5, normalised as in their code. An empty region's matrix is zero.
    """
    pixels = activations.flatten(2).transpose(1, 2).contiguous()
    grams = [
        torch.stack([_gram(picture, p, w) for p, w in zip(places, weights, strict=True)])
        for picture, places, weights in zip(pixels, regions.places, regions.weights, strict=True)
    ]
    return torch.stack(grams)


def _gram(pixels: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """(C, C) of activations (h w, C) at the places of one region."""
    rows = pixels if len(places) == len(pixels) else pixels.index_select(0, places)
    matrix: Tensor = _SelfProduct.apply(rows * weights[:, None])
    return matrix / (pixels.shape[1] * weights.sum().clamp_min(1e-6))


class _SelfProduct(torch.autograd.Function):
    """X^T X, whose gradient is one product where torch would make two: the gradient of a Gram matrix is symmetric."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.T @ x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x @ (gradient + gradient.T)


def gram_loss(activations: Tensor, regions: RegionPixels, wanted: Tensor, relative: bool) -> Tensor:
    """Mean squared difference of the regions' Gram matrices and those `wanted` (B, R, C, C), weighted by their areas.

    `relative` divides each region's by the mean square of the wanted one: departure from Luan et al., so that one
    weight serves all layers, networks and regions. A region too small to be seen at this layer, on either side,
    counts nothing: departure, where theirs is drawn to a matrix of zeros.
    """
    size = wanted.square().mean((2, 3))
    gaps = (gram_matrices(activations, regions) - wanted).square().mean((2, 3))
    if relative:
        gaps = gaps / size.clamp_min(1e-30)
    return (gaps * regions.areas * (size > 0)).sum(1)


def total_variation(image: Tensor) -> Tensor:
    """Half the sum of squared differences of neighbouring pixels, on Caffe's scale 0..255, as in Luan et al.'s code."""
    scaled = image * 255
    return (scaled.diff(dim=2).square().sum((1, 2, 3)) + scaled.diff(dim=3).square().sum((1, 2, 3))) / 2


def out_of_range(image: Tensor) -> Tensor:
    """Mean squared distance by which values leave [0, 1]."""
    return (image - image.clamp(0, 1)).square().mean((1, 2, 3))


def draw_pixels(maps: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places (B, R, count) of pixels drawn evenly from each region, for `region_colours`. Empty regions draw anywhere.

    Without replacement as far as the region reaches; a small one is gone through again and again.
    """
    flat = maps.flatten(2)
    noise = torch.rand(flat.shape, generator=generator).to(flat.device)
    order = torch.where(flat > 0.5, noise, noise - 2).argsort(2, descending=True)
    sizes = (flat > 0.5).sum(2).clamp_min(1)
    ranks = torch.arange(count, device=flat.device) % sizes[..., None]
    return order.gather(2, ranks)


def region_colours(image: Tensor, places: Tensor) -> Tensor:
    """CIELAB colours (B, R, N, 3), in hundreds, of the pixels at `places` (B, R, N)."""
    b, r, n = places.shape
    pixels = image.flatten(2).gather(2, places.flatten(1)[:, None].expand(b, 3, r * n))
    return to_lab(pixels.transpose(1, 2)).unflatten(1, (r, n)) / 100


def projections(count: int) -> Tensor:
    """Directions (3, count), unit length, spread evenly over the half sphere by a Fibonacci spiral."""
    k = torch.arange(count) + 0.5
    z, turn = 1 - k / count, k * (torch.pi * (1 + 5**0.5))
    r = (1 - z * z).sqrt()
    return torch.stack([r * torch.cos(turn), r * torch.sin(turn), z])


def sorted_projections(colours: Tensor, directions: Tensor) -> Tensor:
    """The quantiles (B, R, N, D) of colours (B, R, N, 3) along each direction (3, D)."""
    return (colours @ directions).transpose(2, 3).sort(3).values


def sliced_wasserstein(colours: Tensor, wanted: Tensor, directions: Tensor, areas: Tensor) -> Tensor:
    """Squared sliced Wasserstein-2 distance from each region's colours to its `wanted` quantiles, weighted by area.

    Pitie et al. 2007; Bonneel et al. 2015. Not in Luan et al.: Gram matrices of a network leave a region's colours
    to chance where it has few textures, and this term asks for them outright.
    """
    gaps = (sorted_projections(colours, directions) - wanted).square().mean((2, 3))
    return (gaps * areas).sum(1)
