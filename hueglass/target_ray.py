"""Pairs worked on by a Ray cluster, one task of one core each.

Every machine of the cluster needs hueglass, and data and weights under the same paths.
"""

import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from hueglass.datasets.pairs import Pair
from hueglass.infer.errors import HueglassError, UsageError

from .target_work import Outcomes, Work, teach_pair
from .workers import DIED

LOCAL = "local"
"""In place of an address: a cluster of this machine's own, which ends with the run."""
CONNECT_SECONDS = 5
_CONNECTING = {
    # Ray's own patience with an address where no cluster answers is several minutes.
    "RAY_py_gcs_connect_timeout_s": str(CONNECT_SECONDS),
    "RAY_NUM_REDIS_GET_RETRIES": "1",
}


def on_ray(pairs: Iterable[Pair], work: Work, address: str, workers: int) -> Outcomes:
    """Each pair as a task, twice as many at a time as the cluster has cores; `workers` is the size of a LOCAL one.

    A task whose process or machine dies is tried once more. HueglassError if no cluster answers at the address, or
    if it fails as a whole.
    """
    with _cluster(address, workers) as ray:
        task = ray.remote(num_cpus=1, max_retries=1)(_teach)
        shared = ray.put(work)
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        queue = iter(pairs)
        running = {task.remote(shared, pair): pair for pair in islice(queue, most)}
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), _result(ray, done)
            running |= {task.remote(shared, pair): pair for pair in islice(queue, 1)}


def _teach(work: Work, pair: Pair) -> bytes | HueglassError:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return teach_pair(work, pair)


def _result(ray: Any, reference: Any) -> bytes | HueglassError:
    died = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    try:
        return ray.get(reference)
    except died:
        return HueglassError(DIED)


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[Any]:
    """The module ray, connected."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address != LOCAL:
            os.environ.update(_CONNECTING)
        import ray
    except ImportError:
        raise UsageError('--ray needs Ray: pip install "hueglass[ray]"') from None
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _silence():
            if address == LOCAL:
                ray.init(address=LOCAL, num_cpus=workers, include_dashboard=False, **quiet)
            else:
                _knock(address)
                ray.init(address=address, **quiet)
        yield ray
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise HueglassError(f"--ray {address}: {lines[-1][:300]}") from None  # what comes first is a stack trace
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """HueglassError if nothing listens at HOST:PORT: Ray finds out much later, and loudly."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or something that Ray refuses by itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HueglassError(f"--ray {address}: no Ray cluster answers there: {reason}") from None


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps Ray's C++ parts off the terminal while they connect; what matters they raise."""
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)
