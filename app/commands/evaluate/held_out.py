"""The command `evaluate held-out`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import DATA
from hueglass.process import need_torch


def held_out(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a training.")],
    data: Annotated[Path | None, DATA] = None,
) -> None:
    """PSNR on held-out photographs under known grades, beside Monge-Kantorovich on the same samples."""
    need_torch()
    from hueglass.evaluation.held_out import evaluate_held_out

    evaluate_held_out(checkpoint, data)
