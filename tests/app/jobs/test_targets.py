"""The commands `pairs` and `targets` as they run: processes that die, runs that are killed, pairs that fail."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file
from support.target_world import BAD, CONFIG, EVERYTHING, GOOD, World, names_of

from hueglass.datasets.pairs import Pair, read_pairs, write_pairs
from hueglass.datasets.targets import read_targets
from hueglass.jobs import targets as targets_command
from hueglass.train.features import random_features
from hueglass.train.teacher import pair_work as target_work


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes take seconds to start: what does not concern them is tested without."""
    monkeypatch.setattr(targets_command, "in_processes", lambda task, pairs, _: ((p, task(p)) for p in pairs))


def _failed(store: Path) -> dict[str, str]:
    lines = (store / "failures.jsonl").read_text().splitlines()
    return {json.loads(line)["name"]: json.loads(line)["reason"] for line in lines}


def _but_for_minutes(errors: str) -> str:
    """Without the lines that a run writes once a minute: on a machine with other work it may take that long."""
    return re.sub(r"(?m)^\d+ of \d+ targets, [01] failed, \d+\.\d a minute, \d+ minutes left\n", "", errors)


def _once(find: Callable[[], Iterable[int]]) -> tuple[threading.Thread, list[int]]:
    """A thread that kills the first process that is found."""
    killed: list[int] = []

    def watch() -> None:
        end = time.monotonic() + 60
        while not killed and time.monotonic() < end:
            for process in find():
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, killed


def test_a_worker_that_is_killed_costs_nothing(world: World, run: Callable, tmp_path: Path) -> None:
    """Two real processes, one of them killed after the first target; the pair that cannot be read is recorded."""
    store = tmp_path / "s"

    def find() -> list[int]:
        made = next(store.glob("pending/n*.tar"), None)
        return [] if made is None else [process.pid or 0 for process in multiprocessing.active_children()]

    thread, killed = _once(find)
    outcome = run(*world.command(store, "--workers", 2))
    thread.join()
    assert len(killed) == 1
    assert outcome.status == 0
    assert outcome.out == f"{store}: {GOOD} targets, 1 failed (see failures.jsonl)\n"
    assert _but_for_minutes(outcome.err) == ""
    assert names_of(store) == EVERYTHING
    assert list(_failed(store)) == [BAD]
    assert "broken.png: " in _failed(store)[BAD]
    assert multiprocessing.active_children() == []
    sheet = cv2.imread(str(store / "sheet.png"))
    assert sheet.shape == (6 * 180, 6 * 180, 3)


