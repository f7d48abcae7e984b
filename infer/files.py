"""Files at the door: inputs that exist, outputs that are whole or absent.

Every writer works on a temporary file beside the final place and renames it when it is whole, so that an
error, a full disk or Ctrl-C never leaves a broken file under the final name.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import HueglassError, UsageError

_NAME_BYTES = 255
"""What common file systems hold."""


def existing_file(path: str | os.PathLike[str]) -> Path:
    """`path` as a Path. UsageError if nothing is there or it is a directory, HueglassError if it is empty."""
    path = Path(path)
    if not os.path.exists(path):  # Path.exists raises for a name that is too long
        raise UsageError(f"{path}: no such file")
    if path.is_dir():
        raise UsageError(f"{path}: is a directory, expected a file")
    if path.is_char_device():  # /dev/zero has no end
        raise UsageError(f"{path}: is a device, expected a file")
    if path.is_file() and path.stat().st_size == 0:
        raise HueglassError(f"{path}: is empty")
    return path


def writable_place(path: str | os.PathLike[str], suffixes: tuple[str, ...] = ()) -> Path:
    """Where `path` really points (links followed), fit to be written to.

    UsageError if its extension is none of `suffixes` (lower case, with the dot; empty: any), its folder is
    missing, or something other than a regular file is there: replacing a device or a pipe would destroy it.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: extension {path.suffix or '(none)'}, expected {' '.join(suffixes)}")
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise UsageError(f"{path}: folder {place.parent} does not exist")
    if os.path.exists(place) and not place.is_file():
        raise UsageError(f"{path}: is not a regular file, expected a file name to write to")
    if len(os.fsencode(place.name)) > _NAME_BYTES:
        raise UsageError(f"{path}: the file name is too long, expected at most {_NAME_BYTES} bytes")
    return place


def make_folder(folder: Path) -> None:
    """Makes a folder for results, with its parents. UsageError if a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{folder}: is a file, expected a folder for the results") from None
    except NotADirectoryError:
        raise UsageError(f"{folder}: a file is in the way, expected a folder for the results") from None
    except OSError as error:
        raise HueglassError(f"{folder}: cannot be made: {error.strerror}") from None


def not_an_input(target: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """UsageError if writing `target` would overwrite one of the files that it is made of."""
    for path in inputs:
        if os.path.exists(target) and os.path.exists(path) and os.path.samefile(target, path):
            raise UsageError(f"{target}: is an input as well, expected another output")


@contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError of the body (disk full, no permission) into one HueglassError line with `path`."""
    try:
        yield
    except OSError as error:
        raise HueglassError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def temporary_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name in the folder of `path`, with its suffix; becomes `path` if the body succeeds, else is removed.

    UsageError as `writable_place`. OSErrors pass: wrap what writes in `disk_errors`, or use `whole_file`.
    """
    place = writable_place(path)
    # A plain name, not mkstemp: the file gets the permissions that the user's umask gives any other file.
    temporary = place.with_name(f".{secrets.token_hex(6)}.part{place.suffix}")
    try:
        yield temporary
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write to the yielded path; it is renamed to `path` when the body ends, and removed if the body fails.

        with whole_file("out.png") as temporary:
            temporary.write_bytes(data)

    Raises UsageError as `writable_place`; HueglassError, one line, in place of any OSError of the body.
    """
    with disk_errors(path), temporary_beside(path) as temporary:
        yield temporary
