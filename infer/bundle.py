"""ModelBundle: a folder with the network graphs and what has to be known about them.

The only place that knows the graphs' names, inputs and sizes.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .backends import Graph, OnnxGraph
from .bilateral import check_coefficients
from .errors import HueglassError, UsageError, first_problem
from .images import resized_square
from .regions import SLOTS
from .segmenter import Segmenter
from .yuv import YuvImage
from .yuv import thumbnail as yuv_thumbnail

FORMAT = 2
"""Version of the bundle's lay-out. A bundle of another format is refused."""
TONES = 16
"""At most this many tones of a whole reference stand beside the codes of its regions."""
MANIFEST = "bundle.json"
STUDENT = "student.onnx"
LOOK_ENCODER = "look_encoder.onnx"
SEGMENTER = "segmenter.onnx"
EMBEDDED = Path(__file__).parent / "models"


class Manifest(BaseModel):
    """`bundle.json`. `model` names the weights: looks made with other weights do not fit."""

    model_config = ConfigDict(extra="forbid")

    format: int
    model: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    thumbnail: int = Field(ge=64, le=512, multiple_of=16)
    slots: int = Field(ge=1, le=SLOTS)
    tones: int = Field(ge=1, le=TONES)
    code: int = Field(ge=10, le=1024)
    depth: int = Field(ge=2, le=32)
    cells: int = Field(ge=1, le=64)
    regions: tuple[Annotated[str, Field(max_length=64)], ...] = Field((), max_length=64)
    """What the segmenter names, in the order of its maps; nothing where the bundle has none."""
    versions: dict[str, str] = {}


class _AnyFormat(BaseModel):
    """What every manifest has, of older and newer formats too."""

    format: int


class ModelBundle:
    """The networks of a bundle folder, ready to run.

    UsageError for a missing folder; HueglassError for one that is broken or of another format.
    """

    def __init__(self, folder: Path = EMBEDDED, device: str = "cpu", threads: int = 0) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self._device, self._threads = device, threads
        self.student: Graph = OnnxGraph(folder / STUDENT, device, threads)

    @cached_property
    def encoder(self) -> Graph:
        """Loaded when it is first needed: whoever uses a finished look never does."""
        return OnnxGraph(self.folder / LOOK_ENCODER, self._device, self._threads)

    @cached_property
    def segmenter(self) -> Segmenter | None:
        """What finds regions by itself, where the bundle has it."""
        if not self.manifest.regions:
            return None
        path, size = self.folder / SEGMENTER, self.manifest.thumbnail
        graph = OnnxGraph(path, self._device, self._threads)
        return Segmenter(graph, path, self.manifest.regions, (size, size), size // 2)

    def thumbnail(self, image: np.ndarray | YuvImage) -> np.ndarray:
        """The small copy (T, T, 3) uint8 sRGB of a frame, (H, W, 3) uint8 or Y'CbCr, that the networks look at."""
        size = self.manifest.thumbnail
        return yuv_thumbnail(image, size) if isinstance(image, YuvImage) else resized_square(image, size)

    def predict(self, thumbnail: np.ndarray, maps: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Coefficients (depth, cells, cells, 12) for a thumbnail (T, T, 3) uint8, the maps of its regions
        (slots, T/2, T/2) and the codes (slots + tones, code) of a look."""
        grid = self.student(thumbnail=_planar(thumbnail), regions=maps[None], codes=codes[None])
        m = self.manifest
        return check_coefficients(self._checked(STUDENT, grid[0], (m.depth, m.cells, m.cells, 12)))

    def encode(self, thumbnail: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Codes (slots + tones, code) of a reference's regions and tones, from its thumbnail (T, T, 3) uint8 and
        the maps of its regions (slots, T/2, T/2)."""
        codes = self.encoder(reference=_planar(thumbnail), regions=maps[None])
        m = self.manifest
        return self._checked(LOOK_ENCODER, codes[0], (m.slots + m.tones, m.code))

    def _checked(self, graph: str, output: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if output.shape != shape:
            raise HueglassError(f"{self.folder / graph}: gives {output.shape}, expected {shape} as in {MANIFEST}")
        return output


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder. Errors as ModelBundle."""
    path = folder / MANIFEST
    if not os.path.isfile(path):
        raise UsageError(f"{folder}: no model bundle here, expected a folder with {MANIFEST}")
    try:
        data = path.read_bytes()
        if (found := _AnyFormat.model_validate_json(data).format) != FORMAT:
            raise HueglassError(f"{path}: bundle of format {found}, this hueglass reads format {FORMAT}")
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise HueglassError(f"{path}: broken bundle: {first_problem(error)}") from None


def _planar(thumbnail: np.ndarray) -> np.ndarray:
    """(T, T, 3) uint8 to (1, 3, T, T) float32 in [0, 1]."""
    return cv2.dnn.blobFromImage(thumbnail, 1 / 255)
