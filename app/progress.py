"""What long work shows on stderr: a bar on the terminal where somebody watches, and what the user should know."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

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

Item = TypeVar("Item")
_console = Console(stderr=True)


def progress_bar(*more: ProgressColumn, counted: bool = True) -> Progress:
    """Description, bar and times, and between them how many of how many if `counted`, and `more` columns.

    Where nobody watches it shows nothing, and its `disable` is true.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *[MofNCompleteColumn()] * counted, *more)
    timed = (*columns, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*timed, console=console, disable=not console.is_terminal)


def tracked(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """The items, counted by a bar as they pass."""
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=title)


def warn(message: str) -> None:
    """Say what the user should know, in one line."""
    _console.print(f"hueglass: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
