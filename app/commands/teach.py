"""The command `teach`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from hueglass.options import TeacherOptions
from hueglass.process import need_torch


@dataclass(frozen=True, kw_only=True)
class TeachOptions(TeacherOptions):
    """How one photograph is taught."""

    masks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CONTENT_MASK STYLE_MASK", help="Which part is which, in both photographs."),
    ] = None
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Another setting, see configs/.")] = None
    features: Annotated[
        Literal["squeezenet", "vgg19"] | None, typer.Option(help="Network; the configuration's if left out.")
    ] = None


def teach(
    content: Annotated[Path, typer.Argument(metavar="CONTENT", help="A photograph.")],
    style: Annotated[Path, typer.Argument(metavar="STYLE", help="Photograph whose light to take.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Where the picture goes.")],
    *,
    options: TeachOptions,
) -> None:
    """One photograph by the whole optimisation of Deep Photo Style Transfer: slower than `photo`, and more faithful."""
    need_torch()
    from hueglass.jobs.teach import teach_photo

    teach_photo(content, style, out, options)
