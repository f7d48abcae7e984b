"""Where pairs are worked on: in processes of this machine, or in batches on its GPU.

Each runner takes pairs and yields outcomes as they come, in any order; it works on a bounded number at a time.
Close it (`contextlib.closing`) and its processes end at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from hueglass.datasets.pairs import Pair

from .target_pool import process_pool
from .target_work import Outcome, Outcomes, Scene, Work, load_scene, teach_pair, teach_together

BATCH = 16
"""Pairs that a GPU works on together."""


def on_processes(pairs: Iterable[Pair], work: Work, workers: int) -> Outcomes:
    """Each pair in one of `workers` processes with one thread each.

    When a process dies, nothing says whose work killed it: the pairs that were underway are tried once more, one by
    one, and one has failed if its process dies again.
    """
    queue = iter(pairs)
    while True:
        underway: dict[str, Pair] = {}
        yield from _until_death(queue, work, workers, underway)
        if not underway:
            return
        yield from _one_by_one(iter(list(underway.values())), work)


def _one_by_one(suspects: Iterator[Pair], work: Work) -> Outcomes:
    while True:
        underway: dict[str, Pair] = {}
        yield from _until_death(suspects, work, 1, underway)
        if not underway:
            return
        for pair in underway.values():
            yield Outcome(pair, None, "the process that worked on it died, twice (out of memory?)")


def _until_death(queue: Iterator[Pair], work: Work, workers: int, underway: dict[str, Pair]) -> Outcomes:
    """Outcomes until `queue` is empty or a process dies; then `underway` holds what was taken and has no outcome."""
    running: set[Future[Outcome]] = set()
    with process_pool(workers) as pool:
        try:
            for pair in queue:
                underway[pair.name] = pair
                running.add(pool.submit(teach_pair, pair, work))
                if len(running) >= workers:
                    yield from _finished(running, underway)
            while running:
                yield from _finished(running, underway)
        except BrokenProcessPool:
            pass


def _finished(running: set[Future[Outcome]], underway: dict[str, Pair]) -> Outcomes:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        outcome = future.result()
        running.remove(future)
        del underway[outcome.pair.name]
        yield outcome


def in_batches(pairs: Iterable[Pair], work: Work) -> Outcomes:
    """In this process, BATCH contents of equal size at a time: for a GPU."""
    groups: dict[tuple[int, ...], list[Scene]] = defaultdict(list)
    for pair in pairs:
        try:
            scene = load_scene(pair, work)
        except Exception as error:
            yield Outcome(pair, None, str(error))
            continue
        group = groups[scene.content.shape]
        group.append(scene)
        if len(group) == BATCH:
            yield from teach_together(groups.pop(scene.content.shape), work)
    for group in groups.values():
        yield from teach_together(group, work)
