"""The command `study make`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import OUTPUTS, PairsFolder


def make(
    outputs: Annotated[list[str], OUTPUTS],
    data: PairsFolder,
    page: Annotated[Path, typer.Option("-o", "--out", metavar="PAGE.html", help="Its key is PAGE.key.json.")],
    pairs: Annotated[int | None, typer.Option(min=1, max=512, help="How many to show; 8 if left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pairs.")] = 0,
) -> None:
    """Write a page that asks people how methods' pictures look, and the key to their answers."""
    from hueglass.reports.study import make_study

    make_study(outputs, data, page, pairs, seed)
