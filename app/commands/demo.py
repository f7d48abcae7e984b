"""The command `demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the results go.")] = Path("demo"),
    look: Annotated[str, typer.Option(metavar="NAME|FILE", help="Embedded look or .look file.")] = "golden-hour",
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="How long the clip is.")] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another street.")] = 0,
) -> None:
    """Stylize a generated street clip with an embedded look: clip, before/after strip, measurements."""
    from hueglass.jobs.demo import run_demo

    run_demo(folder, look, seconds, seed)
