"""The command `study score`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import FigureFile


def score(
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS", help="Files that the page saved.")],
    key: Annotated[Path, typer.Option(metavar="PAGE.key.json", help="What `study make` wrote beside the page.")],
    path: FigureFile = None,
) -> None:
    """What people answered: each method's mean ratings and how sure they are."""
    from hueglass.reports.study_score import score_study

    score_study(answers, key, path)
