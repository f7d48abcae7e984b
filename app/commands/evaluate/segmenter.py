"""The command `evaluate segmenter`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import ModelOptions
from hueglass.process import need_torch


def segmenter(
    frames: Annotated[Path, typer.Argument(metavar="FRAMES", help="A split of CamVid, its labels in FRAMES_label.")],
    *,
    model: ModelOptions,
) -> None:
    """How well the model's segmenter names what it sees: intersection over union, by region."""
    need_torch()
    from hueglass.evaluation.segmenter import evaluate_segmenter

    evaluate_segmenter(frames, model.open_bundle())
