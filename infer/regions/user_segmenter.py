"""A segmenter of the user's: an ONNX graph beside a label map."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import existing_file

from .label_map import read_label_map
from .segmenter import MAX_CLASSES, MAX_SIDE, Segmenter

if TYPE_CHECKING:
    from hueglass.infer.network.tensors import GraphInput


def open_segmenter(graph: Path, labels: Path, map_size: int, device: str = "cpu", threads: int = 0) -> Segmenter:
    """The user's segmenter in the files `graph` (ONNX) and `labels` (a label map), with maps of `map_size` pixels.

    Sizes that neither file fixes are the thumbnail's, twice `map_size`. The graph is run once on noise, so that what
    does not fit shows at once. UsageError for a missing file, an unknown device, or a label map that is for another
    graph; HueglassError for a broken file, or a graph that does not take or give what `Segmenter` expects.
    """
    from hueglass.infer.network.graph import open_graph

    label_map, network = read_label_map(labels), open_graph(existing_file(graph), device, threads, outputs=1)
    only = _only_input(graph, network.inputs)
    size = _input_size(graph, only, labels, label_map.size, 2 * map_size)
    mean, deviation = label_map.mean, label_map.std
    blank = Segmenter(network, graph, (), size, map_size, only.name, mean, deviation)
    noise = np.random.default_rng(0).integers(0, 256, (2 * map_size, 2 * map_size, 3), np.uint8)
    scores = blank.scores(noise)
    if scores.ndim == 2:
        return replace(blank, labels=label_map.names(MAX_CLASSES))
    names = label_map.names(len(scores))
    if len(names) != len(scores):
        raise UsageError(f"{labels}: is for {len(names)} classes, {graph} gives scores of {len(scores)}")
    return replace(blank, labels=names, softmax=not _are_probabilities(scores))


def _only_input(path: Path, inputs: "list[GraphInput]") -> "GraphInput":
    if len(inputs) == 1 and inputs[0].kind == "tensor(float)" and len(inputs[0].shape) == 4:
        batch, channels, *_ = inputs[0].shape
        if batch in (1, None) and channels in (3, None):
            return inputs[0]
    found = " and ".join(f"{x.kind} ({', '.join('?' if n is None else str(n) for n in x.shape)})" for x in inputs[:4])
    raise HueglassError(f"{path}: takes {found or 'nothing'}, expected only tensor(float) (1, 3, height, width)")


def _input_size(
    path: Path, only: "GraphInput", labels: Path, wanted: tuple[int, int] | None, default: int
) -> tuple[int, int]:
    """Height and width at which the graph is to be run."""
    fixed, open_sizes = only.shape[2:], wanted or (default, default)
    height, width = (n if n is not None else m for n, m in zip(fixed, open_sizes, strict=True))
    if wanted and (height, width) != wanted:
        raise UsageError(f"{labels}: size is {list(wanted)}, expected {[height, width]} as {path} has it")
    if not (min(height, width) >= 1 and max(height, width) <= MAX_SIDE):
        raise HueglassError(f"{path}: takes pictures of {width}x{height}, expected sides of 1 to {MAX_SIDE}")
    return height, width


def _are_probabilities(scores: np.ndarray) -> bool:
    """Half floats of many classes sum to 1 within a hundredth."""
    return bool(scores.min() >= 0 and np.abs(scores.sum(0) - 1).max() < 1e-2)
