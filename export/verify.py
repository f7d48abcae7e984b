"""What a bundle promises, checked: its files, its graphs' names, shapes and operators, and that they all compute what
the networks in torch and the renderer in numpy do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper

from hueglass.datasets.photos import street_photos
from hueglass.infer.errors import HueglassError
from hueglass.infer.grid.bilateral import slice_colours
from hueglass.infer.model.bundle import ModelBundle, planar
from hueglass.infer.model.look import assign, make_look
from hueglass.infer.model.manifest import (
    LOOK_ENCODER,
    PORTABLE,
    SEGMENTER,
    STUDENT,
    Manifest,
    NamedShape,
    check_graph,
    read_manifest,
    twin,
)
from hueglass.infer.network.devices import Precision
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.regions.regions import no_regions
from hueglass.train.student.network import StudentConfig
from hueglass.train.student.sums import region_sums
from hueglass.train.student.weights import load_weights

OPSET = 18
"""Old enough for every runtime we export to; the networks use nothing newer."""
TOLERANCE = 2e-3
"""Largest difference allowed between a graph's output and torch's: under half a level of 8 bits."""
LEVEL = 1 / 255
PORTABLE_SIZES = ((359, 641), (1080, 1920))
"""Height and width of frames that the export never saw."""
PORTABLE_SHARE = 0.999
"""Of a frame's values that are to be within a LEVEL of the reference's."""
HALF_SHARE = 0.99
"""The same for half precision beside single."""
INT8_DB = 35.0
"""What is restyled by the student in 8-bit integers is to be as near as that to single precision's."""
FLAT = {"Conv", "AveragePool", "MaxPool", "Resize", "GridSample", "GlobalAveragePool"}
"""Operators that are at home in four dimensions: of five, TensorRT 10, OpenVINO and others refuse some."""
TENSORRT_OPERATORS = {
    *("Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "Div", "Equal"),
    *("Exp", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "MatMul", "Max", "MaxPool"),
    *("Min", "Mul", "Neg", "Pow", "Range", "Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize"),
    *("Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
}
"""Those of onnx-tensorrt's published list of supported operators (docs/operators.md) that networks like these use."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: of which file, what, what was found, and whether that is as it should be."""

    graph: str
    what: str
    found: str
    good: bool


def verify_bundle(folder: Path) -> list[Check]:
    """Everything that can be checked of a bundle folder, good or not.

    Errors as `read_manifest` and `load_weights`, where there is nothing to check against.
    """
    manifest = read_manifest(folder)
    checks = [check for name in manifest.graphs for check in _structure(folder, name, manifest)]
    broken = {check.graph for check in checks if not check.good}
    return checks + [check for check in _behaviour(folder, manifest, broken) if check.graph not in broken]


def shapes(manifest: Manifest) -> dict[str, tuple[dict[str, NamedShape], dict[str, NamedShape]]]:
    """What goes into and comes out of each graph of a bundle, by the sizes in its manifest."""
    m, size, half = manifest, manifest.thumbnail, manifest.thumbnail // 2
    regions: NamedShape = (1, m.slots, half, half)
    codes: NamedShape = (1, m.slots + m.tones, m.code)
    picture: NamedShape = (1, 3, size, size)
    sums: NamedShape = (1, m.slots + m.tones + 1, m.remembered)
    frame: NamedShape = (1, 3, "height", "width")
    grid: NamedShape = (1, m.depth, m.cells, m.cells, 12)
    found: dict[str, tuple[dict[str, NamedShape], dict[str, NamedShape]]] = {
        STUDENT: (
            {"thumbnail": picture, "regions": regions, "codes": codes, "memory": sums},
            {"coefficients": grid, "sums": sums},
        ),
        LOOK_ENCODER: ({"reference": picture, "regions": regions}, {"codes": codes}),
        SEGMENTER: ({"thumbnail": picture}, {"maps": (1, len(m.regions), half, half)}),
        PORTABLE: ({"frame": frame, "regions": regions, "codes": codes}, {"restyled": frame}),
    }
    return {twin(name, precision): both for name, both in found.items() for precision in Precision}


def sizes_of(values: object) -> dict[str, NamedShape]:
    """Names and shapes of a graph's inputs or outputs; sizes left open by their name."""
    return {
        v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in values  # type: ignore[attr-defined]
    }


def example_inputs(config: StudentConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A random thumbnail, reference, region maps that leave a fifth uncovered, codes, and a memory of three random
    pictures, as the graphs take them."""
    rng = np.random.default_rng(seed)
    size, half = config.thumbnail, config.thumbnail // 2
    maps = rng.random((1, config.slots, half, half)).astype(np.float32) ** 8
    return {
        "thumbnail": rng.random((1, 3, size, size), np.float32),
        "reference": rng.random((1, 3, size, size), np.float32),
        "regions": 0.8 * maps / maps.sum(1, keepdims=True),
        "codes": rng.normal(0.4, 0.2, (1, config.slots + config.tones, config.code)).astype(np.float32),
        "memory": 3 * _sums(rng, config.slots + config.tones + 1, config.width),
    }


def _sums(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Of a random picture and its random features, over that many regions."""
    parts = (rng.random((1, channels, 16, 16), np.float32) for channels in (3, width, rows))
    image, features, regions = (torch.from_numpy(part) for part in parts)
    return region_sums(image, features, regions / regions.sum(1, keepdim=True)).numpy()


def _structure(folder: Path, name: str, manifest: Manifest) -> Iterator[Check]:
    """Of one graph: its bytes, its form, its operators."""
    try:
        check_graph(folder, name, manifest)
        model = onnx.load(str(folder / name), load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx has a class per kind of trouble
        yield Check(name, "file", " ".join(str(error).split())[:200], False)
        return
    yield Check(name, "file", f"{(folder / name).stat().st_size / 1e6:.1f} MB, as described", True)
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    yield Check(name, "opset", ", ".join(map(str, versions)), versions == [OPSET])
    wanted, found = shapes(manifest)[name], (sizes_of(model.graph.input), sizes_of(model.graph.output))
    yield Check(
        name, "names and shapes", "as the contract has them" if found == wanted else f"{found}", found == wanted
    )
    bad = [t.name for t in model.graph.initializer if not _finite(t)]
    yield Check(name, "weights", f"not finite: {', '.join(bad[:3])}" if bad else "finite", not bad)
    if not name.endswith(".int8.onnx"):
        strange = sorted({node.op_type for node in model.graph.node} - TENSORRT_OPERATORS) + _deep(model)
        yield Check(name, "operators", ", ".join(strange) or "plain", not strange)


def _finite(tensor: onnx.TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _deep(model: onnx.ModelProto) -> list[str]:
    """Operators of FLAT that are given five dimensions or more."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.input)}
    nodes = [node for node in graph.node if node.op_type in FLAT and ranks.get(node.input[0], 4) > 4]
    return sorted({f"{node.op_type} of {ranks[node.input[0]]} dimensions" for node in nodes})


def _behaviour(folder: Path, manifest: Manifest, broken: set[str]) -> Iterator[Check]:
    """Of all graphs together: what they compute."""
    if {STUDENT, LOOK_ENCODER} & broken:
        return
    yield from _beside_torch(folder, broken)
    bundle = ModelBundle(folder)
    frames = [photo.image for photo in street_photos(3, 480)]
    for precision in tuple(Precision)[1:]:
        yield from _twins(bundle, precision, frames, broken)
    for name in (twin(PORTABLE, precision) for precision in Precision):
        if name in manifest.graphs and name not in broken:
            yield from _portable(bundle, name, frames[0])


def _beside_torch(folder: Path, broken: set[str]) -> Iterator[Check]:
    student, encoder, _ = load_weights(folder)
    graphs = {name: OnnxGraph(folder / name) for name in (STUDENT, LOOK_ENCODER)}
    worst = dict.fromkeys(graphs, 0.0)
    for seed in range(3):
        feeds = example_inputs(student.config, seed)
        x = {name: torch.from_numpy(value) for name, value in feeds.items()}
        with torch.no_grad():
            codes = encoder(x["reference"], x["regions"])
            sight = student.see(x["thumbnail"], x["regions"], codes, x["memory"])
        ours, *_ = graphs[LOOK_ENCODER](reference=feeds["reference"], regions=feeds["regions"])
        worst[LOOK_ENCODER] = max(worst[LOOK_ENCODER], float(np.abs(ours - codes.numpy()).max()))
        told = {name: feeds[name] for name in ("thumbnail", "regions", "memory")}
        found = graphs[STUDENT](codes=codes.numpy(), **told)
        for ours, wanted in zip(found, (sight.coefficients, sight.sums), strict=True):
            worst[STUDENT] = max(worst[STUDENT], float(np.abs(ours - wanted.numpy()).max()))
    for name, difference in worst.items():
        yield Check(name, "beside torch", f"differs by {difference:.1e}", difference <= TOLERANCE)


def _twins(bundle: ModelBundle, precision: str, frames: list[np.ndarray], broken: set[str]) -> Iterator[Check]:
    """Graphs of another precision beside those of single, by what becomes of frames."""
    folder, manifest = bundle.folder, bundle.manifest
    wanted = _restyled(bundle, frames)
    for name in (STUDENT, LOOK_ENCODER):
        other = twin(name, precision)
        if other not in manifest.graphs or other in broken:
            continue
        found = _restyled(bundle, frames, **{name: OnnxGraph(folder / other)})
        if precision == "int8":
            decibels = -10 * np.log10(np.mean([np.square(a - b).mean() for a, b in zip(found, wanted, strict=True)]))
            yield Check(other, "beside fp32", f"{decibels:.1f} dB", bool(decibels >= INT8_DB))
        else:
            share = float(np.mean([_same(a, b) for a, b in zip(found, wanted, strict=True)]))
            yield Check(other, "beside fp32", f"{share:.3%} of pixels within a level", share >= HALF_SHARE)
    other = twin(SEGMENTER, precision)
    if other in manifest.graphs and other not in broken:
        graphs = [OnnxGraph(folder / file) for file in (SEGMENTER, other)]
        maps = [[graph(thumbnail=planar(bundle.thumbnail(frame)))[0] for frame in frames] for graph in graphs]
        same = float(np.mean([(np.abs(a - b) <= 0.02).mean() for a, b in zip(*maps, strict=True)]))
        yield Check(other, "beside fp32", f"{same:.3%} of maps within .02", same >= HALF_SHARE)


def _same(a: np.ndarray, b: np.ndarray) -> float:
    """Share of pixels none of whose values differs by more than a LEVEL."""
    return float((np.abs(a - b).max(-1) <= LEVEL + 1e-6).mean())


def _restyled(bundle: ModelBundle, frames: list[np.ndarray], **graphs: Callable) -> list[np.ndarray]:
    """Each frame in the light of the next one, float RGB, by the bundle's graphs or those given in their place."""
    student, encoder = graphs.get(STUDENT, bundle.student), graphs.get(LOOK_ENCODER, bundle.encoder)
    half = bundle.manifest.thumbnail // 2
    m = bundle.manifest
    maps = np.zeros((1, m.slots, half, half), np.float32)
    nothing = np.zeros((1, m.slots + m.tones + 1, m.remembered), np.float32)
    made = []
    for frame, style in zip(frames, frames[1:] + frames[:1], strict=True):
        codes, *_ = encoder(reference=planar(bundle.thumbnail(style)), regions=maps)
        codes[:, : m.slots] = 0  # no region is known: tones alone
        grid, _ = student(thumbnail=planar(bundle.thumbnail(frame)), regions=maps, codes=codes, memory=nothing)
        made.append(slice_colours(grid[0], _colours(frame)))
    return made


def _portable(bundle: ModelBundle, name: str, street: np.ndarray) -> Iterator[Check]:
    """The portable graph at sizes that its export never saw, beside the runtime with the reference renderer."""
    graph = OnnxGraph(bundle.folder / name)
    look = make_look(bundle, "style", street[:, ::-1][: len(street) // 2])
    task = assign(look, no_regions(bundle.manifest.thumbnail // 2), bundle.manifest.slots)
    for height, width in PORTABLE_SIZES:
        frame = cv2.resize(street, (width, height), interpolation=cv2.INTER_LINEAR)
        wanted = slice_colours(bundle.predict(bundle.thumbnail(frame), task).coefficients, _colours(frame))
        try:
            restyled, *_ = graph(frame=planar(frame), regions=task.maps[None], codes=task.codes[None])
        except HueglassError as error:
            yield Check(name, f"at {width}x{height}", str(error), False)
            continue
        found = restyled[0].transpose(1, 2, 0)
        share = float((np.abs(found - wanted) <= LEVEL + 1e-6).mean()) if found.shape == wanted.shape else 0.0
        yield Check(name, f"at {width}x{height}", f"{share:.3%} of values within a level", share >= PORTABLE_SHARE)


def _colours(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float32) / 255
