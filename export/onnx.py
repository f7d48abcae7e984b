"""From a checkpoint to a bundle: two ONNX graphs and their manifest, verified before anything is kept."""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from hueglass import __version__
from hueglass.infer.bundle import FORMAT, LOOK_ENCODER, MANIFEST, STUDENT, Manifest, ModelBundle
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors, whole_file
from hueglass.train.checkpoint import WEIGHTS, load_weights
from hueglass.train.student import LookEncoder, Student, StudentConfig

OPSET = 18
"""Old enough for every runtime we export to; the networks use nothing newer."""
TOLERANCE = 2e-3
"""Largest difference allowed between a graph's coefficients and torch's: under half a level of 8 bits."""


def export_bundle(checkpoint: Path, folder: Path) -> Manifest:
    """Write the bundle of a checkpoint folder to `folder`, file by file, once both graphs agree with torch.

    UsageError if there is no checkpoint or the parent of `folder` is missing; HueglassError if a graph differs.
    """
    student, encoder, _ = load_weights(checkpoint)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the bundle")
    if not folder.parent.is_dir():
        raise UsageError(f"{folder}: folder {folder.parent} does not exist")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _export(student, ("thumbnail", "regions", "codes"), "coefficients", scratch / STUDENT)
        _export(encoder, ("reference", "regions"), "codes", scratch / LOOK_ENCODER)
        manifest = _manifest(student.config, checkpoint / WEIGHTS)
        (scratch / MANIFEST).write_text(json.dumps(manifest.model_dump(), indent=2) + "\n")
        verify(ModelBundle(scratch), student, encoder)
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        for file in (STUDENT, LOOK_ENCODER, MANIFEST):  # the manifest last: without it there is no bundle
            with whole_file(folder / file) as temporary:
                temporary.write_bytes((scratch / file).read_bytes())
    return manifest


def _manifest(config: StudentConfig, weights: Path) -> Manifest:
    """The model is named by its weights, so that a look always knows whether it fits."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    return Manifest(
        format=FORMAT,
        model=f"student-{digest}",
        thumbnail=config.thumbnail,
        slots=config.slots,
        code=config.code,
        depth=config.depth,
        cells=config.cells,
        versions={"hueglass": __version__, "torch": torch.__version__, "onnx": onnx.__version__, "opset": str(OPSET)},
    )


def example_inputs(config: StudentConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A random thumbnail, reference, region maps that sum to 1, and codes, as the graphs take them (batch 1)."""
    rng = np.random.default_rng(seed)
    size, half = config.thumbnail, config.thumbnail // 2
    maps = rng.random((1, config.slots, half, half)).astype(np.float32) ** 8
    return {
        "thumbnail": rng.random((1, 3, size, size), np.float32),
        "reference": rng.random((1, 3, size, size), np.float32),
        "regions": maps / maps.sum(1, keepdims=True),
        "codes": rng.normal(0.4, 0.2, (1, config.slots, config.code)).astype(np.float32),
    }


def _export(network: Student | LookEncoder, names: tuple[str, ...], output: str, path: Path) -> None:
    config = network.config
    inputs = tuple(torch.from_numpy(example_inputs(config)[name]) for name in names)
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


def verify(bundle: ModelBundle, student: Student, encoder: LookEncoder) -> float:
    """Run both graphs beside torch; returns the largest difference. HueglassError above TOLERANCE."""
    worst = 0.0
    for seed in range(3):
        x = {name: torch.from_numpy(value) for name, value in example_inputs(student.config, seed).items()}
        with torch.no_grad():
            codes = encoder(x["reference"], x["regions"])
            grid = student(x["thumbnail"], x["regions"], codes)
        feeds = {name: value.numpy() for name, value in x.items()}
        ours = bundle.encoder(reference=feeds["reference"], regions=feeds["regions"])
        worst = max(worst, _difference(ours, codes))
        ours = bundle.student(thumbnail=feeds["thumbnail"], regions=feeds["regions"], codes=codes.numpy())
        worst = max(worst, _difference(ours, grid))
    if worst > TOLERANCE:
        raise HueglassError(f"{bundle.folder}: graphs differ from torch by {worst:.2g}, expected at most {TOLERANCE:g}")
    return worst


def _difference(ours: np.ndarray, reference: torch.Tensor) -> float:
    return float(np.abs(ours - reference.numpy()).max())
