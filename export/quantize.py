"""The student in 8-bit integers, for processors that multiply those fast: tried on real thumbnails, kept if it is good.

Static quantisation of the convolutions alone, weights per channel. The products that sum over a picture stay as they
are: in 8 bits they would cost more colour than they gain time.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from hueglass.datasets.photos import Photo, load_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.model.manifest import LOOK_ENCODER, STUDENT, twin
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.train.bilateral import render
from hueglass.train.student.network import StudentConfig
from hueglass.train.student.samples import Batch, SampleConfig, Sampler
from hueglass.train.student.sums import MEASURED

Feeds = dict[str, np.ndarray]
CALIBRATION, HELD_OUT = 48, 96
"""Samples to find the ranges of activations by, and others to judge by."""
MOST_LOST = 0.2
"""Decibels to known targets."""
LEAST_GAIN = 0.1
"""Share of single precision's time, on one thread."""
ROUNDS = 40


@dataclass(frozen=True)
class Verdict:
    """How the quantised student does beside the one in single precision, and whether it was kept."""

    lost_db: float
    gain: float

    @property
    def good(self) -> bool:
        return self.lost_db <= MOST_LOST and self.gain >= LEAST_GAIN

    def __str__(self) -> str:
        kept = "kept" if self.good else f"not kept ({MOST_LOST} dB, {LEAST_GAIN:.0%} are asked for)"
        return f"int8: {self.lost_db:+.2f} dB lost, {self.gain:.0%} of the time gained, {kept}"


def add_int8(folder: Path, config: StudentConfig, photos: Path) -> Verdict:
    """Quantise `folder`'s student on photographs, and leave the graph beside it if it is good.

    UsageError if the folder of photographs has too few.
    """
    found = load_photos(photos, config.thumbnail)
    if len(found) < 2:
        raise UsageError(f"{photos}: has {len(found)} photographs, expected two at least to calibrate by")
    encoder = OnnxGraph(folder / LOOK_ENCODER)
    calibration, judged = (_batch(found, config, count, seed) for seed, count in enumerate((CALIBRATION, HELD_OUT)))
    target = folder / twin(STUDENT, "int8")
    _quantise(folder / STUDENT, target, _feeds(calibration, encoder, MEASURED + config.width))
    graphs = [OnnxGraph(path, threads=1) for path in (folder / STUDENT, target)]
    feeds = _feeds(judged, encoder, MEASURED + config.width)
    single, integer = (_psnr(graph, feeds, judged) for graph in graphs)
    verdict = Verdict(single - integer, _gain(graphs, feeds[0]))
    if not verdict.good:
        target.unlink()
    return verdict


def _batch(photos: list[Photo], config: StudentConfig, count: int, seed: int) -> Batch:
    """Photographs under two grades each, regions shown in half of them: what the student was trained on."""
    return Sampler(SampleConfig(), photos, [], config.thumbnail, config.slots, seed).graded(count)


def _feeds(batch: Batch, encoder: OnnxGraph, remembered: int) -> list[Feeds]:
    """What the student is given for every sample, told of no scene around it."""
    feeds = []
    for i in range(len(batch.content)):
        one = {name: getattr(batch, name)[i : i + 1].numpy() for name in ("content", "content_maps", "reference")}
        codes, *_ = encoder(reference=one["reference"], regions=batch.reference_maps[i : i + 1].numpy())
        nothing = np.zeros((*codes.shape[:1], codes.shape[1] + 1, remembered), np.float32)
        feeds.append({"thumbnail": one["content"], "regions": one["content_maps"], "codes": codes, "memory": nothing})
    return feeds


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: list[Feeds]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)


def _quantise(source: Path, target: Path, feeds: list[Feeds]) -> None:
    prepared = target.with_suffix(".part")
    logging.disable(logging.WARNING)  # it would advise the user to do what is done in the next line
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,  # weights of 7 bits: without VNNI, sums of two products of 8 and 8 are cut off at 16
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
        )
    finally:
        logging.disable(logging.NOTSET)
        prepared.unlink(missing_ok=True)


def _psnr(graph: OnnxGraph, feeds: list[Feeds], batch: Batch) -> float:
    """Mean PSNR in dB of what becomes of the samples, to their known targets."""
    assert batch.target is not None
    found = []
    for i, feed in enumerate(feeds):
        grid, *_ = graph(**feed)
        output = render(torch.from_numpy(grid), batch.content[i : i + 1]).clamp(0, 1)
        found.append(-10 * float((output[0] - batch.target[i]).square().mean().clamp_min(1e-10).log10()))
    return float(np.mean(found))


def _gain(graphs: Sequence[OnnxGraph], feed: Feeds) -> float:
    """The share of the first graph's time that the second saves: medians, in turns."""
    times = np.empty((ROUNDS, 2))
    for row in times:
        for i, graph in enumerate(graphs):
            began = time.perf_counter()
            graph(**feed)
            row[i] = time.perf_counter() - began
    single, integer = np.median(times, 0)
    return float(1 - integer / single)
