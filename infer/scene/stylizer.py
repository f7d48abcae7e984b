"""Stylizer: from a frame to the same frame in another light. Every picture and every video goes this way."""

from dataclasses import dataclass, field, replace

import numpy as np

from hueglass.infer.frame import AnyFrame, AnyImage, Frame
from hueglass.infer.grid.renderer import Renderer, choose_renderer
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign
from hueglass.infer.network.devices import Device
from hueglass.infer.orientation import stored_grid, upright
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident, no_regions
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.regions.strength import Strength
from hueglass.infer.smoothing import SECONDS

from .fade import Fade
from .scene_cut import CutDetector
from .smoother import Smoother

REGION_PERIOD = 0.2
"""Seconds: of a camera, whose frames cannot wait, regions are found five times a second. Clips are as steady by it."""


@dataclass(frozen=True)
class Step:
    """What one frame led to, upright: its `thumbnail` (T, T, 3) uint8 sRGB, whether it begins a shot, its `regions`
    over half a thumbnail, and `coefficients` (gd, gh, gw, 12), neither smoothed nor weakened."""

    thumbnail: np.ndarray
    fresh: bool
    regions: Regions
    coefficients: np.ndarray


@dataclass
class Stylizer:
    """`strength` says how much of the look is taken, and where.

    `segmenter` finds regions where none are given. `smoother` and `region_smoother` are for video, and None for
    single pictures. Within `region_period` seconds of a shot regions are found once. `renderer` is what slices frames:
    the best for where the bundle's networks run, unless told otherwise. Change `look` by `fade_to`.
    """

    bundle: ModelBundle
    look: Look
    strength: Strength = field(default_factory=Strength)
    smoother: Smoother | None = None
    segmenter: Segmenter | None = None
    region_smoother: RegionSmoother | None = None
    region_period: float = 0.0
    cuts: CutDetector = field(default_factory=CutDetector)
    renderer: Renderer = None  # type: ignore[assignment]  # chosen below
    _fade: Fade | None = field(default=None, init=False, repr=False)
    _found: tuple[float, Regions] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.renderer = self.renderer or renderer_of(self.bundle)

    def __call__(self, frame: Frame[AnyImage], regions: Regions | None = None) -> Frame[AnyImage]:
        """The frame in the light of the look; `regions` (over half a thumbnail) say what is sky and what is not."""
        return self.render(frame, self.predict(frame, regions))

    def step(self, frame: AnyFrame, regions: Regions | None = None, not_before: float = -np.inf) -> Step | None:
        """The one order from a frame to its coefficients: thumbnail, cut, fade, regions, network.

        None for a frame that belongs to the shot before and comes earlier than `not_before`: all that is known of it
        then is that it begins none.
        """
        thumbnail = self.renderer.thumbnail(frame.image, self.bundle.manifest.thumbnail, frame.orientation)
        before = self.cuts.time
        fresh = self.cuts.update(thumbnail, frame.time)
        if not fresh and frame.time < not_before:
            return None
        self._advance_fade(frame.time, backwards=frame.time < before)
        if regions is None:
            regions = self._regions_of(thumbnail, frame.time, fresh)
        maps, codes = assign(self.look, regions, self.bundle.manifest.slots)
        return Step(thumbnail, fresh, regions, self.bundle.predict(thumbnail, maps, codes))

    def predict(self, frame: AnyFrame, regions: Regions | None = None) -> np.ndarray:
        """Coefficients (gd, gh, gw, 12) for the upright frame, smoothed and at the strength asked for."""
        step = self.step(frame, regions)
        assert step is not None
        coefficients = step.coefficients
        if self.smoother is not None:
            coefficients = self.smoother.update(coefficients, frame.time, step.fresh)
        return self.strength.apply(coefficients, step.thumbnail, step.regions)

    def render(self, frame: Frame[AnyImage], coefficients: np.ndarray) -> Frame[AnyImage]:
        """The frame through coefficients for it upright, at its full size and as it is stored."""
        grid = stored_grid(coefficients, frame.orientation)
        return replace(frame, image=self.renderer.render(grid, frame.image))

    def render_upright(self, frame: AnyFrame, coefficients: np.ndarray) -> np.ndarray:
        """The frame through coefficients for it upright, as (H, W, 3) uint8 sRGB, upright: for a screen."""
        image = self.renderer.to_rgb(stored_grid(coefficients, frame.orientation), frame.image)
        return np.ascontiguousarray(upright(image, frame.orientation))

    def fade_to(self, look: Look, seconds: float) -> None:
        """Cross-fade to a look from the last frame on; with 0 seconds it is there with the next one, unsmoothed."""
        began = self.cuts.time if self.cuts.before is not None else -np.inf
        self._fade = Fade(self.look, look, began, seconds)
        if not seconds and self.smoother is not None:
            self.smoother.reset()

    def _advance_fade(self, now: float, backwards: bool) -> None:
        """Where a clock begins anew, a fade is over."""
        if self._fade is not None:
            self.look, over = (self._fade.new, True) if backwards else self._fade.at(now)
            self._fade = None if over else self._fade

    def _regions_of(self, thumbnail: np.ndarray, time: float, fresh: bool) -> Regions:
        """What the segmenter sees in a frame, or saw shortly before, smoothed; nothing if there is no segmenter."""
        if self.segmenter is None:
            return no_regions(self.bundle.manifest.thumbnail // 2)
        if not fresh and self._found is not None and 0 <= time - self._found[0] < self.region_period:
            return self._found[1]
        regions = confident(self.segmenter(thumbnail))
        if self.region_smoother is not None:
            regions = self.region_smoother.update(regions, time, fresh)
        self._found = (time, regions)
        return regions


def renderer_of(bundle: ModelBundle) -> Renderer:
    """The best renderer for frames whose networks run where the bundle's do."""
    return choose_renderer(Device(bundle.device).row.renders_on == "cuda")


@dataclass(frozen=True)
class StylizerSettings:
    """How moving pictures are restyled, whatever the look: what finds their regions, if anything does, how much of a
    look they get and where, over how many seconds coefficients and regions are smoothed, and how often regions are
    found."""

    segmenter: Segmenter | None = None
    strength: Strength = field(default_factory=Strength)
    smoothing: float = SECONDS
    region_period: float = REGION_PERIOD

    def stylizer(self, bundle: ModelBundle, look: Look) -> Stylizer:
        """A new one, for one clip, camera or client."""
        smoothers = (Smoother(self.smoothing), self.segmenter, RegionSmoother(self.smoothing))
        return Stylizer(bundle, look, self.strength, *smoothers, self.region_period)
