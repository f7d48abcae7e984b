"""What the command `targets` does: run the teacher on a manifest, say how it goes."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from hueglass.commands.targets import TargetOptions
from hueglass.config_file import read_config
from hueglass.datasets.pairs import Pair, check_files, read_pairs
from hueglass.datasets.target_store import Store
from hueglass.datasets.targets import Target, read_targets
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.images import write_image
from hueglass.progress import progress_bar
from hueglass.ray_cluster import on_ray
from hueglass.reports.page import tile
from hueglass.train.teacher.config import TeacherConfig
from hueglass.train.teacher.pair_work import Outcome, Outcomes, Work, teach_in_batches, teach_pair
from hueglass.workers import in_processes

LOG_SECONDS = 60
"""How often a run that nobody watches writes a line."""
MOST_FAILURES = 20
"""In a row: a disk that is gone must not mark all that is left as failed."""
SHEET_TARGETS = 24
TILE = (180, 180)


def run_targets(manifest: Path, folder: Path, options: TargetOptions) -> None:
    """Run the teacher on what is left of a manifest, into the store `folder`."""
    if options.device != "cpu" and options.ray is not None:
        raise UsageError(f"--device {options.device}: expected cpu where --ray is given")
    absolute = None if options.weights is None else options.weights.resolve()  # other processes may stand elsewhere
    work = Work(options.data.resolve(), read_config(options.config, TeacherConfig), absolute, options.device)
    pairs = read_pairs(manifest)
    check_files(pairs, options.data)
    with Store(folder, work.identity()) as store:
        if options.retry:
            store.forget_failures()
        left = _left(pairs, store)
        with closing(_outcomes(left, work, options.workers or native.cores(), options.ray)) as outcomes:
            _keep(_watched(outcomes, len(left)), store)
        done, failed = len(store.done), store.failed
    if not done:
        raise HueglassError(f"{folder}: no target could be made: {next(iter(failed.values()))}")
    write_image(folder / "sheet.png", sheet(islice(read_targets(folder), SHEET_TARGETS)))
    print(f"{folder}: {done} targets, {len(failed)} failed" + (" (see failures.jsonl)" if failed else ""))


def _keep(outcomes: Iterable[Outcome], store: Store) -> None:
    """HueglassError once so many pairs in a row have failed that the fault is hardly theirs."""
    streak = 0
    for pair, outcome in outcomes:
        if isinstance(outcome, bytes):
            store.add(pair.name, outcome)
            streak = 0
            continue
        store.fail(pair.name, str(outcome))
        streak += 1
        if streak == MOST_FAILURES:
            raise HueglassError(f"the last {streak} pairs failed, go on with --retry: {outcome}")


def _left(pairs: list[Pair], store: Store) -> list[Pair]:
    """What is neither done nor failed. UsageError if the store holds a target of one of the names from another pair."""
    for pair in pairs:
        if pair.name in store.done and store.done[pair.name] != pair.model_dump(exclude_none=True):
            raise UsageError(f"{store.folder}: its target {pair.name} is of another pair, expected a new folder")
    return [p for p in pairs if p.name not in store.done and p.name not in store.failed]


def _outcomes(pairs: list[Pair], work: Work, workers: int, ray: str | None) -> Outcomes:
    if ray is not None:
        return on_ray(partial(teach_pair, work), pairs, ray, workers)
    if work.device != "cpu":
        return teach_in_batches(pairs, work)
    return in_processes(partial(teach_pair, work), pairs, workers)


def _watched(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """The outcomes, shown as they pass: a bar on a terminal, else a line a minute."""
    with progress_bar() as bar:
        task = bar.add_task("targets", total=total)
        began = last = time.monotonic()
        failed = 0
        for number, outcome in enumerate(outcomes, 1):
            yield outcome
            failed += not isinstance(outcome[1], bytes)
            now = time.monotonic()
            rate = 60 * number / (now - began)
            text = f"targets, {failed} failed, {rate:.1f} a minute"
            bar.update(task, completed=number, description=text)
            if bar.disable and now - last > LOG_SECONDS:
                print(f"{number} of {total} {text}, {(total - number) / rate:.0f} minutes left", file=sys.stderr)
                last = now


def sheet(targets: Iterable[Target]) -> np.ndarray:
    """A contact sheet, uint8: content, style and target of two targets in a row."""
    rows = [np.hstack([tile(x, TILE, 255) for x in (t.content, t.style, t.target)]) for t in targets]
    rows += [np.full_like(rows[0], 255)] * (len(rows) % 2)
    return np.vstack([np.hstack(rows[i : i + 2]) for i in range(0, len(rows), 2)])
