"""The command `look make`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import ModelOptions, RegionOptions, ShownRegions


def make(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="Photograph whose light to take.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="X.look", help="Where the look goes.")],
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Mask of its regions: colour codes or label numbers.")
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LABEL", help="Names a label of the mask, e.g. sky=blue or road=3. Repeat."),
    ] = None,
    show: ShownRegions = None,
    *,
    regions: RegionOptions,
    model: ModelOptions,
) -> None:
    """Make a look from a reference photograph."""
    from hueglass.jobs.looks import LookParts, make_look_file

    bundle = model.open_bundle()
    segmenter = regions.find_segmenter(bundle, drawn=mask is not None)
    make_look_file(reference, out, LookParts(mask, region or [], segmenter, show), bundle)
