"""The command `verify`: the checks of a bundle, as a table."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import HueglassError
from hueglass.process import need_torch


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A model bundle; the embedded one if left out.")
    ] = None,
) -> None:
    """Check a model bundle: files, names, shapes, operators, and what it computes beside torch and numpy."""
    need_torch()
    from rich.console import Console
    from rich.table import Table

    from hueglass.export.verify import verify_bundle
    from hueglass.infer.model.manifest import EMBEDDED

    folder = bundle or EMBEDDED
    checks = verify_bundle(folder)
    table = Table(title=str(folder), title_justify="left")
    for column in ("graph", "what", "found", ""):
        table.add_column(column, overflow="fold")
    for check in checks:
        table.add_row(check.graph, check.what, check.found, "good" if check.good else "[red]BAD[/red]")
    Console().print(table)
    bad = [check for check in checks if not check.good]
    if bad:
        raise HueglassError(f"{folder}: {len(bad)} of {len(checks)} checks failed, first {bad[0].graph}, {bad[0].what}")