KILL = """
import os, signal, sys, time
from pathlib import Path
from hueglass import cli
from hueglass.datasets import target_store
from hueglass.jobs import targets as targets_command

target_store.SHARD = 4
store, moments = Path(sys.argv[1]), [int(x) for x in sys.argv[2].split(",")]
sys.argv[1:] = sys.argv[3:]

def made():
    shards = len(list(store.glob("targets-*.tar")))
    return 4 * shards + len(list(store.glob("pending/n*.tar")))

def run():
    child = os.fork()
    if not child:
        os._exit(cli.run())
    return child

child = run()
children = Path(f"/proc/{child}/task/{child}/children")
while len(children.read_text().split()) < 3:
    time.sleep(0.001)
os.kill(child, signal.SIGINT)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), made(), flush=True)

targets_command.in_processes = lambda task, pairs, _: ((pair, task(pair)) for pair in pairs)
for moment in moments:
    child = run()
    while made() < moment and os.waitpid(child, os.WNOHANG)[0] == 0:
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    print(moment, os.WIFSIGNALED(status), made(), flush=True)
sys.exit(cli.run())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_a_run_interrupted_at_several_moments_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    """By Ctrl-C while two processes start, then by kills between and within shards."""
    store, moments = tmp_path / "s", [0, 1, 4, 5, 10]
    command = [sys.executable, "-c", KILL, str(store), ",".join(map(str, moments)), *world.command(store)]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    interrupted, *killed, said = done.stdout.splitlines()
    assert interrupted == "130 0"
    assert _but_for_minutes(done.stderr) == "hueglass: interrupted, nothing half-written was left behind\n"
    assert [line.split()[:2] for line in killed] == [[str(m), "True"] for m in moments]
    assert said == f"{store}: {GOOD} targets, 1 failed (see failures.jsonl)"
    assert names_of(store) == EVERYTHING
    assert list(_failed(store)) == [BAD]
    left = sorted(p.name for p in store.rglob("*") if p.is_file() and not re.fullmatch(r"targets-\d{6}\.tar", p.name))
    assert left == ["failures.jsonl", "lock", "sheet.png", "store.json"]


@pytest.mark.usefixtures("in_this_process")
def test_failed_pairs_are_skipped_until_retry(world: World, run: Callable, tmp_path: Path) -> None:
    store, short = tmp_path / "s", tmp_path / "m.jsonl"
    write_pairs(short, world.pairs[3:6])
    command = [str(short) if x == str(world.manifest) else x for x in world.command(store)]
    said = f"{store}: 2 targets, 1 failed (see failures.jsonl)\n"
    for more in ([], [], ["--retry"]):
        outcome = run(*command, *more)
        assert (outcome.status, outcome.out, outcome.err) == (0, said, "")
        assert list(_failed(store)) == [BAD]
    broken = world.data / "photos/broken.png"
    damaged = broken.read_bytes()
    try:
        broken.write_bytes((world.data / "photos/p0.png").read_bytes())
        assert run(*command).out == said
        assert run(*command, "--retry").out == f"{store}: 3 targets, 0 failed\n"
    finally:
        broken.write_bytes(damaged)
    assert names_of(store) == sorted([BAD, "n3", "n4"])


@pytest.mark.usefixtures("in_this_process")
def test_a_fault_that_is_not_the_pairs_ends_the_run(
    world: World, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(target_work, "teach_batch", gone)
    monkeypatch.setattr(targets_command, "MOST_FAILURES", 4)
    outcome = run(*world.command(tmp_path / "s"))
    assert outcome.status == 1
    assert outcome.err == "hueglass: the last 4 pairs failed, go on with --retry: OSError: Input/output error\n"
    assert len(_failed(tmp_path / "s")) == 4
    monkeypatch.setattr(targets_command, "MOST_FAILURES", 50)
    outcome = run(*world.command(tmp_path / "s"))
    assert outcome.status == 1
    assert "s: no target could be made: " in outcome.err


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (("--config", "size: 33\n"), 2, "its targets were made with another teacher, expected a new folder"),
        (("--config", "sise: 33\n"), 1, "sise: Extra inputs are not permitted"),
        (("--weights", random_features("squeezenet", 1)), 2, "its targets were made with another weights"),
        (("--weights", "nothing"), 1, "cannot be read, expected weights"),
        (("--data", None), 2, "nowhere: no such folder, expected the data"),
        (("--device", "tpu"), 2, "'tpu' is not one of 'cpu', 'cuda'"),
    ],
)
def test_what_does_not_fit_the_store_is_one_line_before_work_starts(
    world: World, made: Path, run: Callable, tmp_path: Path, change: tuple[str, Any], status: int, said: str
) -> None:
    option, value = change
    path = tmp_path / ("nowhere" if value is None else f"x{'.yaml' if option == '--config' else '.safetensors'}")
    if isinstance(value, torch.nn.Module):
        save_file({f"features.{k}": v for k, v in value.stack.state_dict().items()}, path)
    elif value is not None:
        path.write_text(CONFIG + value if option == "--config" and "size" in value else value)
    before = sorted((p, p.stat().st_mtime_ns) for p in made.iterdir() if p.name != "lock")
    outcome = run(*world.command(made, option, value if option == "--device" else path))
    assert outcome.status == status
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert sorted((p, p.stat().st_mtime_ns) for p in made.iterdir() if p.name != "lock") == before


def test_a_store_of_other_pairs_of_the_same_names_is_refused(
    world: World, made: Path, run: Callable, tmp_path: Path
) -> None:
    pairs = [p.model_copy(update={"grade_seed": 99}) if p.name == "n5" else p for p in world.pairs]
    write_pairs(tmp_path / "m.jsonl", pairs)
    command = [str(tmp_path / "m.jsonl") if x == str(world.manifest) else x for x in world.command(made)]
    outcome = run(*command)
    assert outcome.status == 2
    assert outcome.err == f"hueglass: {made}: its target n5 is of another pair, expected a new folder\n"


def test_a_missing_picture_is_named_before_work_starts(world: World, run: Callable, tmp_path: Path) -> None:
    write_pairs(tmp_path / "m.jsonl", [*world.pairs, Pair(name="z", content="photos/p0.png", style="photos/no.png")])
    command = [str(tmp_path / "m.jsonl") if x == str(world.manifest) else x for x in world.command(tmp_path / "s")]
    outcome = run(*command)
    assert (outcome.status, outcome.err) == (2, f"hueglass: {world.data}/photos/no.png: no such file\n")
    assert not (tmp_path / "s").exists()


def test_pairs_draws_a_manifest(world: World, run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    outcome = run("pairs", world.data, "-o", path, "--count", 20, "--seed", 7)
    assert outcome.status == 0
    assert re.fullmatch(rf"{path}: 20 pairs, 8 with regions, \d+ with a graded style\n", outcome.out)
    assert [p.name for p in read_pairs(path)] == [f"s7-{i:06d}" for i in range(20)]
    for arguments, said in (
        ((world.data / "nowhere", "-o", path), "no such folder"),
        ((world.folder, "-o", path), "neither in photos nor in camvid/train"),
        ((world.data, "-o", tmp_path / "no" / "m.jsonl"), "does not exist"),
    ):
        outcome = run("pairs", *arguments)
        assert outcome.status == 2
        assert said in outcome.err
        assert outcome.err.count("\n") == 1


def test_ray_where_no_cluster_is_is_one_line(world: World, run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    for address, said in (
        ("127.0.0.1:1", "no Ray cluster answers there: Connection refused"),
        ("no-such-host.invalid:6379", "no Ray cluster answers there: "),
        ("nonsense", "Invalid address format"),
    ):
        outcome = run(*world.command(tmp_path / "s", "--ray", address))
        assert outcome.status == 1
        assert outcome.err.startswith(f"hueglass: --ray {address}: ")
        assert said in outcome.err
        assert outcome.err.count("\n") == 1


def test_ray_missing_is_said_with_the_remedy(
    world: World, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = run(*world.command(tmp_path / "s", "--ray", "local"))
    assert (outcome.status, outcome.err) == (2, 'hueglass: --ray needs Ray: pip install "hueglass[ray]"\n')


CLUSTER = """
import sys, ray
cluster = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50)
print(cluster.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


def _busy_on_ray() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(b"ray::_on_ray"):
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_a_ray_cluster_does_the_same_work(
    world: World, made: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real cluster of two processes, one of which is killed in the middle."""
    pytest.importorskip("ray")
    store, command = tmp_path / "s", [sys.executable, "-c", CLUSTER]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        thread, killed = _once(_busy_on_ray)
        outcome = run(*world.command(store, "--ray", address))
        thread.join()
        cluster.communicate("", timeout=60)
    assert (outcome.status, _but_for_minutes(outcome.err)) == (0, "")
    assert len(killed) == 1
    # Before that Ray itself says that a process died.
    assert outcome.out.splitlines()[-1] == f"{store}: {GOOD} targets, 1 failed (see failures.jsonl)"
    assert list(_failed(store)) == [BAD]
    on_ray = {target.name: target for target in read_targets(store)}
    for target in read_targets(made):
        assert np.abs(on_ray.pop(target.name).target.astype(int) - target.target).max() <= 2
    assert on_ray == {}
