"""Stores being written: nothing is lost or doubled when the process is killed or the disk is full."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hueglass.datasets import target_store
from hueglass.datasets.target_store import Store
from hueglass.datasets.targets import Target, encode, read_targets
from hueglass.infer.errors import HueglassError, UsageError

MADE_WITH = {"teacher": {"size": 8, "grid": (1, 2, 3)}, "weights": "abc"}


def _target(name: str) -> bytes:
    picture = np.full((2, 3, 3), sum(name.encode()) % 256, np.uint8)
    labels = np.zeros((2, 3), np.uint8)
    provenance = {"pair": {"name": name}}
    return encode(Target(name, picture, picture, picture, None, ("whole",), labels, labels, provenance=provenance))


def _names(folder: Path) -> list[str]:
    return [target.name for target in read_targets(folder)]


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_targets_are_packed_in_the_order_of_making(tmp_path: Path) -> None:
    names = [f"n{(7 * i) % 130}" for i in range(130)]
    with Store(tmp_path / "s", MADE_WITH) as store:
        for i, name in enumerate(names):
            store.add(name, _target(name))
            assert len(list(store.pending.iterdir())) == (i + 1) % 64
    assert _files(tmp_path / "s") == ["lock", "store.json", *(f"targets-00000{n}.tar" for n in range(3))]
    assert _names(tmp_path / "s") == names
    with Store(tmp_path / "s", MADE_WITH) as store:
        assert store.done == {name: {"name": name} for name in names}
        with pytest.raises(HueglassError, match="holds n7 already"):
            store.add("n7", _target("n7"))
        store.add("more", _target("more"))
    assert _files(tmp_path / "s")[-1] == "targets-000003.tar"
    assert _names(tmp_path / "s") == [*names, "more"]


class Killed(BaseException):
    """kill -9, as far as the disk can tell: nothing more is done to it."""


def _dying(monkeypatch: pytest.MonkeyPatch, steps: int, half: bool) -> None:
    """The process dies at its `steps`-th operation on the disk; a file being written then is `half` there."""
    left = [steps]

    def wrap(holder: Any, name: str) -> None:
        real = getattr(holder, name)

        def operation(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and half and name == "write_bytes":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if left[0] <= 0:
                raise Killed
            return real(*arguments, **options)

        monkeypatch.setattr(holder, name, operation)

    for holder, name in ((os, "replace"), (os, "fsync"), (Path, "unlink"), (Path, "write_bytes")):
        wrap(holder, name)


@pytest.mark.parametrize("half", [True, False])
def test_a_kill_at_any_step_neither_loses_nor_doubles_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    monkeypatch.setattr(target_store, "SHARD", 2)
    names = [f"t{i}" for i in range(5)]
    for steps in range(1, 200):
        folder, added = tmp_path / f"{half}-{steps}", []
        with monkeypatch.context() as dying:
            _dying(dying, steps, half)
            try:
                with Store(folder, MADE_WITH) as store:
                    for name in names:
                        store.add(name, _target(name))
                        added.append(name)
                died = False
            except Killed:
                died = True
        with Store(folder, MADE_WITH) as store:
            assert set(added) <= set(store.done) <= set(names[: len(added) + 1])
            for name in names:
                if name not in store.done:
                    store.add(name, _target(name))
        assert _names(folder) == names
        assert not [f for f in _files(folder) if "part" in f or "pending" in f]
        if not died:
            break
    assert 30 < steps < 100


def _full_at(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(holder, name, full)


@pytest.mark.parametrize(("holder", "name"), [(Path, "write_bytes"), (os, "fsync"), (os, "replace")])
def test_a_full_disk_is_one_line_and_leaves_nothing_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Any, name: str
) -> None:
    monkeypatch.setattr(target_store, "SHARD", 2)
    folder = tmp_path / "s"

    def fill() -> None:
        with Store(folder, MADE_WITH) as store:
            for name in ("a", "b", "c", "d"):
                if name not in store.done:
                    store.add(name, _target(name))
                    if name == "c":
                        _full_at(full, holder, attribute)

    attribute = name
    with monkeypatch.context() as full, pytest.raises(HueglassError, match="No space left") as caught:
        fill()
    assert "\n" not in str(caught.value)
    assert not [f for f in _files(folder) if "part" in f]
    assert _names(folder)[:3] == ["a", "b", "c"]
    with monkeypatch.context() as full:
        attribute = "nothing"
        full.setattr(holder, attribute, None, raising=False)
        fill()
    assert _names(folder) == ["a", "b", "c", "d"]


def test_no_room_for_a_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "s", MADE_WITH) as store:
        monkeypatch.setattr(Store, "_failures_path", Path("/dev/full"))
        with pytest.raises(HueglassError, match="No space left"):
            store.fail("a", "it was not possible")


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ({**MADE_WITH, "weights": "abd"}, "another weights"),
        ({**MADE_WITH, "teacher": {"size": 9, "grid": [1, 2, 3]}}, "another teacher"),
        ({"weights": "abc"}, "another teacher"),
        ({**MADE_WITH, "more": 1}, "another more"),
    ],
)
def test_a_store_of_another_identity_is_refused(tmp_path: Path, identity: dict[str, Any], said: str) -> None:
    with Store(tmp_path / "s", MADE_WITH) as store:
        store.add("a", _target("a"))
    before = _files(tmp_path / "s")
    with pytest.raises(UsageError, match=f"s: its targets were made with {said}"):
        Store(tmp_path / "s", identity)
    assert _files(tmp_path / "s") == before
    Store(tmp_path / "s", MADE_WITH).__exit__(None)


def test_a_damaged_identity_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(HueglassError, match=r"store\.json: cannot be read"):
        Store(tmp_path, MADE_WITH)
    (tmp_path / "store.json").write_text("[]")
    with pytest.raises(HueglassError, match=r"store\.json: cannot be read"):
        Store(tmp_path, MADE_WITH)


HOLD = """
import sys
from pathlib import Path
from hueglass.datasets.target_store import Store
with Store(Path(sys.argv[1]), {}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "s")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="s: another process is writing to it"):
            Store(tmp_path / "s", {})
        first.kill()
    with Store(tmp_path / "s", {}):
        pass


