"""Soft region maps of pictures, as `hueglass label` makes them: what to learn from where nobody drew labels.

A folder holds `labels.json`, what all of them are made with, and shards `labels-NNNNNN.npz` of compressed arrays:
`names` (n) text, paths below the folder of data; `digests` (n) text, the SHA-256 of the pictures' files; `maps`
(n, 8, M, M) uint8, probabilities of REGION_NAMES in 255ths.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, make_folder, whole_file
from hueglass.infer.regions.regions import REGION_NAMES

from .masks import UNKNOWN
from .store_folder import identify, locked

SHARD = 32
"""Pictures in a shard: what a kill can cost, under a minute of work."""


@dataclass(frozen=True)
class RegionLabel:
    """`maps` (8, M, M) uint8 over the whole picture `name`, stretched to a square, whose file has the SHA-256
    `digest`."""

    name: str
    digest: str
    maps: np.ndarray

    def probabilities(self) -> np.ndarray:
        """The maps as (8, M, M) float32 in [0, 1]."""
        return self.maps.astype(np.float32) / 255

    def check(self, path: Path) -> None:
        """UsageError if the picture at `path` is another one."""
        with disk_errors(path):
            if self.digest != sha256(path.read_bytes()).hexdigest():
                raise UsageError(f"{path}: its label is of another picture, label it again")

    def likeliest(self, path: Path) -> np.ndarray:
        """The region (M, M) uint8 of each part of the picture at `path`, UNKNOWN where none is likelier than not.

        UsageError if it is another picture.
        """
        self.check(path)
        names: np.ndarray = self.maps.argmax(0).astype(np.uint8)
        names[self.maps.max(0) < 128] = UNKNOWN
        return names


def in_bytes(maps: np.ndarray) -> np.ndarray:
    """Probabilities in [0, 1] as uint8 in 255ths."""
    rounded: np.ndarray = np.rint(255 * np.clip(maps, 0, 1)).astype(np.uint8)
    return rounded


def read_region_labels(folder: Path) -> Iterator[RegionLabel]:
    """All labels of a folder, in the order in which they were made.

    UsageError if it holds none; HueglassError for a shard that is cut short or no shard.
    """
    paths = _shards(folder)
    if not paths:
        raise UsageError(f"{folder}: holds no labels, expected what `hueglass label` wrote")
    for path in paths:
        yield from _read(path)


class LabelStore:
    """A folder of labels being written by one process; use it in a `with`.

    `identity` says what they are made with; a folder of another identity is refused (UsageError), and so is one that
    another process writes to. `done` maps the names of pictures to their digests. What is not in a shard yet is
    written when the `with` is left, by an error or Ctrl-C as well.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        make_folder(folder)
        self.folder = folder
        with disk_errors(folder):
            self._lock = locked(folder / "lock")
        try:
            identify(folder / "labels.json", identity, "labels")
            for left in folder.glob(".*.part.*"):
                left.unlink(missing_ok=True)
            self.done = {label.name: label.digest for path in _shards(folder) for label in _read(path)}
        except BaseException:
            self._lock.close()
            raise
        self._waiting: list[RegionLabel] = []

    def __enter__(self) -> "LabelStore":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._pack()
        finally:
            self._lock.close()

    def add(self, label: RegionLabel) -> None:
        """HueglassError if it cannot be written."""
        self._waiting.append(label)
        self.done[label.name] = label.digest
        if len(self._waiting) >= SHARD:
            self._pack()

    def _pack(self) -> None:
        """What waits becomes a shard."""
        if not self._waiting:
            return
        there = _shards(self.folder)
        number = int(there[-1].stem.removeprefix("labels-")) + 1 if there else 0
        with whole_file(self.folder / f"labels-{number:06d}.npz") as temporary:
            np.savez_compressed(
                temporary,
                names=np.array([label.name for label in self._waiting]),
                digests=np.array([label.digest for label in self._waiting]),
                maps=np.stack([label.maps for label in self._waiting]),
            )
        self._waiting = []


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("labels-[0-9][0-9][0-9][0-9][0-9][0-9].npz"))


def _read(path: Path) -> list[RegionLabel]:
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), open(path, "rb") as file:
        arrays = np.load(file, allow_pickle=False)
        names, digests, maps = arrays["names"], arrays["digests"], arrays["maps"]
        whole = maps.ndim == 4 and maps.shape[1] == len(REGION_NAMES) and maps.dtype == np.uint8
        if whole and len(names) == len(digests) == len(maps):
            return [RegionLabel(str(n), str(d), m) for n, d, m in zip(names, digests, maps, strict=True)]
    raise HueglassError(f"{path}: is damaged or no shard of labels; remove it, and they are made again")
