"""The command `train`, for a network or, with --tune, for a look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import UsageError
from hueglass.options import DATA, ModelOptions
from hueglass.process import keep_freed_memory, need_torch


@dataclass(frozen=True, kw_only=True)
class TuneOptions(ModelOptions):
    """What belongs to --tune alone."""

    frames: Annotated[
        Path | None, typer.Option("--on", metavar="DIR|CLIP", help="With --tune: what it will be used on.")
    ] = None
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="With --tune: REF's regions, by name.")] = None
    minutes: Annotated[float, typer.Option(min=0.05, max=600, help="With --tune: for how long.")] = 3


def train(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A YAML file, see configs/.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR|X.look", help="Default: runs/ and CONFIG's name; REF's name.look."),
    ] = None,
    data: Annotated[Path | None, DATA] = None,
    reference: Annotated[
        Path | None, typer.Option("--tune", metavar="REF", help="Make a look of this photograph, and train it.")
    ] = None,
    *,
    options: TuneOptions,
) -> None:
    """Train the student or the segmenter, or go on with an interrupted training; or tune a look to one photograph."""
    need_torch()
    keep_freed_memory()
    if (config is None) == (reference is None):
        raise UsageError("expected either CONFIG, for a network, or --tune REF, for a look")
    if reference is not None:
        from hueglass.jobs.tune import tune_look

        tune_look(reference, out or Path(f"{reference.stem}.look"), options)
    elif config is not None:
        if options.frames is not None or options.mask is not None or options.model is not None:
            raise UsageError("--on, --mask and --model belong to --tune")
        from hueglass.jobs.train import run_training

        run_training(config, out or Path("runs") / config.stem, data)
