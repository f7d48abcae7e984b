"""The label map beside a segmenter of the user's: a JSON file that says to which region each of its classes belongs.

That is a list of names by class number,

    ["sky", "building", "ground", "ground", null]

or an object with such a list, or with the names of some classes, {"2": "sky"}, as `labels`. It may say how the network
wants its pictures: `mean` and `std` are subtracted from and divided into sRGB in [0, 1], `size` is height, width:

    {"labels": ["sky", null], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": [512, 512]}

Classes without a name (null or "") are left to those that have one.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
)

from hueglass.infer.errors import HueglassError, first_problem
from hueglass.infer.files import existing_file

from .segmenter import MAX_CLASSES, MAX_SIDE

MAX_BYTES = 1 << 20


def _printable(name: str) -> str:
    if name and not name.isprintable():
        raise ValueError("expected a name of printable characters")
    return name


Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64), AfterValidator(_printable)]
ClassNumber = Annotated[int, Field(ge=0, lt=MAX_CLASSES)]
Names = Annotated[list[Name | None], Field(max_length=MAX_CLASSES), Tag("list")]
NumberedNames = Annotated[dict[ClassNumber, Name | None], Tag("object")]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(ge=1e-4, le=1)]


class LabelMap(BaseModel):
    """The file beside a segmenter, see above."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[Names | NumberedNames, Discriminator(lambda v: "list" if isinstance(v, list) else "object")]
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    size: tuple[Side, Side] | None = None

    def names(self, classes: int) -> tuple[str | None, ...]:
        """A name or None by class number: as many as the file lists, or, where it numbers them, `classes` or more."""
        if isinstance(self.labels, list):
            return tuple(name or None for name in self.labels)
        highest = max(self.labels, default=-1)
        return tuple(self.labels.get(i) or None for i in range(max(classes, highest + 1)))


def read_label_map(path: Path) -> LabelMap:
    """UsageError for a missing file; HueglassError for one that is broken or names nothing."""
    try:
        with existing_file(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise HueglassError(f"{path}: is larger than {MAX_BYTES} bytes, expected a label map")
    try:
        content = json.loads(data)
        label_map = LabelMap.model_validate({"labels": content} if isinstance(content, list) else content)
    except ValidationError as error:
        raise HueglassError(f"{path}: broken label map: {first_problem(error)}") from None
    except (ValueError, RecursionError):
        raise HueglassError(f"{path}: cannot be read, expected a label map in JSON") from None
    if not any(label_map.names(0)):
        raise HueglassError(f"{path}: names no class, expected at least one")
    return label_map
