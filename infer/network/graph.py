"""Graph: a network ready to run, and `open_graph`, which makes one of a graph file on any device of the table.

What runs it is a module of this room, imported when a device that it serves is first asked for.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file

from .devices import BEST_FIRST, Device, known_device
from .gpu import MEMORY_REMEDY, OUT_OF_MEMORY
from .tensors import GraphInput, Profile


class Graph(Protocol):
    """A network: arrays in, by name; its outputs out, in the order of the file. `device` is where it really runs.

    HueglassError, one line that names the file, where inputs do not fit or the device fails.
    """

    @property
    def device(self) -> str: ...

    @property
    def inputs(self) -> list[GraphInput]:
        """What has to be given, in the order of the file."""

    def __call__(self, /, **inputs: np.ndarray) -> tuple[np.ndarray, ...]: ...


def open_graph(
    path: Path, device: str = "cpu", threads: int = 0, profile: Profile | None = None, outputs: int | None = None
) -> Graph:
    """A graph file ready to run on a `Device`; `.device` of what is given says on which.

    "auto" takes the best that works here: a TensorRT engine, else CUDA, else the CPU. A warning names what is
    installed and does not work. Any other device is taken or refused: nothing falls back. `threads` is as in
    OnnxGraph, `profile` as in TensorRtGraph. Errors as these have them, and UsageError for an unknown device.

    `outputs` is how many of the first outputs are wanted, None for all. The others are not fetched, and may be of a
    kind or size that the device cannot give.
    """
    chosen = known_device(device)
    if chosen is not Device.AUTO:
        graph: Graph = _runner(chosen).open_on(chosen, path, threads, profile, outputs)
        return graph
    existing_file(path)
    for better in BEST_FIRST:
        if _runner(better).missing(better) is None:
            with _tried(better):
                return open_graph(path, better, threads, profile, outputs)
    return open_graph(path, Device.CPU, threads, profile, outputs)


@contextmanager
def runtime_errors(path: Path, device: str) -> Iterator[None]:
    """Turns any error of a runtime, which has a class per kind of trouble, into one line that names the graph file."""
    try:
        yield
    except HueglassError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if device != "cpu" and (isinstance(error, MemoryError) or OUT_OF_MEMORY.search(reason)):
            reason += f"; {MEMORY_REMEDY}"
        where = "" if device == "cpu" else f" on {device}"
        raise HueglassError(f"{path}: cannot be run{where}: {reason}") from None


def _runner(device: Device) -> Any:
    """The module that runs graphs on a device."""
    return importlib.import_module(f".{device.row.runner}", __package__)


@contextmanager
def _tried(device: Device) -> Iterator[None]:
    """For "auto": what cannot be used is a warning, and the next best is taken."""
    try:
        yield
    except HueglassError as error:
        warnings.warn(f"{error}; goes on without {device.row.title}", stacklevel=4)
