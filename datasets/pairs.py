"""The manifest: pairs of photographs, one of which a teacher puts in the light of the other.

A manifest is a text file of JSON lines: a header line, then one pair a line. Paths are relative to a data folder
and stay inside it, so that a manifest holds on any machine that has the data.

Pairs are drawn so that the two show similar pictures in different colours; everything comes from the training side of
the students' hold-out (`photos.held_out`), and nothing from data sets' own validation and test parts.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hueglass.infer.errors import HueglassError, UsageError, first_problem
from hueglass.infer.files import existing_file, whole_file
from hueglass.infer.media.images import READ_SUFFIXES, read_image

from .photos import held_out

MAX_PAIRS = 100_000
MAX_MANIFEST_BYTES = 64 << 20
PHOTOS, STREETS = "photos", "camvid/train"
"""Where below the data folder photographs and labelled street frames lie."""
MIX = (*4 * ("street-street",), *4 * ("photo-photo",), "street-photo", "photo-street")
"""Kinds of pairs, content first, and their shares."""
CANDIDATES = 24
"""A style is the most similar picture among this many drawn at random: similar, yet not always the same one."""
COLOUR_DISTANCE = 12.0
"""Candidates nearer in colour (mean and spread in CIELAB, root of squares) show the content's own light."""
GRADED = {"street": 0.8, "photo": 0.25}
"""Share of styles that are graded on top: street frames differ little in colour by themselves."""


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in path.split("/") or "\\" in path or not path.isprintable():
        raise ValueError("expected a path inside the data folder, relative, with / between its parts")
    return path


Model = TypeVar("Model", bound=BaseModel)
DataPath = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_inside)]
_DATA_PATH = TypeAdapter(DataPath)


