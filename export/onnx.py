"""From checkpoints to a bundle: ONNX graphs, their weights and their manifest, verified before anything is kept."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from hueglass import __version__
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, whole_file
from hueglass.infer.model.manifest import (
    FORMAT,
    LOOK_ENCODER,
    MANIFEST,
    PORTABLE,
    SEGMENTER,
    STUDENT,
    GraphFacts,
    Manifest,
    twin,
)
from hueglass.infer.network.devices import Precision
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.network import Segmenter, load_segmenter
from hueglass.train.student.network import LookEncoder, Student, StudentConfig
from hueglass.train.student.weights import SETTINGS, WEIGHTS, load_weights

from .half import half_encoder, half_segmenter, half_student
from .portable import Portable
from .quantize import add_int8
from .verify import OPSET, TOLERANCE, example_inputs, sizes_of, verify_bundle

GRAPHS = tuple(twin(name, p) for name in (STUDENT, LOOK_ENCODER, SEGMENTER, PORTABLE) for p in Precision)
FILES = (*GRAPHS, WEIGHTS, SETTINGS)
"""Of a bundle, beside its manifest; some may be missing."""
EXAMPLE = (270, 480)
"""Height and width of the frame that the portable graph is traced with; it takes any."""
SIDES = (16, 16384)
"""Of a frame, in pixels: what the portable graph is exported for."""


@dataclass(frozen=True)
class Networks:
    """What a bundle is made of."""

    student: Student
    encoder: LookEncoder
    segmenter: Segmenter | None


def export_bundle(
    checkpoint: Path,
    folder: Path,
    segmenter: Path | None = None,
    calibration: Path | None = None,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Write the bundle of a checkpoint folder, and of a segmenter's, to `folder`, once all graphs agree with torch.

    With a folder of photographs for `calibration`, the student in 8-bit integers is tried, and kept if it is good (see
    `quantize`); `say` is told. UsageError if there is no checkpoint or the parent of `folder` is missing;
    HueglassError if a graph differs.
    """
    networks, facts = _load(checkpoint, segmenter)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the bundle")
    if not folder.parent.is_dir():
        raise UsageError(f"{folder}: folder {folder.parent} does not exist")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for file in (WEIGHTS, SETTINGS):  # for tuning and for whoever trains on
            shutil.copy(checkpoint / file, scratch / file)
        for graph in _graphs(networks):
            _export(graph, scratch)
        if calibration is not None:
            say(str(add_int8(scratch, networks.student.config, calibration)))
        manifest = _manifest(networks, scratch, facts)
        (scratch / MANIFEST).write_text(json.dumps(manifest.model_dump(), indent=1) + "\n")
        bad = [check for check in verify_bundle(scratch) if not check.good]
        if bad:
            raise HueglassError(f"{checkpoint}: {bad[0].graph}, {bad[0].what}: {bad[0].found}")
        _beside_segmenter(networks, scratch)
        _put(scratch, folder)
    return manifest


def _load(checkpoint: Path, segmenter: Path | None) -> tuple[Networks, dict]:
    student, encoder, facts = load_weights(checkpoint)
    namer = None if segmenter is None else load_segmenter(segmenter)[0]
    if namer is not None and namer.config.thumbnail != student.config.thumbnail:
        sizes = f"{namer.config.thumbnail} wide, the student's {student.config.thumbnail}"
        raise UsageError(f"{segmenter}: its thumbnails are {sizes}, expected the same")
    return Networks(student, encoder, namer), facts


def _put(scratch: Path, folder: Path) -> None:
    """All files of a bundle, the manifest last: without it there is no bundle. What it does not have is removed."""
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    made = [file for file in FILES if (scratch / file).exists()]
    for file in (*made, MANIFEST):
        with whole_file(folder / file) as temporary:
            temporary.write_bytes((scratch / file).read_bytes())
    for file in set(FILES) - set(made):
        (folder / file).unlink(missing_ok=True)


