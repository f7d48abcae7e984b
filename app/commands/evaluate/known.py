"""The command `evaluate known`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import FigureFile, ModelOptions
from hueglass.process import need_torch


def known(
    photographs: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs; those held out are used.")],
    count: Annotated[int, typer.Option(min=1, max=10000, help="Photographs at most.")] = 100,
    path: FigureFile = None,
    *,
    model: ModelOptions,
) -> None:
    """How near to a known answer: photographs under one grade in the light of themselves under another."""
    need_torch()
    from hueglass.evaluation.known import evaluate_known

    evaluate_known(photographs, count, model.open_bundle(), path)