class Pair(BaseModel):
    """One pair. Labels come for both pictures or for none; `label_kind` says what their numbers mean.

    `grade_seed` draws a photographic grade that the style gets before it is used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    content: DataPath
    style: DataPath
    content_labels: DataPath | None = None
    style_labels: DataPath | None = None
    label_kind: Literal["camvid"] | None = None
    grade_seed: int | None = Field(None, ge=0, lt=1 << 63)

    @model_validator(mode="after")
    def _labels_of_both(self) -> "Pair":
        missing = [x is None for x in (self.content_labels, self.style_labels, self.label_kind)]
        if any(missing) and not all(missing):
            raise ValueError("expected content_labels, style_labels and label_kind together")
        return self

    def paths(self) -> list[str]:
        """Every file it names."""
        return [p for p in (self.content, self.style, self.content_labels, self.style_labels) if p is not None]


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hueglass_pairs: Literal[1]
    """The version of the format."""


def write_pairs(path: Path, pairs: list[Pair]) -> None:
    """Writes the manifest whole or not at all."""
    lines = [_Header(hueglass_pairs=1).model_dump_json(), *(p.model_dump_json(exclude_none=True) for p in pairs)]
    with whole_file(path) as temporary:
        temporary.write_bytes("".join(f"{line}\n" for line in lines).encode())


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a manifest. UsageError if it is missing, HueglassError naming the line that is wrong."""
    with open(existing_file(path), "rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise HueglassError(f"{path}: is larger than {MAX_MANIFEST_BYTES >> 20} MiB, expected a manifest of pairs")
    lines = data.splitlines()
    if not 1 < len(lines) <= MAX_PAIRS + 1:
        raise HueglassError(f"{path}: has {max(0, len(lines) - 1)} pairs, expected 1 to {MAX_PAIRS} after the header")
    _validated(f"{path}: line 1, the header", _Header, lines[0])
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(lines[1:], 2):
        pair = _validated(f"{path}: line {number}", Pair, line)
        if pair.name in pairs:
            raise HueglassError(f"{path}: line {number}: the name {pair.name} was there before, expected a new one")
        pairs[pair.name] = pair
    return list(pairs.values())


def _validated(where: str, model: type[Model], line: bytes) -> Model:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise HueglassError(f"{where}: {first_problem(error, whole='')}") from None


def check_files(pairs: list[Pair], folder: Path) -> None:
    """UsageError naming the first file of the pairs that is not below `folder`."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder, expected the data that the manifest names")
    for name in dict.fromkeys(p for pair in pairs for p in pair.paths()):
        existing_file(folder / name)


@dataclass(frozen=True)
class Picture:
    """What is compared of a picture: `layout` (2, 16, 16) normalised luma and edges, `colour` (6,) CIELAB."""

    path: str
    labels: str | None
    sequence: str
    layout: np.ndarray
    colour: np.ndarray


def draw_pairs(folder: Path, count: int, seed: int) -> list[Pair]:
    """`count` pairs of the data in `folder`, in the shares of MIX, the same for the same data and seed.

    Kinds take turns, so that the first pairs are a fair sample of all, and a longer manifest begins with a shorter
    one. A kind whose data is missing is left out; UsageError if nothing is there.
    """
    pictures = {"photo": _pictures(folder, PHOTOS), "street": _pictures(folder, STREETS)}
    kinds = [kind for kind in MIX if all(len(pictures[side]) > 1 for side in kind.split("-"))]
    if not kinds:
        raise UsageError(f"{folder}: holds photographs neither in {PHOTOS} nor in {STREETS}, expected two at least")
    rngs = {kind: np.random.default_rng([seed, number]) for number, kind in enumerate(dict.fromkeys(MIX))}
    streams = {kind: _stream(kind, pictures, rngs[kind]) for kind in kinds}
    rng = np.random.default_rng([seed, len(rngs)])
    turns = (kinds[i] for _ in range(count) for i in rng.permutation(len(kinds)))
    return [_pair(f"s{seed}-{i:06d}", *next(streams[kind])) for i, kind in enumerate(islice(turns, count))]


def _stream(
    kind: str, pictures: dict[str, list[Picture]], rng: np.random.Generator
) -> Iterator[tuple[Picture, Picture, int | None]]:
    """Endless (content, style, grade seed): every content once before any comes again."""
    contents, styles = (pictures[side] for side in kind.split("-"))
    share = GRADED[kind.split("-")[1]]
    while True:
        for number in rng.permutation(len(contents)):
            content = contents[number]
            others = [s for s in styles if s.sequence != content.sequence] or [s for s in styles if s is not content]
            picked = rng.choice(len(others), min(CANDIDATES, len(others)), replace=False)
            graded, grade_seed = rng.random() < share, int(rng.integers(1 << 31))
            yield content, similar_picture(content, [others[i] for i in picked]), grade_seed if graded else None


def similar_picture(content: Picture, candidates: list[Picture]) -> Picture:
    """The candidate laid out most like the content, of those in other colours; if none is, the furthest in colour."""
    colours = [float(np.linalg.norm(c.colour - content.colour)) for c in candidates]
    if max(colours) < COLOUR_DISTANCE:
        return candidates[int(np.argmax(colours))]
    others = [c for c, distance in zip(candidates, colours, strict=True) if distance >= COLOUR_DISTANCE]
    return min(others, key=lambda c: float(np.abs(c.layout - content.layout).mean()))


def _pair(name: str, content: Picture, style: Picture, grade_seed: int | None) -> Pair:
    pair = Pair(name=name, content=content.path, style=style.path, grade_seed=grade_seed)
    if content.labels is None or style.labels is None:
        return pair
    labels = {"content_labels": content.labels, "style_labels": style.labels, "label_kind": "camvid"}
    return pair.model_copy(update=labels)


def _pictures(folder: Path, part: str) -> list[Picture]:
    """The pictures of a part of the data that students train on, sorted by path."""
    files = sorted(p for p in (folder / part).rglob("*") if p.suffix.lower() in READ_SUFFIXES)
    for path in files:
        try:
            _DATA_PATH.validate_python(path.relative_to(folder).as_posix())
        except ValidationError as error:
            raise HueglassError(
                f"{path}: its name cannot stand in a manifest: {first_problem(error, whole='')}"
            ) from None
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(_picture, folder), [p for p in files if not held_out(p.stem)]))


def _picture(folder: Path, path: Path) -> Picture:
    """A labelled frame's sequence is its name up to the first _ (CamVid); a plain photograph is alone in its own."""
    small = cv2.resize(read_image(path), (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    labels = path.parent.with_name(path.parent.name + "_label") / f"{path.stem}.png"
    name = path.relative_to(folder).as_posix()
    labelled = labels.relative_to(folder).as_posix() if labels.is_file() else None
    sequence = path.stem.split("_")[0] if labelled else name
    return Picture(name, labelled, sequence, _layout(small), _colour(small))


def _layout(small: np.ndarray) -> np.ndarray:
    """(2, 16, 16): luma and its gradient's size, averaged in cells and each brought to mean 0 and deviation 1."""
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    edges = np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
    planes = np.stack([cv2.resize(x, (16, 16), interpolation=cv2.INTER_AREA) for x in (luma, edges)])
    return (planes - planes.mean((1, 2), keepdims=True)) / (planes.std((1, 2), keepdims=True) + 1e-3)


def _colour(small: np.ndarray) -> np.ndarray:
    """(6,) mean and deviation of L*, a*, b*."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    return np.concatenate([lab.mean((0, 1)), lab.std((0, 1))])
