"""The command `evaluate pairs`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import OUTPUTS, ModelOptions, PairsFolder
from hueglass.process import need_torch


def pairs(
    data: PairsFolder,
    outputs: Annotated[list[str] | None, OUTPUTS] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="REPORT", help="Folder for a page, JSON and contact sheets.")
    ] = None,
    no_student: Annotated[bool, typer.Option("--no-student", help="Leave the student out.")] = False,
    *,
    model: ModelOptions,
) -> None:
    """Faithfulness and photorealism on pairs with masks, beside baselines and the paper's own results."""
    need_torch()
    from hueglass.evaluation.pairs import evaluate_pairs

    evaluate_pairs(outputs or [], data, out, None if no_student else model.model_folder())
