"""Work in processes: the same results, errors that arrive, processes that die and that never outlive their first."""

import importlib
import math
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from hueglass.infer.errors import HueglassError, UsageError, failure
from hueglass.workers import DIED, in_processes

TASKS = """
import os, time
from pathlib import Path
from hueglass.infer.errors import UsageError

def refuse(item):
    raise UsageError(f"not {item}")

def threads(_):
    import cv2, torch
    return cv2.getNumThreads(), torch.get_num_threads()

def fragile(folder, item):
    '''Says which others are at work. "twice" always dies, "once" does at first.'''
    others = sorted(p.name for p in Path(folder).glob("at-work-*"))
    mine = Path(folder, f"at-work-{item}")
    mine.touch()
    died = Path(folder, f"died-{item}")
    if item == "twice" or (item == "once" and not died.exists()):
        mine.unlink()
        died.touch()
        os._exit(9)
    time.sleep(0.3)  # longer than one process starts after another
    mine.unlink()
    return others

def endless(folder, item):
    Path(folder, f"begun-{item}").touch()
    time.sleep(600 * item)
"""
MAIN = """
import sys
from functools import partial
from hueglass.workers import in_processes
sys.path.insert(0, sys.argv[1])
import tasks_of_tests
try:
    list(in_processes(partial(tasks_of_tests.endless, sys.argv[1]), [1, 2, 3], 2))
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that other processes can import."""
    (tmp_path / "tasks_of_tests.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tasks_of_tests", raising=False)
    return importlib.import_module("tasks_of_tests")


def test_work_in_processes_is_the_same_work() -> None:
    numbers = list(range(12))
    assert dict(in_processes(math.sqrt, numbers, 2)) == {n: math.sqrt(n) for n in numbers}
    assert list(in_processes(math.sqrt, [], 2)) == []
    assert multiprocessing.active_children() == []


def test_items_are_taken_when_their_turn_comes() -> None:
    taken: list[int] = []
    with closing(in_processes(math.sqrt, (taken.append(n) or n for n in range(100)), 2)) as results:
        next(results)
        assert len(taken) <= 4


def test_the_first_error_ends_the_work_and_says_where_it_was_raised(tasks: ModuleType) -> None:
    with pytest.raises(UsageError, match="not 1") as caught:
        list(in_processes(tasks.refuse, [1, 1, 1, 1], 2))
    assert "in refuse" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="cannot pickle"):
        list(in_processes(memoryview, [b"is no result that travels"], 1))
    assert multiprocessing.active_children() == []


def test_an_item_whose_process_dies_is_tried_once_more_alone(tasks: ModuleType, tmp_path: Path) -> None:
    items = ["twice", *(f"n{i}" for i in range(6)), "once", *(f"n{i}" for i in range(6, 9))]
    results = dict(in_processes(partial(tasks.fragile, tmp_path), items, 3))
    assert sorted(results) == sorted(items)
    assert [item for item, result in results.items() if isinstance(result, HueglassError)] == ["twice"]
    assert str(results["twice"]) == DIED
    assert results["once"] == []
    assert any(results[f"n{i}"] for i in range(9))


def test_each_process_has_one_thread(tasks: ModuleType) -> None:
    pytest.importorskip("torch")
    assert list(in_processes(tasks.threads, [0], 1)) == [(0, (1, 1))]


def test_no_room_for_another_process_is_one_line() -> None:
    free = os.dup(0)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(HueglassError, match="a process to work in cannot be started: Too many open files"):
            list(in_processes(math.sqrt, [1, 2], 2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_closing_ends_processes_in_the_middle_of_their_work(tasks: ModuleType, tmp_path: Path) -> None:
    results = in_processes(partial(tasks.endless, tmp_path), [0, 1], 2)
    assert next(results) == (0, None)
    results.close()
    assert multiprocessing.active_children() == []


def _wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _spawned(parent: int) -> list[Path]:
    """What /proc has of the processes that another one works in."""
    found = [Path("/proc", pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [folder for folder in found if b"spawn_main" in (folder / "cmdline").read_bytes()]


def _is_deaf(process: Path) -> bool:
    """Whether it keeps Ctrl-C waiting."""
    (blocked,) = re.findall(r"SigBlk:\s*(\w+)", (process / "status").read_text())
    return bool(int(blocked, 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(("how", "moment"), [("Ctrl-C", "at their start"), ("Ctrl-C", "at work"), ("kill", "at work")])
def test_processes_end_with_the_first_one_and_say_nothing(how: str, moment: str, tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of a terminal, a kill to the first one alone."""
    command = [sys.executable, "-c", MAIN, str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as first:
        _wait_until(lambda: len(_spawned(first.pid)) == 2)
        deaf = [_is_deaf(process) for process in _spawned(first.pid)]
        if moment == "at work":
            _wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        if how == "Ctrl-C":
            os.killpg(first.pid, signal.SIGINT)
        else:
            first.kill()
        _, said = first.communicate(timeout=60)
    assert deaf == [True, True]
    assert said == ("interrupted\n" if how == "Ctrl-C" else "")
    _wait_until(lambda: _group_is_gone(first.pid))


@pytest.mark.parametrize(
    ("error", "text"),
    [(UsageError("a\nb  c"), "a b c"), (ValueError("no\nsuch"), "ValueError: no such"), (KeyError(), "KeyError:")],
)
def test_any_error_is_one_line(error: Exception, text: str) -> None:
    assert str(failure(error)) == text
