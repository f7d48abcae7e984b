"""The errors a user meets. Each message is one line that names the file or value and what was expected."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes long to import, and every command imports this
    from pydantic import ValidationError


class HueglassError(Exception):
    """The work failed: a broken file, a full disk, a model that does not fit. Exit status 1."""


class UsageError(HueglassError):
    """Wrong use: a missing file, an unknown look, a value out of range. Exit status 2."""


def first_problem(error: "ValidationError", whole: str = "the file") -> str:
    """The key that is wrong, and why; of several the first. `whole` stands for the key where none is to blame."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))[:64] or whole
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def one_line(error: object) -> str:
    """What an exception or a library says, without line feeds, and not endlessly."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def failure(error: Exception) -> HueglassError:
    """Of one item, in one line, to be its result where the others are to go on."""
    text = str(error) if isinstance(error, HueglassError) else f"{type(error).__name__}: {error}"
    return HueglassError(" ".join(text.split()))
