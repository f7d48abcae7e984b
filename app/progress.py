"""The progress bar of long work: on the terminal where somebody watches, else nothing."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def counting_bar(*more: ProgressColumn) -> Progress:
    """Description, bar, count and times, on stderr; `more` columns stand behind the count."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), *more)
    timed = (*columns, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*timed, console=console, disable=not console.is_terminal)
