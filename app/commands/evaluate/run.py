"""The command `evaluate run`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hueglass.options import PairsFolder, Weights
from hueglass.process import need_torch


def run(
    method: Annotated[Literal["teacher", "neural-style", "cnnmrf"], typer.Argument(show_default=False)],
    data: PairsFolder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUTPUTS", help="Folder for the pictures NN.png.")],
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The method's configuration (YAML).")] = None,
    weights: Weights = None,
    only: Annotated[str | None, typer.Option(metavar="NN,NN", help="These pairs; all if left out.")] = None,
) -> None:
    """Run METHOD (teacher, neural-style or cnnmrf) on the pairs, for `evaluate pairs`; pictures there are kept."""
    need_torch()
    from hueglass.evaluation.slow_methods import evaluate_run

    evaluate_run(method, data, out, config, weights, only)