def _manifest(networks: Networks, folder: Path, facts: dict) -> Manifest:
    """The model is named by its weights, so that a look always knows whether it fits."""
    config = networks.student.config
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:12]
    training = {name: facts[name] for name in ("step", "seconds") if name in facts}
    if "config" in facts:
        text = json.dumps(facts["config"], sort_keys=True)
        training["config_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return Manifest(
        format=FORMAT,
        model=f"student-{digest}",
        thumbnail=config.thumbnail,
        slots=config.slots,
        tones=config.tones,
        code=config.code,
        depth=config.depth,
        cells=config.cells,
        remembered=networks.student.remembered,
        regions=() if networks.segmenter is None else REGION_NAMES,
        graphs={name: _facts(folder / name) for name in GRAPHS if (folder / name).exists()},
        training=training,
        scores=facts.get("scores", {}),
        versions={"hueglass": __version__, "torch": torch.__version__, "onnx": onnx.__version__, "opset": str(OPSET)},
    )


def _facts(path: Path) -> GraphFacts:
    data = path.read_bytes()
    graph = onnx.load_from_string(data).graph
    sha256 = hashlib.sha256(data).hexdigest()
    return GraphFacts(sha256=sha256, inputs=sizes_of(graph.input), outputs=sizes_of(graph.output))


@dataclass(frozen=True)
class Graph:
    """One to export: a network, the names of its inputs and outputs, and the file."""

    file: str
    network: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Told(nn.Module):
    """The student as its graph has it: told of the scene, it gives coefficients and what it saw (see `Sight`)."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, thumbnail: Tensor, regions: Tensor, codes: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        sight = self.student.see(thumbnail, regions, codes, memory)
        return sight.coefficients, sight.sums


def _graphs(networks: Networks) -> Iterator[Graph]:
    """All of a bundle, in single and in half precision."""
    n = networks
    single, half = n.student, half_student(n.student)
    given = ("regions", "codes")
    kinds: list[tuple[str, nn.Module, nn.Module, tuple[str, ...], tuple[str, ...]]] = [
        (STUDENT, Told(single), Told(half), ("thumbnail", *given, "memory"), ("coefficients", "sums")),
        (LOOK_ENCODER, n.encoder, half_encoder(n.encoder), ("reference", "regions"), ("codes",)),
        (PORTABLE, Portable(single), Portable(half), ("frame", *given), ("restyled",)),
    ]
    if n.segmenter is not None:
        kinds.append((SEGMENTER, n.segmenter, half_segmenter(n.segmenter), ("thumbnail",), ("maps",)))
    for name, whole, rounded, inputs, outputs in kinds:
        yield Graph(name, whole.eval(), inputs, outputs)
        yield Graph(twin(name, "fp16"), rounded.eval(), inputs, outputs)


def _export(graph: Graph, folder: Path) -> None:
    network = graph.network
    config = network.student.config if isinstance(network, (Told, Portable)) else network.config
    sizes = config if isinstance(config, StudentConfig) else StudentConfig(thumbnail=config.thumbnail)  # type: ignore[union-attr]
    examples = example_inputs(sizes) | {"frame": np.random.default_rng(0).random((1, 3, *EXAMPLE), np.float32)}
    program = torch.onnx.export(
        graph.network,
        tuple(torch.from_numpy(examples[name]) for name in graph.inputs),
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamic_shapes=tuple(_open_sizes(name) for name in graph.inputs),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    path = folder / graph.file
    program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    _forget_source(model)
    onnx.save(model, str(path))


def _open_sizes(name: str) -> dict[int, torch.export.Dim] | None:
    """Which axes of an input may have any size."""
    if name != "frame":
        return None
    low, high = SIDES
    return {2: torch.export.Dim("height", min=low, max=high), 3: torch.export.Dim("width", min=low, max=high)}


def _forget_source(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with the paths of whoever exported."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _beside_segmenter(networks: Networks, folder: Path) -> None:
    """The segmenter's weights do not stay with the bundle: now is the time to hold the graph against them."""
    if networks.segmenter is None:
        return
    graph = OnnxGraph(folder / SEGMENTER)
    for seed in range(3):
        thumbnail = example_inputs(networks.student.config, seed)["thumbnail"]
        with torch.no_grad():
            wanted = networks.segmenter(torch.from_numpy(thumbnail)).numpy()
        maps, *_ = graph(thumbnail=thumbnail)
        difference = float(np.abs(maps - wanted).max())
        if difference > TOLERANCE:
            raise HueglassError(f"{SEGMENTER}, beside torch: differs by {difference:.1e}")
