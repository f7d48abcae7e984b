"""A task for each of many items, in processes of one thread each: two of those are faster than one with two threads."""

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Generic, TypeVar

import cv2

from hueglass.infer.errors import HueglassError

Item = TypeVar("Item")
Result = TypeVar("Result")
DIED = "the process that worked on it died, twice (out of memory?)"


def in_processes(
    task: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Generator[tuple[Item, Result | HueglassError], None, None]:
    """Each item with its result, in the order in which they are done; what the task raises is raised and ends all.

    An item whose process dies is tried once more while nothing else runs; the second time HueglassError is its result.
    `task`, items and results must pickle. Close the generator (contextlib.closing) and its processes end at once,
    whatever they work on. They also end if this process dies.
    """
    queue, suspects = iter(items), list[Item]()
    with closing(_Crew[Item, Result](task)) as crew:
        while True:
            if not suspects:
                for item in islice(queue, processes - len(crew.busy)):
                    crew.begin(item)
            elif not crew.busy:
                suspect = suspects.pop()
                crew.begin(suspect)
                ((_, outcome),) = crew.finished()
                yield suspect, HueglassError(DIED) if outcome is None else outcome[0]
                continue
            if not crew.busy:
                return
            for item, outcome in crew.finished():
                if outcome is None:
                    suspects.append(item)
                else:
                    yield item, outcome[0]


class _Crew(Generic[Item, Result]):
    """Processes by the lines to them, and the items that they work on."""

    def __init__(self, task: Callable[[Item], Result]) -> None:
        self.task = task
        self.processes: dict[Connection, SpawnProcess] = {}
        self.busy: dict[Connection, Item] = {}

    def begin(self, item: Item) -> None:
        message = pickle.dumps((self.task, item))
        line = next((line for line in self.processes if line not in self.busy), None) or self._start()
        self.busy[line] = item
        with suppress(OSError):  # it has died: the next reading finds that out
            line.send_bytes(message)

    def finished(self) -> list[tuple[Item, tuple[Result] | None]]:
        """Waits for one at least; None in place of a result where the process died."""
        ready = wait(list(self.busy))
        return [(self.busy.pop(line), self._answer(line)) for line in list(self.busy) if line in ready]

    def _answer(self, line: Connection) -> tuple[Result] | None:
        try:
            answer = line.recv_bytes()
        except (EOFError, OSError):
            self._end(line)
            return None
        result, error = pickle.loads(answer)
        if error is not None:
            raise error
        return (result,)

    def _start(self) -> Connection:
        context = get_context("spawn")  # torch's threads do not survive a fork
        try:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            with _interrupt_later(), _heritage():
                process.start()
                self.processes[ours] = process
        except OSError as error:
            raise HueglassError(f"a process to work in cannot be started: {error.strerror}") from None
        theirs.close()  # else the end of the process would not show
        return ours

    def _end(self, *lines: Connection) -> None:
        for line in lines:
            line.close()
            self.processes[line].kill()
        for line in lines:
            self.processes.pop(line).join()

    def close(self) -> None:
        self._end(*self.processes)


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Holds Ctrl-C back: a process that is left half started ends with a traceback.

    No mask does it: the signal then goes to a thread of numpy's, and Python interrupts its first thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _heritage() -> Iterator[None]:
    """What a process has from its first moment: one thread in numpy and torch, and no ear for Ctrl-C.

    Ctrl-C goes to every process of a terminal; it is for the first one to end the others.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # read while numpy and torch load, so not by this process
    resource_tracker.ensure_running()  # would lift the mask if it was started below
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(line: Connection) -> None:
    """The life of a process: a thread listens, so that it ends at once when the first process lets go of the line."""
    cv2.setNumThreads(1)
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(line, tasks), daemon=True).start()
    while True:
        answer = _answer_to(tasks.get())
        with suppress(OSError):
            line.send_bytes(answer)


def _listen(line: Connection, tasks: SimpleQueue[bytes]) -> None:
    try:
        while True:
            tasks.put(line.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _answer_to(message: bytes) -> bytes:
    try:
        task, item = pickle.loads(message)
        return pickle.dumps((task(item), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        return pickle.dumps((None, error))
