"""What a bundle says of itself: the files of a bundle folder by name, and `bundle.json`."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import hueglass.infer.models
from hueglass.infer.errors import HueglassError, UsageError, first_problem
from hueglass.infer.regions.regions import SLOTS

FORMAT = 4
"""Version of the bundle's lay-out. A bundle of another format is refused."""
TONES = 16
"""At most this many tones of a whole reference stand beside the codes of its regions."""
MANIFEST = "bundle.json"
STUDENT = "student.onnx"
LOOK_ENCODER = "look_encoder.onnx"
SEGMENTER = "segmenter.onnx"
PORTABLE = "portable.onnx"
"""Frame to restyled frame in one graph, for other programs: nothing here runs it."""
EMBEDDED = Path(hueglass.infer.models.__file__).parent


NamedShape = tuple[int | str, ...]
"""Of a tensor, as graph files have it: a name for a size left open."""


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
    remembered: int = Field(ge=43, le=1024)
    """Numbers in a row of sums: what the student makes of a region, and can be told of a scene."""
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
