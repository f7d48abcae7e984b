"""Stylizer: from a frame to the same frame in another light. Every picture and every video goes this way."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from hueglass.infer.frame import AnyFrame, AnyImage, Frame
from hueglass.infer.grid.bilateral import blend
from hueglass.infer.grid.renderer import Renderer, choose_renderer
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign
from hueglass.infer.network.devices import Device
from hueglass.infer.orientation import stored_grid, upright
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident, no_regions
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.regions.strength import Strength
from hueglass.infer.smoothing import Steadying

from .fade import Fade
from .memory import Picture, SceneMemory
from .scene_cut import CutDetector
from .smoother import Smoother
from .survey import Survey, scene_at

REGION_PERIOD = 0.2
"""Seconds: of a camera, whose frames cannot wait, regions are found five times a second, and twice as often while it
turns. Clips are as steady by it."""
TURNED = 0.02
"""Share of the picture by which it has to move for that."""


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

    `segmenter` finds regions where none are given. `smoother`, `region_smoother` and `memory` are for video, and None
    for single pictures. Within `region_period` seconds of a shot regions are found once. `survey` has the memories of
    scenes that were seen through beforehand. `renderer` is what slices frames: the best for where the bundle's networks
    run, unless told otherwise. Change `look` by `fade_to`.
    """

    bundle: ModelBundle
    look: Look
    strength: Strength = field(default_factory=Strength)
    smoother: Smoother | None = None
    segmenter: Segmenter | None = None
    region_smoother: RegionSmoother | None = None
    memory: SceneMemory | None = None
    region_period: float = 0.0
    survey: Survey = field(default_factory=list)
    cuts: CutDetector = field(default_factory=CutDetector)
    renderer: Renderer = None  # type: ignore[assignment]  # chosen below
    _fade: Fade | None = field(default=None, init=False, repr=False)
    _faded: SceneMemory | None = field(default=None, init=False, repr=False)
    """The memory that the look has which fades away."""
    _found: tuple[float, Regions] | None = field(default=None, init=False, repr=False)
    _turned: float = field(default=0.0, init=False, repr=False)
    """By what share of the picture it has moved since."""

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
        if self.memory is not None:
            if fresh:
                self.memory = scene_at(self.survey, thumbnail, frame.time) or self.memory.afresh()
                self._faded = None
            self.memory.follow(thumbnail)
        if regions is None:
            regions = self._regions_of(thumbnail, frame.time, fresh)
        return Step(thumbnail, fresh, regions, self._coefficients(thumbnail, regions, frame.time))

    def _coefficients(self, thumbnail: np.ndarray, regions: Regions, time: float) -> np.ndarray:
        """What the network makes of a frame, told what was seen of the scene, which then counts it in."""
        task = assign(self.look, regions, self.bundle.manifest.slots)
        if self.memory is None:
            return self.bundle.predict(thumbnail, task).coefficients
        coefficients, sums = self.bundle.predict(thumbnail, task, self._told(task.names, time))
        if self._fade is None:  # on the way from one look to another, tones are of neither
            self.memory.remember(sums, Picture(thumbnail, regions, self.memory.gain), task.names, time)
        return coefficients

    def _told(self, names: Sequence[str], time: float) -> np.ndarray | None:
        """What was seen of the scene: during a fade by both looks, the more by the one that is nearer."""
        assert self.memory is not None
        told = self.memory.recall(names)
        if self._fade is None or self._faded is None or told is None:
            return told
        self._faded.gain = self.memory.gain
        before = self._faded.recall(names)
        return told if before is None else blend(before, told, self._fade.way(time))

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
        if self.memory is not None:
            self._faded, self.memory = self.memory, self.memory.retold(partial(self._tell, look))
        if not seconds and self.smoother is not None:
            self.smoother.reset()

    def _tell(self, look: Look, picture: Picture) -> tuple[np.ndarray, tuple[str, ...]]:
        """The sums of a picture by a look, and the names of the regions that it knows."""
        task = assign(look, picture.regions, self.bundle.manifest.slots)
        return self.bundle.predict(picture.thumbnail, task).sums, task.names

    def _advance_fade(self, now: float, backwards: bool) -> None:
        """Where a clock begins anew, a fade is over."""
        if self._fade is not None:
            way = 1.0 if backwards else self._fade.way(now)
            self.look = self._fade.at(way)
            self._fade = None if way == 1 else self._fade

    def _regions_of(self, thumbnail: np.ndarray, time: float, fresh: bool) -> Regions:
        """What the segmenter sees in a frame, or saw shortly before, smoothed; nothing if there is no segmenter."""
        if self.segmenter is None:
            return self.regions_in(thumbnail)
        moved = self.memory.light.moved if self.memory is not None else None
        if not fresh and self._found is not None and moved is not None and self.region_smoother is not None:
            self._found = (self._found[0], self.region_smoother.move(moved))
            self._turned += float(np.abs(moved[:2, 2]).max()) / 2
        period = self.region_period / (2 if self._turned > TURNED else 1)
        if not fresh and self._found is not None and 0 <= time - self._found[0] < period:
            return self._found[1]
        regions = self.regions_in(thumbnail, time)
        if self.region_smoother is not None:
            regions = self.region_smoother.update(regions, time, fresh)
        self._found, self._turned = (time, regions), 0.0
        return regions

    def regions_in(self, thumbnail: np.ndarray, time: float | None = None) -> Regions:
        """What the segmenter sees in a frame, taken together with what it saw there before if there is a `time`.

        Nothing if there is no segmenter.
        """
        if self.segmenter is None:
            return no_regions(self.bundle.manifest.thumbnail // 2)
        found = self.segmenter(thumbnail)
        if self.memory is not None and time is not None:
            found = self.memory.named(found, thumbnail, time)
        return confident(found)


def renderer_of(bundle: ModelBundle) -> Renderer:
    """The best renderer for frames whose networks run where the bundle's do."""
    return choose_renderer(Device(bundle.device).row.renders_on == "cuda")


@dataclass(frozen=True)
class StylizerSettings:
    """How moving pictures are restyled, whatever the look: what finds their regions, if anything does, how much of a
    look they get and where, how they are steadied, and how often regions are found."""

    segmenter: Segmenter | None = None
    strength: Strength = field(default_factory=Strength)
    steady: Steadying = field(default_factory=Steadying)
    region_period: float = REGION_PERIOD

    def stylizer(self, bundle: ModelBundle, look: Look) -> Stylizer:
        """A new one, for one clip, camera or client."""
        steady = self.steady
        smoothers = (Smoother(steady.grids), self.segmenter, RegionSmoother(steady.regions))
        memory = None if steady.memory is None else SceneMemory(bundle.manifest.slots, steady.memory)
        return Stylizer(bundle, look, self.strength, *smoothers, memory, self.region_period)
