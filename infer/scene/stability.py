"""How steady a restyled clip is, whatever moves in it.

The warping error of Lai et al. 2018 ("Learning blind video temporal consistency", section 4): each output frame is
compared with the next one, brought back along the optical flow of the *input* frames, where nothing is hidden. It is 0
only where the light of things does not change at all; so it is judged beside that of a frozen table of colours, which
cannot flicker (`warp_ratio`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.grid.renderer import host_renderer
from hueglass.infer.resize import fitted

from .scene_cut import CutDetector

SIDE = 480
"""The flow is found, and frames compared, at this longer side."""
SETTLED = 0.9


@dataclass
class WarpMeter:
    """The warping error of outputs to the same inputs, frame by frame: mean squared difference of sRGB in [0, 1].

    Its state is what it needs of the frame before, and the sums. Pairs across a cut do not count.
    """

    cuts: CutDetector = field(default_factory=CutDetector)
    before: tuple[np.ndarray, np.ndarray, list[np.ndarray]] | None = None
    totals: list[float] = field(default_factory=list)
    pairs: int = 0

    def update(self, image: np.ndarray, outputs: list[np.ndarray], time: float) -> None:
        """The next frame (H, W, 3) uint8 of the input, and of every output."""
        small, *ours = (fitted(x, SIDE, least=16) for x in (image, *outputs))
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        fresh = self.cuts.update(cv2.resize(small, (128, 128), interpolation=cv2.INTER_AREA), time)
        if self.before is not None and not fresh:
            self._compare(*self.before, small, grey, ours)
        self.before = (small, grey, ours)

    @property
    def errors(self) -> list[float]:
        """The warping error of every output so far; 0 before the second frame."""
        return [total / max(self.pairs, 1) for total in self.totals]

    def _compare(
        self,
        old: np.ndarray,
        old_grey: np.ndarray,
        old_outputs: list[np.ndarray],
        new: np.ndarray,
        new_grey: np.ndarray,
        new_outputs: list[np.ndarray],
    ) -> None:
        places, seen = _flow(old_grey, new_grey)
        if not seen.any():
            return
        self.totals = self.totals or [0.0] * len(new_outputs)
        for i, (a, b) in enumerate(zip(old_outputs, new_outputs, strict=True)):
            back = cv2.remap(b, places, None, cv2.INTER_LINEAR)
            difference = (back.astype(np.float32) - a)[seen] / 255
            self.totals[i] += float(np.square(difference).mean())
        self.pairs += 1


def flicker(images: Sequence[np.ndarray], grids: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of two frames in a row (H, W, 3) uint8 and their coefficients: the warping error as they are rendered, and as
    both would be through the first grid, which cannot flicker. Zeros across a cut."""
    meter, renderer = WarpMeter(), host_renderer(threads=1)
    for i, (image, grid) in enumerate(zip(images, grids, strict=True)):
        small = np.ascontiguousarray(fitted(image, SIDE, least=16))
        meter.update(small, [renderer.render(g, small) for g in (grid, grids[0])], float(i))
    return (meter.errors[0], meter.errors[1]) if meter.pairs else (0.0, 0.0)


def _flow(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where every pixel of a grey frame is in the next one (H, W, 2), and whether it can be seen there (H, W).

    It can if the flow back leads to where it came from (Ruder et al. 2016, equation 5) and it does not lie on a border
    of motions (equation 6).
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = finder.calc(old, new, None), finder.calc(new, old, None)
    grid = np.stack(np.meshgrid(np.arange(old.shape[1]), np.arange(old.shape[0])), -1).astype(np.float32)
    places = grid + there
    returned = cv2.remap(back, places, None, cv2.INTER_LINEAR)
    length = np.square(there).sum(-1) + np.square(returned).sum(-1)
    same = np.square(there + returned).sum(-1) <= 0.01 * length + 0.5
    steep = sum(np.square(np.gradient(there[..., c], axis=axis)) for c in range(2) for axis in range(2))
    smooth = steep <= 0.01 * np.square(there).sum(-1) + 0.002
    height, width = old.shape
    inside = (places >= 0).all(-1) & (places[..., 0] <= width - 1) & (places[..., 1] <= height - 1)
    return places, same & smooth & inside


def settle(predict: Callable[[np.ndarray, float], np.ndarray], image: np.ndarray, rate: float = 25.0) -> float:
    """Seconds from a change of the light to SETTLED of the new look.

    `predict(image, time)` gives the smoothed coefficients for the next frame (H, W, 3) uint8. It is shown `image` for
    two seconds, then the same at half the brightness and warmer for three; what it ends at is the new look.
    """
    dim = np.clip(image.astype(np.float32) * (0.6, 0.5, 0.4), 0, 255).astype(np.uint8)
    before, after = round(2 * rate), round(3 * rate)
    start = [predict(image, i / rate) for i in range(before)][-1]
    course = [predict(dim, (before + i) / rate) for i in range(after)]
    way = np.abs(course[-1] - start).mean()
    if way < 1e-4 * np.abs(identity_grid(start.shape)).mean():
        return 0.0
    left = [np.abs(grid - course[-1]).mean() / way for grid in course]
    late = [i for i, rest in enumerate(left) if rest > 1 - SETTLED]
    return (late[-1] + 1) / rate if late else 0.0
