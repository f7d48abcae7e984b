"""The command `look mix`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import ModelOptions


def mix(
    first: Annotated[str, typer.Argument(metavar="A", help="A look by name or .look file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.look", help="Where the look goes.")],
    weight: Annotated[float, typer.Option(min=0, max=1, help="0 is A, 1 is B.")] = 0.5,
    *,
    model: ModelOptions,
) -> None:
    """Make a look between two others."""
    from hueglass.jobs.looks import mix_look_file

    mix_look_file(first, second, weight, out, model.open_bundle())
