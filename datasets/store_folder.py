"""What folders have in common that one process fills over several runs: a lock, and what all in them is made with."""

import json
from pathlib import Path
from typing import IO, Any

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import whole_file


def locked(path: Path) -> IO[str]:
    """The lock of a store; the system lets go of it when the process ends, however it ends. UsageError if another
    process holds it."""
    import fcntl

    file = open(path, "a")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{path.parent}: another process is writing to it, expected it for one alone") from None
    return file


def identify(path: Path, identity: dict[str, Any], what: str) -> None:
    """Writes `identity` to a new store's file `path`; else holds it against what is written there.

    UsageError if they differ: `what` a store holds is all made with the same. HueglassError if it cannot be read.
    """
    if not path.exists():
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(identity, indent=2) + "\n")
        return
    wanted = json.loads(json.dumps(identity))
    try:
        there = dict(json.loads(path.read_bytes()).items())
    except (OSError, ValueError, AttributeError):
        raise HueglassError(f"{path}: cannot be read, expected what the {what} are made with") from None
    differing = [key for key in {**wanted, **there} if there.get(key) != wanted.get(key)]
    if differing:
        raise UsageError(f"{path.parent}: its {what} were made with another {differing[0]}, expected a new folder")
