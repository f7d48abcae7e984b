"""From checkpoints to a bundle: ONNX graphs, their weights and their manifest, verified before anything is kept."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from hueglass import __version__
from hueglass.infer.backends import OnnxGraph
from hueglass.infer.bundle import FORMAT, LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT, Manifest, ModelBundle
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, whole_file
from hueglass.infer.regions import REGION_NAMES
from hueglass.train.checkpoint import SETTINGS, WEIGHTS, load_weights
from hueglass.train.segmenter import Segmenter, SegmenterConfig, load_segmenter
from hueglass.train.student import LookEncoder, Student, StudentConfig

OPSET = 18
"""Old enough for every runtime we export to; the networks use nothing newer."""
FILES = (STUDENT, LOOK_ENCODER, SEGMENTER, WEIGHTS, SETTINGS)
"""Of a bundle, beside its manifest; the segmenter may be missing."""
TOLERANCE = 2e-3
"""Largest difference allowed between a graph's coefficients and torch's: under half a level of 8 bits."""


def export_bundle(checkpoint: Path, folder: Path, segmenter: Path | None = None) -> Manifest:
    """Write the bundle of a checkpoint folder, and of a segmenter's, to `folder`, once all graphs agree with torch.

    UsageError if there is no checkpoint or the parent of `folder` is missing; HueglassError if a graph differs.
    """
    student, encoder, _ = load_weights(checkpoint)
    namer = None if segmenter is None else load_segmenter(segmenter)[0]
    if namer is not None and namer.config.thumbnail != student.config.thumbnail:
        sizes = f"{namer.config.thumbnail} wide, the student's {student.config.thumbnail}"
        raise UsageError(f"{segmenter}: its thumbnails are {sizes}, expected the same")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the bundle")
    if not folder.parent.is_dir():
        raise UsageError(f"{folder}: folder {folder.parent} does not exist")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _export(student, ("thumbnail", "regions", "codes"), "coefficients", scratch / STUDENT)
        _export(encoder, ("reference", "regions"), "codes", scratch / LOOK_ENCODER)
        if namer is not None:
            _export(namer, ("thumbnail",), "maps", scratch / SEGMENTER)
        for file in (WEIGHTS, SETTINGS):  # for tuning and for whoever trains on
            shutil.copy(checkpoint / file, scratch / file)
        manifest = _manifest(student.config, checkpoint / WEIGHTS, () if namer is None else REGION_NAMES)
        (scratch / MANIFEST).write_text(json.dumps(manifest.model_dump(), indent=2) + "\n")
        verify(ModelBundle(scratch), student, encoder, namer)
        _put(scratch, folder)
    return manifest


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


def _manifest(config: StudentConfig, weights: Path, regions: tuple[str, ...]) -> Manifest:
    """The model is named by its weights, so that a look always knows whether it fits."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    return Manifest(
        format=FORMAT,
        model=f"student-{digest}",
        thumbnail=config.thumbnail,
        slots=config.slots,
        tones=config.tones,
        code=config.code,
        depth=config.depth,
        cells=config.cells,
        regions=regions,
        versions={"hueglass": __version__, "torch": torch.__version__, "onnx": onnx.__version__, "opset": str(OPSET)},
    )


def example_inputs(config: StudentConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A random thumbnail, reference, region maps that leave a fifth uncovered, and codes, as the graphs take them."""
    rng = np.random.default_rng(seed)
    size, half = config.thumbnail, config.thumbnail // 2
    maps = rng.random((1, config.slots, half, half)).astype(np.float32) ** 8
    return {
        "thumbnail": rng.random((1, 3, size, size), np.float32),
        "reference": rng.random((1, 3, size, size), np.float32),
        "regions": 0.8 * maps / maps.sum(1, keepdims=True),
        "codes": rng.normal(0.4, 0.2, (1, config.slots + config.tones, config.code)).astype(np.float32),
    }


def _export(network: Student | LookEncoder | Segmenter, names: tuple[str, ...], output: str, path: Path) -> None:
    config = network.config
    sizes = StudentConfig(thumbnail=config.thumbnail) if isinstance(config, SegmenterConfig) else config
    inputs = tuple(torch.from_numpy(example_inputs(sizes)[name]) for name in names)
    program = torch.onnx.export(
        network, inputs, input_names=list(names), output_names=[output], opset_version=OPSET, dynamo=True, verbose=False
    )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    _forget_source(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _forget_source(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with the paths of whoever exported."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def verify(bundle: ModelBundle, student: Student, encoder: LookEncoder, segmenter: Segmenter | None = None) -> float:
    """Run all graphs beside torch; returns the largest difference. HueglassError above TOLERANCE."""
    worst = 0.0
    for seed in range(3):
        feeds = example_inputs(student.config, seed)
        x = {name: torch.from_numpy(value) for name, value in feeds.items()}
        with torch.no_grad():
            codes = encoder(x["reference"], x["regions"])
            grid = student(x["thumbnail"], x["regions"], codes)
            maps = None if segmenter is None else segmenter(x["thumbnail"])
        ours = bundle.encoder(reference=feeds["reference"], regions=feeds["regions"])
        worst = max(worst, _difference(ours, codes))
        ours = bundle.student(thumbnail=feeds["thumbnail"], regions=feeds["regions"], codes=codes.numpy())
        worst = max(worst, _difference(ours, grid))
        if maps is not None:
            graph = OnnxGraph(bundle.folder / SEGMENTER)
            worst = max(worst, _difference(graph(thumbnail=feeds["thumbnail"]), maps))
    if worst > TOLERANCE:
        raise HueglassError(f"{bundle.folder}: graphs differ from torch by {worst:.2g}, expected at most {TOLERANCE:g}")
    return worst


def _difference(ours: np.ndarray, reference: torch.Tensor) -> float:
    return float(np.abs(ours - reference.numpy()).max())
