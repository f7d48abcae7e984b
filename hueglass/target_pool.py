"""A pool of processes that never outlive what started them. Light: a process is to listen before it loads torch."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes of one thread each; they end at once when the body does, or when this process dies.

    Each listens at a pipe that nothing is ever written to: it breaks when this process lets go of its end.
    """
    context = get_context("spawn")  # torch's threads do not survive a fork
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(reader,))
    try:
        yield pool
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def _begin(lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the first process ends the others
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)
