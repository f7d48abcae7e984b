"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import HueglassError
from hueglass.process import need_torch


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a training.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="BUNDLE", help="Folder for the bundle.")],
    segmenter: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Folder of a segmenter's training.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs: try the student in 8-bit integers as well.")
    ] = None,
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build engines for this machine's GPU as well.")] = False,
) -> None:
    """Write the model bundle of a checkpoint: ONNX graphs and their manifest, verified before anything is kept."""
    need_torch()
    from hueglass.export.onnx import export_bundle
    from hueglass.infer.network.engine_cache import unavailable

    if tensorrt and (why := unavailable()) is not None:  # before the long work
        raise HueglassError(f"--tensorrt: {why}")
    manifest = export_bundle(checkpoint, out, segmenter, calibrate)
    print(f"{out}: {manifest.model}, {len(manifest.graphs)} graphs, verified")
    if tensorrt:
        from hueglass.export.tensorrt import build_engines

        for name in build_engines(out):
            print(f"{out / name}: engine ready")
