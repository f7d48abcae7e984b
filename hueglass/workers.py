"""A task for each of many items, in processes of one thread each: two of those are faster than one with two threads."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from hueglass.infer.errors import HueglassError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_workers(
    task: Callable[[Item], Result], items: Sequence[Item], title: str, most: int = 8
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in the order in which they are done; a progress bar where somebody watches.

    `task` must pickle. The first error ends all and is raised; HueglassError if a process dies. There are at most
    `most` processes and no more than cores; where one would do, this process does the work.
    """
    console = Console(stderr=True)
    results = _results(task, items, min(most, len(items), os.cpu_count() or 1))
    yield from track(results, title, len(items), console=console, disable=not console.is_terminal, transient=True)


def _results(task: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[tuple[Item, Result]]:
    if processes < 2:
        yield from ((item, task(item)) for item in items)
        return
    with process_pool(processes) as pool:
        futures = {pool.submit(task, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        except BrokenProcessPool:
            raise HueglassError("a worker process was killed, most often for want of memory") from None


@contextmanager
def process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each. They end with the body at once, whatever they work on, and if this one dies."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read by numpy and torch when a process loads them, so not by this one
    context = get_context("spawn")  # torch's threads do not survive a fork
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _begin, (reader,))
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def _begin(lifeline: Connection) -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process: the first one ends the others
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """Waits for the first process to close its end of a pipe, which it does by dying too."""
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)
