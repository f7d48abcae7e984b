"""The command `look cube`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import UsageError
from hueglass.options import AutoRegionOptions, ModelOptions, StrengthOptions, StyleOptions

SIZES = (17, 33, 65)


@dataclass(frozen=True, kw_only=True)
class CubeOptions(ModelOptions, StrengthOptions, AutoRegionOptions, StyleOptions):
    """What can be said of a table."""

    size: Annotated[int, typer.Option(help="Entries along each edge: 17, 33 or 65.")] = 33


def cube(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture or clip that the table is for.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.cube", help="Where the table goes.")],
    *,
    options: CubeOptions,
) -> None:
    """Bake a look on a picture or clip into one table of colours for ffmpeg, OBS, Resolve, and say what it loses."""
    if options.size not in SIZES:
        raise UsageError(f"a table of {options.size} entries an edge, expected 17, 33 or 65")
    from hueglass.jobs.cube import make_cube

    make_cube(source, out, options)
