"""Training targets on disk: what a teacher makes of a pair, as it is written and read.

A store is a folder of WebDataset shards, `targets-000000.tar` and on. A target's members share its name:

    NAME.content.png         the picture to be changed, as the teacher saw it
    NAME.target.png          the same in the light of the style
    NAME.style.png           the style, graded where the pair says so
    NAME.content_labels.png  grey: which region each pixel is of, an index into "names"
    NAME.style_labels.png
    NAME.grid.npy            float32 (gd, gh, gw, 12), see infer/grid/bilateral.py; missing if the teacher made none
    NAME.json                names, unmatched, losses, provenance, and the CRC-32 of every other member
"""

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hueglass.infer.errors import HueglassError, UsageError, first_problem
from hueglass.infer.grid.bilateral import check_coefficients
from hueglass.infer.media.image_header import read_header

MAX_SIDE = 4096
MAX_MEMBER_BYTES = 64 << 20
MAX_JSON_BYTES = 1 << 20
PICTURES = ("content.png", "target.png", "style.png")
LABELS = ("content_labels.png", "style_labels.png")
GRID, FACTS = "grid.npy", "json"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_MEMBER = re.compile(rf"({_NAME})\.({'|'.join(map(re.escape, (*PICTURES, *LABELS, GRID, FACTS)))})")
_SHARD_NAME = re.compile(r"targets-(\d{6})\.tar")


@dataclass(frozen=True)
class Target:
    """One pair and what the teacher made of it. Pictures are uint8 sRGB.

    `content` and `target` (H, W, 3), `style` (h, w, 3); `labels` (H, W) and `style_labels` (h, w) uint8 index
    `names`. Regions of the content took the light of the style's region of the same name, those in `unmatched`
    that of the whole style. `grid` (gd, gh, gw, 12) float32 takes the content nearly to the target.
    """

    name: str
    content: np.ndarray
    target: np.ndarray
    style: np.ndarray
    grid: np.ndarray | None
    names: tuple[str, ...]
    labels: np.ndarray
    style_labels: np.ndarray
    unmatched: tuple[str, ...] = ()
    losses: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


class _Facts(BaseModel):
    """The JSON member."""

    model_config = ConfigDict(extra="forbid")

    names: tuple[str, ...] = Field(min_length=1, max_length=256)
    unmatched: tuple[str, ...] = Field(max_length=256)
    losses: dict[str, float]
    provenance: dict[str, Any]
    crc32: dict[str, int]


def encode(target: Target) -> bytes:
    """The target as a tar file of its members, the same bytes for the same target. HueglassError if it is none."""
    _check(target.name, target)
    members = {
        "content.png": _png(target.content[..., ::-1]),
        "target.png": _png(target.target[..., ::-1]),
        "style.png": _png(target.style[..., ::-1]),
        "content_labels.png": _png(target.labels),
        "style_labels.png": _png(target.style_labels),
    }
    if target.grid is not None:
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(target.grid, np.float32), allow_pickle=False)
        members[GRID] = buffer.getvalue()
    facts = _Facts(
        names=target.names,
        unmatched=target.unmatched,
        losses=target.losses,
        provenance=target.provenance,
        crc32={extension: zlib.crc32(data) for extension, data in members.items()},
    )
    members[FACTS] = facts.model_dump_json().encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        add_members(tar, target.name, members)
    return whole.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    return data.tobytes()


def add_members(tar: tarfile.TarFile, name: str, members: dict[str, bytes]) -> None:
    """Members of one name, {extension: bytes}, without the time and owner that would differ between runs."""
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{name}.{extension}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def decode(name: str, members: dict[str, bytes]) -> Target:
    """The target of a name's members, by extension. HueglassError, beginning with the name, if they are not one."""
    needed = {*PICTURES, *LABELS, FACTS}
    if not needed <= set(members) <= needed | {GRID}:
        raise HueglassError(f"{name}: holds {', '.join(sorted(members))}, expected {', '.join(sorted(needed))}")
    facts = _facts(name, members[FACTS])
    sums = {extension: zlib.crc32(data) for extension, data in members.items() if extension != FACTS}
    if sums != facts.crc32:
        wrong = next(k for k in {**sums, **facts.crc32} if sums.get(k) != facts.crc32.get(k))
        raise HueglassError(f"{name}: {wrong} is damaged: its checksum is not the one noted")
    pictures = [np.ascontiguousarray(_picture(name, members[e], cv2.IMREAD_COLOR)[..., ::-1]) for e in PICTURES]
    labels, style_labels = (_picture(name, members[e], cv2.IMREAD_GRAYSCALE) for e in LABELS)
    made = Target(
        name=name,
        content=pictures[0],
        target=pictures[1],
        style=pictures[2],
        grid=_grid(name, members[GRID]) if GRID in members else None,
        names=facts.names,
        labels=labels,
        style_labels=style_labels,
        unmatched=facts.unmatched,
        losses=facts.losses,
        provenance=facts.provenance,
    )
    _check(name, made)
    return made


