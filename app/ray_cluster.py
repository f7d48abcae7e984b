"""A task for each of many items, on a Ray cluster.

Every machine of the cluster needs hueglass, and the files that the task reads and writes under the same paths.
"""

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import cv2

from hueglass.infer.errors import HueglassError, UsageError

from .workers import DIED

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = "local"
"""In place of an address: a cluster of this machine's own, which ends with the run."""
CONNECT_SECONDS = 5
_CONNECTING = {
    # Ray's own patience with an address where no cluster answers is several minutes.
    "RAY_py_gcs_connect_timeout_s": str(CONNECT_SECONDS),
    "RAY_NUM_REDIS_GET_RETRIES": "1",
}


def on_ray(
    task: Callable[[Item], Result], items: Iterable[Item], address: str, workers: int, cores: int = 1
) -> Generator[tuple[Item, Result | HueglassError], None, None]:
    """Each item with the task's result, as they are done; each on `cores` cores, or as many as the largest machine has.

    Twice as many wait as the cluster has cores; `workers` is the size of a LOCAL one. An item whose process or machine
    dies is tried once more; the second time HueglassError is its result. HueglassError if no cluster answers at the
    address, or if it fails as a whole. Task, items and results must pickle.
    """
    with _cluster(address, workers) as ray:
        largest = max((node["Resources"].get("CPU", 1) for node in ray.nodes()), default=1)
        remote = ray.remote(num_cpus=min(cores, int(largest)), max_retries=1)(_on_ray)
        shared = ray.put(task)
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        queue = iter(items)
        running = {remote.remote(shared, item): item for item in islice(queue, most)}
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), _result(ray, done)
            running |= {remote.remote(shared, item): item for item in islice(queue, 1)}


def _on_ray(task: Callable[[Item], Result], item: Item) -> Result:
    cv2.setNumThreads(1)  # Ray holds other libraries to the task's cores by OMP_NUM_THREADS
    return task(item)


def _result(ray: Any, reference: Any) -> Any:
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
