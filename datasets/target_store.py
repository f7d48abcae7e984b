"""Writing a store of training targets, so that nothing is lost or doubled, whatever happens on the way.

A kill at any moment neither loses nor doubles a finished target: each is first a small tar of its own in `pending/`,
64 of them are packed into a shard under a temporary name, the shard is renamed, and only then do they go. What a
kill leaves between the last two steps is in a shard already and is dropped at the next start.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, whole_file

from .store_folder import identify, locked
from .targets import add_members, decode, read_provenance, read_tar, shards

SHARD = 64
"""Targets in a shard, some 25 MB of them at 256 pixels."""


class Store:
    """A store being written by one process; use it in a `with`.

    `identity` says what the targets are made with; a store of another identity is refused (UsageError), and so is
    one that another process writes to. `done` maps the names of finished targets to the pair in their provenance,
    `failed` those of failed pairs to the reason.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is a file, expected a folder for the targets")
        self.folder, self.pending = folder, folder / "pending"
        with disk_errors(folder):
            self.pending.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder / "lock")
        try:
            identify(folder / "store.json", identity, "targets")
            for left in [*folder.glob(".*.part.*"), *self.pending.glob(".*.part.*")]:
                left.unlink(missing_ok=True)
            self.done, self._waiting = self._finished()
            self.failed = self._failures()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._waiting:
                self._pack()
        finally:
            self._lock.close()

    def add(self, name: str, data: bytes) -> None:
        """A finished target, as `encode` made it. HueglassError if it cannot be written; it is then not there."""
        if name in self.done:
            raise HueglassError(f"{self.folder}: holds {name} already")
        path = self.pending / f"{name}.tar"
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
        self.done.update(_pairs(path))
        self._waiting.append(name)
        if len(self._waiting) >= SHARD:
            self._pack()

    def fail(self, name: str, reason: str) -> None:
        """Notes a pair of which nothing can be made."""
        line = json.dumps({"name": name, "reason": reason[:1000]}) + "\n"
        with disk_errors(self._failures_path), open(self._failures_path, "a") as file:
            file.write(line)
        self.failed[name] = reason

    def forget_failures(self) -> None:
        """Failed pairs are to be tried again."""
        with disk_errors(self._failures_path):
            self._failures_path.unlink(missing_ok=True)
        self.failed = {}

    @property
    def _failures_path(self) -> Path:
        return self.folder / "failures.jsonl"

    def _finished(self) -> tuple[dict[str, Any], list[str]]:
        """The pairs of all targets by name; names of those that wait to be packed, oldest first."""
        done = {name: pair for path in shards(self.folder) for name, pair in _pairs(path)}
        waiting = []
        for path in sorted(self.pending.glob("[!.]*.tar"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
            if path.stem in done or not _is_whole(path):  # one that a power failure left is made anew
                path.unlink()
                continue
            done.update(_pairs(path))
            waiting.append(path.stem)
        return done, waiting

    def _failures(self) -> dict[str, str]:
        """A line cut short by a full disk or a kill is dropped, so that the next one begins where a line begins."""
        if not self._failures_path.exists():
            return {}
        text = self._failures_path.read_text(errors="replace")
        failed = {}
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):
                noted = json.loads(line)
                failed[str(noted["name"])] = str(noted["reason"])
        if text and not text.endswith("\n"):
            with whole_file(self._failures_path) as temporary:
                temporary.write_text("".join(json.dumps({"name": n, "reason": r}) + "\n" for n, r in failed.items()))
        return failed

    def _pack(self) -> None:
        """What waits becomes a shard."""
        there = shards(self.folder)
        number = int(there[-1].stem.removeprefix("targets-")) + 1 if there else 0
        paths = [self.pending / f"{name}.tar" for name in self._waiting]
        with whole_file(self.folder / f"targets-{number:06d}.tar") as temporary, open(temporary, "wb") as file:
            _join(paths, file)
            file.flush()
            os.fsync(file.fileno())  # what it replaces is deleted next
        with disk_errors(self.pending):
            for path in paths:
                path.unlink()
        self._waiting = []


def _join(paths: list[Path], file: IO[bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in paths:
            for name, members in read_tar(path):
                add_members(tar, name, members)


def _pairs(path: Path) -> Iterator[tuple[str, Any]]:
    return ((name, provenance.get("pair")) for name, provenance in read_provenance(path))


def _is_whole(path: Path) -> bool:
    try:
        return [decode(name, members).name for name, members in read_tar(path)] == [path.stem]
    except HueglassError:
        return False
