"""Stylizer: from a frame to the same frame in another light. Every picture and every video goes this way."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hueglass.infer.frame import AnyImage, Frame, YuvImage
from hueglass.infer.grid.cpu import native
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident, no_regions
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.regions.strength import Strength
from hueglass.infer.smoothing import SECONDS

from .scene_cut import CutDetector
from .smoother import Smoother

REGION_PERIOD = 0.2
"""Seconds: of a camera, whose frames cannot wait, regions are found five times a second. Clips are as steady by it."""


@dataclass
class Stylizer:
    """`strength` says how much of the look is taken, and where.

    `segmenter` finds regions where none are given. `smoother` and `region_smoother` are for video, and None for
    single pictures. Within `region_period` seconds of a shot regions are found once.
    """

    bundle: ModelBundle
    look: Look
    strength: Strength = field(default_factory=Strength)
    smoother: Smoother | None = None
    segmenter: Segmenter | None = None
    region_smoother: RegionSmoother | None = None
    region_period: float = 0.0
    cuts: CutDetector = field(default_factory=CutDetector)
    threads: int = 0
    _found: tuple[float, Regions] | None = field(default=None, init=False, repr=False)

    def __call__(self, frame: Frame[AnyImage], regions: Regions | None = None) -> Frame[AnyImage]:
        """The frame in the light of the look; `regions` (over half a thumbnail) say what is sky and what is not."""
        return self.render(frame, self.predict(frame, regions))

    def predict(self, frame: Frame[AnyImage], regions: Regions | None = None) -> np.ndarray:
        """Coefficients for the frame, smoothed and at the strength asked for."""
        thumbnail = self.bundle.thumbnail(frame.image)
        fresh = self.smoother is None or self.cuts.update(thumbnail, frame.time)
        if regions is None:
            regions = self.find_regions(thumbnail, frame.time, fresh)
        coefficients = self.transform(thumbnail, regions)
        if self.smoother is not None:
            coefficients = self.smoother.update(coefficients, frame.time, fresh)
        return self.strength.apply(coefficients, thumbnail, regions)

    def transform(self, thumbnail: np.ndarray, regions: Regions) -> np.ndarray:
        """Coefficients for a thumbnail (T, T, 3) uint8 and its regions: neither smoothed nor weakened."""
        maps, codes = assign(self.look, regions, self.bundle.manifest.slots)
        return self.bundle.predict(thumbnail, maps, codes)

    def find_regions(self, thumbnail: np.ndarray, time: float, fresh: bool) -> Regions:
        """What the segmenter sees in a frame, or saw shortly before, smoothed; nothing if there is no segmenter."""
        if self.segmenter is None:
            return self.no_regions()
        if not fresh and self._found is not None and 0 <= time - self._found[0] < self.region_period:
            return self._found[1]
        regions = confident(self.segmenter(thumbnail))
        if self.region_smoother is not None:
            regions = self.region_smoother.update(regions, time, fresh)
        self._found = (time, regions)
        return regions

    @cached_property
    def _on_gpu(self) -> bool:
        return self.bundle.device != "cpu" and cuda.available()

    def no_regions(self) -> Regions:
        """Those of a frame of which nothing is known."""
        return no_regions(self.bundle.manifest.thumbnail // 2)

    def render(self, frame: Frame[AnyImage], coefficients: np.ndarray) -> Frame[AnyImage]:
        """The frame through the coefficients, at its full size; on the GPU where the network runs there."""
        image: np.ndarray | YuvImage
        if self._on_gpu:
            image = cuda.render_host(coefficients, frame.image)
        elif isinstance(frame.image, YuvImage):
            image = native.render_yuv(coefficients, frame.image, self.threads)
        else:
            image = native.render(coefficients, frame.image, threads=self.threads)
        return replace(frame, image=image)  # type: ignore[arg-type]  # of the same kind

    def render_rgb(self, frame: Frame[np.ndarray | YuvImage], coefficients: np.ndarray) -> np.ndarray:
        """The frame through the coefficients as (H, W, 3) uint8 sRGB, whatever it was: for a screen."""
        if isinstance(frame.image, YuvImage):
            return native.render_to_rgb(coefficients, frame.image, self.threads)
        return native.render(coefficients, frame.image, threads=self.threads)


@dataclass(frozen=True)
class Sight:
    """How moving pictures are seen: what finds their regions, if anything does, how much of a look they get and where,
    over how many seconds coefficients and regions are smoothed, and how often regions are found."""

    segmenter: Segmenter | None = None
    strength: Strength = field(default_factory=Strength)
    smoothing: float = SECONDS
    region_period: float = REGION_PERIOD

    def stylizer(self, bundle: ModelBundle, look: Look) -> Stylizer:
        """A new one, for one clip, camera or client."""
        smoothers = (Smoother(self.smoothing), self.segmenter, RegionSmoother(self.smoothing))
        return Stylizer(bundle, look, self.strength, *smoothers, self.region_period)
