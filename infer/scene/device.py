"""The frame path on a GPU: frames that are on the device are looked at and restyled there, and stay.

It does what `Stylizer` does for frames without regions, with CuPy's arrays in place of numpy's, and nothing waits for
the device: whether a frame begins a shot, and how far the light has moved, are numbers that stay on it. So coefficients
are not checked for NaN either, which a broken network may give: `hueglass verify` does that.

The array module is passed in (`xp`): with numpy the same lines run on the CPU, where they are tested.
"""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign
from hueglass.infer.regions.regions import no_regions
from hueglass.infer.smoothing import SECONDS

from .scene_cut import BINS, SIZE, THRESHOLD
from .smoother import FAR

DeviceArray = Any


@dataclass
class DeviceSmoother:
    """`temporal.Smoother` on the device: its whole state is `average` and `time`."""

    xp: ModuleType
    seconds: float = SECONDS
    average: DeviceArray | None = None
    time: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.seconds < 60):
            raise UsageError(f"smoothing over {self.seconds} s, expected 0 to 60")

    def update(self, coefficients: DeviceArray, time: float, fresh: DeviceArray) -> DeviceArray:
        """The smoothed coefficients (a copy of ours); `fresh` is a number on the device, not 0 where a shot begins."""
        xp = self.xp
        if self.average is None or time < self.time:
            self.average = coefficients.copy()
        else:
            decay = float(np.exp(-2 * (time - self.time) / self.seconds)) if self.seconds else 0.0
            change = coefficients - self.average
            far = xp.abs(change).mean() / FAR
            weight = xp.where(fresh, 1.0, 1 - xp.sqrt(decay / (1 + far * far * (1 - decay))))
            self.average = self.average + change * weight.astype(np.float32)
        self.time = time
        return self.average


@dataclass
class DeviceCuts:
    """`scene_cut.CutDetector` on the device: its whole state is what it keeps of the frame before."""

    xp: ModuleType
    before: tuple[DeviceArray, DeviceArray] | None = None

    def update(self, thumbnail: DeviceArray) -> DeviceArray:
        """A number on the device, not 0 for the first frame and after a cut; `thumbnail` (T, T, 3) uint8 sRGB."""
        xp = self.xp
        grey, histogram = after = self._standardised(thumbnail), self._histogram(thumbnail)
        before, self.before = self.before, after
        if before is None:
            return xp.ones((), bool)
        structure = xp.clip(1 - (before[0] * grey).mean(), 0, 1)
        changed = 0.5 * xp.abs(before[1] - histogram).sum()
        return xp.sqrt(structure * changed) > THRESHOLD

    def _standardised(self, thumbnail: DeviceArray) -> DeviceArray:
        xp, side = self.xp, thumbnail.shape[0]
        luma = (thumbnail.astype(np.float32) * xp.asarray((0.299, 0.587, 0.114), np.float32)).sum(-1)
        rows = xp.asarray(_overlaps(side))
        grey = rows @ luma @ rows.T
        return (grey - grey.mean()) / (grey.std() + 0.2)

    def _histogram(self, thumbnail: DeviceArray) -> DeviceArray:
        xp = self.xp
        bins = (thumbnail.astype(np.int32) * BINS) // 256
        place = (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]
        counts = xp.bincount(place.ravel(), minlength=BINS**3).reshape(BINS * BINS, BINS).astype(np.float32)
        for axis in (0, 1):  # a little blur, mirrored at the ends: a colour on the edge of two bins is in both
            ends = xp.take(counts, xp.asarray([1, counts.shape[axis] - 2]), axis=axis)
            first, last = xp.split(ends, 2, axis=axis)
            wide = xp.concatenate([first, counts, last], axis=axis)
            low, high = (xp.take(wide, xp.arange(i, i + counts.shape[axis]), axis=axis) for i in (0, 2))
            counts = 0.25 * low + 0.5 * counts + 0.25 * high
        return counts.ravel() / thumbnail[..., 0].size


def _overlaps(side: int) -> np.ndarray:
    """(SIZE, side): by how much each pixel of a line is part of each of SIZE equal pieces; rows sum to 1."""
    place, piece, length = np.arange(side), np.arange(SIZE)[:, None], side / SIZE
    overlap = np.minimum((piece + 1) * length, place + 1) - np.maximum(piece * length, place)
    return (np.maximum(overlap, 0) / length).astype(np.float32)


@dataclass
class DeviceStylizer:
    """From a frame (H, W, 3) uint8 sRGB on the device to the same frame in a look's light, on the device.

    `bundle` is one that was opened for a GPU. Where its network takes arrays on the device (TensorRT) nothing leaves
    it; ONNX Runtime's thumbnails and grids, 300 KB, go by way of the host.
    """

    bundle: ModelBundle
    look: Look
    xp: ModuleType
    seconds: float = SECONDS
    smoother: DeviceSmoother = field(init=False)
    cuts: DeviceCuts = field(init=False)

    def __post_init__(self) -> None:
        self.smoother, self.cuts = DeviceSmoother(self.xp, self.seconds), DeviceCuts(self.xp)
        maps, codes = assign(self.look, no_regions(self.bundle.manifest.thumbnail // 2), self.bundle.manifest.slots)
        self._fixed = {"regions": maps[None], "codes": codes[None]}
        self._on_device = {name: self.xp.asarray(array) for name, array in self._fixed.items()}

    def __call__(self, image: DeviceArray, time: float) -> DeviceArray:
        return cuda.render(self.predict(image, time), image)

    def predict(self, image: DeviceArray, time: float) -> DeviceArray:
        """Smoothed coefficients for the frame at `time` seconds."""
        thumbnail = self.thumbnail(image)
        fresh = self.cuts.update(thumbnail)
        return self.smoother.update(self.network(thumbnail), time, fresh)

    def thumbnail(self, image: DeviceArray) -> DeviceArray:
        """The small copy (T, T, 3) uint8 that the network looks at."""
        return cuda.thumbnail(image, self.bundle.manifest.thumbnail)

    def network(self, thumbnail: DeviceArray) -> DeviceArray:
        """Coefficients (depth, cells, cells, 12) for a thumbnail, as predicted."""
        picture = self.xp.ascontiguousarray(thumbnail.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        run = getattr(self.bundle.student, "run_on_device", None)
        if run is not None:
            return run(thumbnail=picture, **self._on_device)[0]
        return self.xp.asarray(self.bundle.student(thumbnail=self.xp.asnumpy(picture), **self._fixed)[0])
