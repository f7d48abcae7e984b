"""The command `targets`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import DATA, TeacherOptions
from hueglass.process import keep_freed_memory, need_torch


@dataclass(frozen=True, kw_only=True)
class TargetOptions(TeacherOptions):
    """How a manifest is worked through."""

    config: Annotated[Path, typer.Option(metavar="FILE", help="The teacher's configuration, see configs/.")]
    data: Annotated[Path, DATA]
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default: one a core.")] = None
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster to work on, or local.")] = None
    retry: Annotated[bool, typer.Option("--retry", help="Try pairs that failed again.")] = False


def targets(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="What `pairs` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STORE", help="Folder for the targets.")],
    *,
    options: TargetOptions,
) -> None:
    """Run the teacher on every pair of a manifest; an interrupted run goes on where it stopped."""
    need_torch()
    keep_freed_memory()
    from hueglass.jobs.targets import run_targets

    run_targets(manifest, out, options)
