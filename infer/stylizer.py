"""Stylizer: from a frame to the same frame in another light. Every picture and every video goes this way."""

from dataclasses import dataclass, replace

import numpy as np

from . import native
from .bilateral import blend, identity_grid
from .bundle import ModelBundle
from .errors import UsageError
from .frame import Frame
from .look import Look, assign
from .regions import Regions, whole
from .temporal import Smoother


@dataclass
class Stylizer:
    """`strength` 0 leaves the frame as it is, 1 is the look in full. `smoother` is None for single pictures."""

    bundle: ModelBundle
    look: Look
    strength: float = 1.0
    smoother: Smoother | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength {self.strength}, expected 0 to 1")

    def __call__(self, frame: Frame, regions: Regions | None = None) -> Frame:
        """The frame in the light of the look; `regions` (over half a thumbnail) say what is sky and what is not."""
        return self.render(frame, self.predict(frame, regions))

    def predict(self, frame: Frame, regions: Regions | None = None) -> np.ndarray:
        """Coefficients for the frame, smoothed and at the strength asked for."""
        thumbnail = self.bundle.thumbnail(frame.image)
        maps, codes = self.one_region() if regions is None else assign(self.look, regions, self.bundle.manifest.slots)
        coefficients = self.bundle.predict(thumbnail, maps, codes)
        if self.smoother is not None:
            coefficients = self.smoother.update(coefficients, thumbnail, frame.time)
        if self.strength < 1:
            coefficients = blend(identity_grid(coefficients.shape), coefficients, self.strength)
        return coefficients

    def one_region(self) -> tuple[np.ndarray, np.ndarray]:
        """Maps and codes of a frame without masks: the whole frame in the light of the whole reference."""
        manifest = self.bundle.manifest
        return assign(self.look, whole(manifest.thumbnail // 2), manifest.slots)

    def render(self, frame: Frame, coefficients: np.ndarray) -> Frame:
        """The frame through the coefficients, at its full size."""
        return replace(frame, image=native.render(coefficients, frame.image, threads=self.threads))