def _facts(name: str, data: bytes) -> _Facts:
    try:
        if len(data) > MAX_JSON_BYTES:
            raise HueglassError(f"{name}: its JSON is larger than {MAX_JSON_BYTES} bytes")
        return _Facts.model_validate_json(data)
    except ValidationError as error:
        raise HueglassError(f"{name}: JSON: {first_problem(error, whole='')}") from None


def _picture(name: str, data: bytes, flags: int) -> np.ndarray:
    """(H, W, 3) BGR or (H, W) grey, uint8."""
    try:
        header = read_header(data)
    except ValueError:
        header = None
    if header is None or header.kind != "png" or max(header.width, header.height) > MAX_SIDE:
        raise HueglassError(f"{name}: holds no picture, expected PNG of at most {MAX_SIDE} pixels a side")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise HueglassError(f"{name}: a picture is damaged")
    return pixels


def _grid(name: str, data: bytes) -> np.ndarray:
    """The header is judged before numpy allocates what it claims."""
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        values = np.frombuffer(data, np.float32, offset=stream.tell())
        if dtype != np.float32 or fortran or len(shape) != 4 or values.size != np.prod([float(n) for n in shape]):
            raise ValueError("another shape")
    except (ValueError, TypeError, SyntaxError, EOFError):
        raise HueglassError(f"{name}: {GRID} is no float32 array (gd, gh, gw, 12)") from None
    return values.reshape(shape).copy()


def _check(name: str, target: Target) -> None:
    """HueglassError unless shapes, types and ranges are those of a Target."""
    if not re.fullmatch(_NAME, name):
        raise HueglassError(f"{name[:80]!r} is no name for a target, expected up to 64 letters, digits, - and _")
    pictures = (target.content, target.target, target.style)
    if any(x.dtype != np.uint8 or x.ndim != 3 or x.shape[2] != 3 or not x.size for x in pictures):
        raise HueglassError(f"{name}: expected pictures (H, W, 3) uint8")
    if target.content.shape != target.target.shape:
        raise HueglassError(f"{name}: content {target.content.shape} and target {target.target.shape} differ in size")
    for labels, picture in ((target.labels, target.content), (target.style_labels, target.style)):
        if labels.dtype != np.uint8 or labels.shape != picture.shape[:2]:
            raise HueglassError(f"{name}: labels are {labels.dtype} {labels.shape}, expected {picture.shape[:2]} uint8")
        if labels.max() >= len(target.names):
            raise HueglassError(f"{name}: label {labels.max()} has no name, expected less than {len(target.names)}")
    if not set(target.unmatched) <= set(target.names) or len(set(target.names)) != len(target.names):
        raise HueglassError(f"{name}: names of regions repeat, or an unmatched one is missing among them")
    if not np.isfinite(list(target.losses.values())).all():
        raise HueglassError(f"{name}: losses are not finite")
    if target.grid is not None:
        try:
            check_coefficients(target.grid)
        except HueglassError as error:
            raise HueglassError(f"{name}: {error}") from None


def read_targets(folder: Path) -> Iterator[Target]:
    """Every target of a store, in the order of making; those not yet packed come last.

    While a store is being written to, what is packed during the reading is left out.
    UsageError if `folder` is no store, HueglassError naming file and target where one is damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder, expected a store of targets")
    seen: set[str] = set()
    for path in [*shards(folder), *sorted((folder / "pending").glob("[!.]*.tar"))]:
        for name, members in read_tar(path) if path.exists() else ():
            if name in seen:
                continue
            seen.add(name)
            try:
                yield decode(name, members)
            except HueglassError as error:
                raise HueglassError(f"{path}: {error}") from None
    if not seen:
        raise UsageError(f"{folder}: holds no targets, expected a store that `hueglass targets` made")


def shards(folder: Path) -> list[Path]:
    """The shards of a store in order."""
    return sorted(p for p in folder.glob("targets-*.tar") if _SHARD_NAME.fullmatch(p.name))


def read_tar(path: Path, only: str | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Names and their members, {extension: bytes}; of all extensions, or `only` of one.

    Nothing is unpacked to disk, and links and oversized members are refused. HueglassError if it is no such tar.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            name, members = "", dict[str, bytes]()
            for info in tar:
                key, extension = _split(path, info)
                if key != name and members:
                    yield name, members
                    members = {}
                name = key
                if only in (None, extension):
                    members[extension] = _content(tar, info)
            if members:
                yield name, members
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise HueglassError(f"{path}: is damaged, expected a shard of targets ({error})") from None
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror or error}") from None


def _split(path: Path, info: tarfile.TarInfo) -> tuple[str, str]:
    match = _MEMBER.fullmatch(info.name)
    if match is None or not info.isfile() or info.size > MAX_MEMBER_BYTES:
        raise HueglassError(f"{path}: holds {info.name[:80]!r}, expected the members of targets")
    return match[1], match[2]


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(info)
    data = stream.read() if stream is not None else b""
    if len(data) != info.size:
        raise tarfile.ReadError("cut short")
    return data


def read_provenance(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of the targets in a shard and their provenance. Errors as `read_tar`."""
    for name, members in read_tar(path, FACTS):
        yield name, _facts(name, members[FACTS]).provenance
