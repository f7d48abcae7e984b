"""ModelBundle: a folder with the network graphs and what has to be known about them.

The only place that knows the graphs' names, inputs and sizes.
"""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid.bilateral import check_coefficients
from hueglass.infer.network.devices import check_precision
from hueglass.infer.network.graph import Graph, open_graph
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.thumbnail import thumbnail

from .look import Task
from .manifest import EMBEDDED, LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT, check_graph, read_manifest, twin


class Prediction(NamedTuple):
    """Of a frame: `coefficients` (depth, cells, cells, 12), and its own `sums` (slots + tones + 1, remembered), of its
    regions, of the look's tones and of the whole of it."""

    coefficients: np.ndarray
    sums: np.ndarray


class ModelBundle:
    """The networks of a bundle folder, ready to run.

    A graph that the bundle does not have in `precision` runs in fp32; the student it must have. UsageError for a
    missing folder or a precision that is not there; HueglassError for a bundle that is broken or of another format.
    """

    def __init__(self, folder: Path = EMBEDDED, device: str = "cpu", threads: int = 0, precision: str = "fp32") -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        # "auto" in 8-bit integers is the CPU: nothing else is to try that graph.
        self._device = "cpu" if precision == "int8" and device == "auto" else device
        self._threads, self._precision = threads, precision
        check_precision(precision, device)
        if twin(STUDENT, precision) not in self.manifest.graphs:
            raise UsageError(f"{folder}: has no student in {precision}, expected another precision")
        self.student: Graph = self._open(STUDENT)

    def _open(self, graph: str) -> Graph:
        """HueglassError if the file is not the one that the manifest describes."""
        name = twin(graph, self._precision)
        name = name if name in self.manifest.graphs else graph
        check_graph(self.folder, name, self.manifest)
        return open_graph(self.folder / name, self._device, self._threads)

    @property
    def device(self) -> str:
        """Where the networks really run: a name of `Device`."""
        return self.student.device

    @cached_property
    def encoder(self) -> Graph:
        """Loaded when it is first needed: whoever uses a finished look never does."""
        return self._open(LOOK_ENCODER)

    @cached_property
    def segmenter(self) -> Segmenter | None:
        """What finds regions by itself, where the bundle has it."""
        if not self.manifest.regions:
            return None
        path, size = self.folder / SEGMENTER, self.manifest.thumbnail
        return Segmenter(self._open(SEGMENTER), path, self.manifest.regions, (size, size), size // 2)

    def thumbnail(self, image: np.ndarray | YuvImage, orientation: int = 1) -> np.ndarray:
        """The small upright copy (T, T, 3) uint8 sRGB of a picture, (H, W, 3) uint8 or Y'CbCr, that the networks look
        at; `orientation` as in `Frame`."""
        return thumbnail(image, self.manifest.thumbnail, orientation)

    def predict(self, thumbnail: np.ndarray, task: Task, memory: np.ndarray | None = None) -> Prediction:
        """What the student makes of a thumbnail (T, T, 3) uint8, told a memory of the scene (as `Prediction.sums`);
        None: of nothing but what the thumbnail shows."""
        m = self.manifest
        shape = (m.slots + m.tones + 1, m.remembered)
        memory = np.zeros(shape, np.float32) if memory is None else self._checked(STUDENT, memory, shape)
        given = {"regions": task.maps, "codes": task.codes, "memory": memory}
        grid, sums = self.student(thumbnail=planar(thumbnail), **{name: value[None] for name, value in given.items()})
        coefficients = check_coefficients(self._checked(STUDENT, grid[0], (m.depth, m.cells, m.cells, 12)))
        return Prediction(coefficients, self._checked(STUDENT, sums[0], shape))

    def encode(self, thumbnail: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Codes (slots + tones, code) of a reference's regions and tones, from its thumbnail (T, T, 3) uint8 and
        the maps of its regions (slots, T/2, T/2)."""
        codes, *_ = self.encoder(reference=planar(thumbnail), regions=maps[None])
        m = self.manifest
        return self._checked(LOOK_ENCODER, codes[0], (m.slots + m.tones, m.code))

    def _checked(self, graph: str, output: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if output.shape != shape:
            raise HueglassError(f"{self.folder / graph}: gives {output.shape}, expected {shape} as in {MANIFEST}")
        return output


def planar(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as graphs take it: (1, 3, H, W) float32 in [0, 1]."""
    blob: np.ndarray = cv2.dnn.blobFromImage(image, 1 / 255)
    return blob
