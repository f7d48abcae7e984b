"""The command `photo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import FrameOptions, ShownRegions, StyleOptions


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(FrameOptions, StyleOptions):
    """What can be said of a photograph."""

    masks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="IN_MASK REF_MASK", help="Which part is which, in both photographs."),
    ] = None
    show_regions: ShownRegions = None


def photo(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photograph.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where it goes.")],
    *,
    options: PhotoOptions,
) -> None:
    """One photograph in the light of another."""
    from hueglass.jobs.photo import convert_photo

    convert_photo(source, target, options)
