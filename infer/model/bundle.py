"""ModelBundle: a folder with the network graphs and what has to be known about them.

The only place that knows the graphs' names, inputs and sizes.
"""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import hueglass.infer.models
from hueglass.infer.errors import HueglassError, UsageError, first_problem
from hueglass.infer.frame import YuvImage
from hueglass.infer.grid.bilateral import check_coefficients
from hueglass.infer.network.devices import Precision, check_precision
from hueglass.infer.network.graph import Graph, open_graph
from hueglass.infer.network.tensors import NamedShape
from hueglass.infer.regions.regions import SLOTS
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.thumbnail import thumbnail

FORMAT = 3
"""Version of the bundle's lay-out. A bundle of another format is refused."""
TONES = 16
"""At most this many tones of a whole reference stand beside the codes of its regions."""
MANIFEST = "bundle.json"
STUDENT = "student.onnx"
LOOK_ENCODER = "look_encoder.onnx"
SEGMENTER = "segmenter.onnx"
PORTABLE = "portable.onnx"
"""Frame to restyled frame in one graph, for other programs: nothing here runs it."""
PRECISIONS = tuple(Precision)
EMBEDDED = Path(hueglass.infer.models.__file__).parent


class GraphFacts(BaseModel):
    """What a graph file is: the checksum of its bytes, and what goes in and out."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    inputs: dict[str, NamedShape]
    outputs: dict[str, NamedShape]


class Manifest(BaseModel):
    """`bundle.json`. `model` names the weights: looks made with other weights do not fit. `training` and `scores` say
    how they came about and how good they are on what was held out."""

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
    graphs: dict[str, GraphFacts]
    training: dict[str, str | int | float] = {}
    scores: dict[str, float] = {}
    versions: dict[str, str] = {}


class _AnyFormat(BaseModel):
    """What every manifest has, of older and newer formats too."""

    format: int


def twin(graph: str, precision: str) -> str:
    """The file of a graph in another precision: student.onnx, student.fp16.onnx."""
    return graph if precision == "fp32" else f"{graph.removesuffix('.onnx')}.{precision}.onnx"


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

    def predict(self, thumbnail: np.ndarray, maps: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Coefficients (depth, cells, cells, 12) for a thumbnail (T, T, 3) uint8, the maps of its regions
        (slots, T/2, T/2) and the codes (slots + tones, code) of a look."""
        grid = self.student(thumbnail=planar(thumbnail), regions=maps[None], codes=codes[None])
        m = self.manifest
        return check_coefficients(self._checked(STUDENT, grid[0], (m.depth, m.cells, m.cells, 12)))

    def encode(self, thumbnail: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Codes (slots + tones, code) of a reference's regions and tones, from its thumbnail (T, T, 3) uint8 and
        the maps of its regions (slots, T/2, T/2)."""
        codes = self.encoder(reference=planar(thumbnail), regions=maps[None])
        m = self.manifest
        return self._checked(LOOK_ENCODER, codes[0], (m.slots + m.tones, m.code))

    def _checked(self, graph: str, output: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if output.shape != shape:
            raise HueglassError(f"{self.folder / graph}: gives {output.shape}, expected {shape} as in {MANIFEST}")
        return output


def check_graph(folder: Path, name: str, manifest: Manifest) -> None:
    """HueglassError if a graph is missing or its bytes are not those that the manifest was written for."""
    path = folder / name
    if name not in manifest.graphs:
        raise HueglassError(f"{folder / MANIFEST}: says nothing of {name}, expected a whole bundle")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror or error}") from None
    if digest != manifest.graphs[name].sha256:
        raise HueglassError(f"{path}: is not the graph that {MANIFEST} describes: swapped or damaged")


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


def planar(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as graphs take it: (1, 3, H, W) float32 in [0, 1]."""
    return cv2.dnn.blobFromImage(image, 1 / 255)
