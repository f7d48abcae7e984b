"""The energy that the teacher minimises: Luan et al. 2017, equation 6, for a batch, with our departures marked."""

import numpy as np
import torch
from torch import Tensor

from hueglass.train.features import Features
from hueglass.train.matting_laplacian import MattingLaplacian

from . import style_losses as losses
from .config import Stage, TeacherConfig
from .regions import RegionPair

Item = tuple[np.ndarray, np.ndarray, RegionPair]
"""Content (H, W, 3) and style (h, w, 3), float32 sRGB in [0, 1], and their regions at these sizes."""


class StyleEnergy:
    """What contents of one size and their styles ask of outputs x (B, 3, H, W), sRGB nominally in [0, 1].

    Pictures of a batch do not see one another: each gets what it would get alone.
    """

    def __init__(self, items: list[Item], config: TeacherConfig, features: Features) -> None:
        self.config, self.features = config, features
        self.device = next(features.parameters()).device
        most = max(len(pair.names) for _, _, pair in items)
        self.directions = losses.projections(config.colour_directions).to(self.device)
        self.layers = list(dict.fromkeys([*config.content_weights(), *config.style_weights()]))
        content = torch.cat([self._tensor(content) for content, _, _ in items])
        maps = torch.cat([self._maps(pair.maps, most) for _, _, pair in items])
        with torch.no_grad():
            self._want_content(content, maps)
            self._want_style([(self._tensor(style), self._maps(pair.style_maps, most)) for _, style, pair in items])
            self.colours = [self._want_colours(style, pair) for _, style, pair in items]
        self.laplacian = MattingLaplacian(content, eps=config.laplacian_eps)
        self.per_pixel = 1 / content[0, 0].numel() if config.relative else 1.0

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].contiguous()

    def _maps(self, maps: np.ndarray, count: int) -> Tensor:
        """(1, count, H, W), empty beyond the regions that there are."""
        padded = np.concatenate([maps, np.zeros((count - len(maps), *maps.shape[1:]), bool)])
        return torch.from_numpy(padded).to(self.device).float()[None]

    def _want_content(self, content: Tensor, maps: Tensor) -> None:
        """The activations of the contents, and where at each layer, and at which pixels, their regions lie."""
        weights = self.config.content_weights()
        self.wanted_content = self.features(content, list(weights)) if weights else {}
        followed = self.features.follow(maps, list(self.config.style_weights()))
        self.layer_regions = {name: losses.region_pixels(soft) for name, soft in followed.items()}
        self.areas = maps.mean((2, 3))

    def _want_style(self, styles: list[tuple[Tensor, Tensor]]) -> None:
        """The Gram matrices of each region of each style; styles are of any size."""
        names = list(self.config.style_weights())
        grams: dict[str, list[Tensor]] = {name: [] for name in names}
        for style, maps in styles:
            found, followed = self.features(style, names), self.features.follow(maps, names)
            for name in names:
                grams[name].append(losses.gram_matrices(found[name], losses.region_pixels(followed[name])))
        self.wanted_grams = {name: torch.cat(matrices) for name, matrices in grams.items()}

    def _want_colours(self, style: np.ndarray, pair: RegionPair) -> tuple[Tensor, Tensor, Tensor]:
        """For one picture: the pixels (1, R, N) drawn from its regions, the quantiles wanted, the areas (1, R)."""
        count = max(1, self.config.colour_pixels // len(pair.names))
        places, style_places = (
            losses.draw_pixels(self._maps(maps, len(maps)), count, torch.Generator().manual_seed(self.config.seed))
            for maps in (pair.maps, pair.style_maps)
        )
        colours = losses.region_colours(self._tensor(style), style_places)
        areas = self._maps(pair.maps, len(pair.maps)).mean((2, 3))
        return places, losses.sorted_projections(colours, self.directions), areas

    def __call__(self, x: Tensor, stage: Stage) -> Tensor:
        """(B,), what is minimised."""
        return torch.stack(list(self.terms(x, stage).values())).sum(0)

    def terms(self, x: Tensor, stage: Stage) -> dict[str, Tensor]:
        """The terms of the energy, weighted, (B,) each."""
        config = self.config
        found = self.features(x, self.layers)
        terms = {"content": self._content(found), "style": self._style(found)}
        if stage.laplacian:
            terms["laplacian"] = stage.laplacian * self.per_pixel * self.laplacian.energy(x)
        if config.total_variation:
            terms["total_variation"] = config.total_variation * self.per_pixel * losses.total_variation(x)
        # Departures: colours are asked for outright, and values that clipping would destroy are kept away from.
        if config.colour:
            terms["colour"] = config.colour * self._colour(x)
        if config.out_of_range:
            terms["out_of_range"] = config.out_of_range * losses.out_of_range(x)
        return terms

    def _content(self, found: dict[str, Tensor]) -> Tensor:
        total = self.areas.new_zeros(len(self.areas))
        for name, weight in self.config.content_weights().items():
            wanted = self.wanted_content[name]
            loss = losses.content_loss(found[name], wanted)
            if self.config.relative:
                loss = loss / wanted.square().mean((1, 2, 3)).clamp_min(1e-12)
            total = total + weight * loss
        return total

    def _style(self, found: dict[str, Tensor]) -> Tensor:
        total = self.areas.new_zeros(len(self.areas))
        for name, weight in self.config.style_weights().items():
            regions, wanted = self.layer_regions[name], self.wanted_grams[name]
            total = total + weight * losses.gram_loss(found[name], regions, wanted, self.config.relative)
        return total

    def _colour(self, x: Tensor) -> Tensor:
        gaps = [
            losses.sliced_wasserstein(losses.region_colours(picture[None], places), wanted, self.directions, areas)
            for picture, (places, wanted, areas) in zip(x, self.colours, strict=True)
        ]
        return torch.cat(gaps)