def test_a_lock_that_is_a_link_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "lock").symlink_to(tmp_path / "mine")
    with Store(tmp_path / "s", MADE_WITH):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_failures_are_kept_until_they_are_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path / "s", MADE_WITH) as store:
        store.fail("a", "a\nreason ")
        store.fail("b", "x" * 5000)
    with open(tmp_path / "s" / "failures.jsonl", "a") as file:
        file.write('{"name": "c", "rea')
    with Store(tmp_path / "s", MADE_WITH) as store:
        assert store.failed == {"a": "a\nreason ", "b": "x" * 1000}
        store.fail("d", "too")
    assert len((tmp_path / "s" / "failures.jsonl").read_text().splitlines()) == 3
    with Store(tmp_path / "s", MADE_WITH) as store:
        assert list(store.failed) == ["a", "b", "d"]
        store.forget_failures()
        assert store.failed == {}
    with Store(tmp_path / "s", MADE_WITH) as store:
        assert store.failed == {}


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:700], lambda data: data[:2000] + b"\0" * 9000])
def test_what_a_power_failure_left_is_made_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = Store(tmp_path / "s", MADE_WITH)
    for name in ("a", "b"):
        store.add(name, _target(name))
    store.__exit__(KeyboardInterrupt)
    path = tmp_path / "s" / "pending" / "a.tar"
    path.write_bytes(damage(path.read_bytes()))
    with Store(tmp_path / "s", MADE_WITH) as store:
        assert list(store.done) == ["b"]
        store.add("a", _target("a"))
    assert _names(tmp_path / "s") == ["b", "a"]


def test_a_file_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        Store(tmp_path / "s", MADE_WITH)
    with pytest.raises(HueglassError, match="cannot be written"):
        Store(Path("/proc/nothing/s"), MADE_WITH)
