"""The command `label`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class LabelOptions(ModelOptions):
    """What is labelled, and by whom."""

    teachers: Annotated[Path, typer.Option(metavar="DIR", help="Folder with the files of the teachers.")]
    folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A folder below DATA; repeat. All of these but camvid/test if left out.",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="How far each teacher is believed; configs/teachers.yaml if left out."),
    ] = None
    threads: Annotated[int, typer.Option(min=1, max=256, help="For each teacher, which run one after another.")] = 1


def label(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Folder with photos, camvid, panoramas or video, or of any pictures."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="LABELS", help="Folder for the labels.")],
    *,
    options: LabelOptions,
) -> None:
    """Name the regions of pictures by several segmenters at once; an interrupted run goes on where it stopped."""
    from hueglass.jobs.label import run_label

    run_label(data, out, options)
