"""The command line as a whole: its version, its help, and standard output that is full."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.photographs import done

from hueglass import __version__


def test_version_and_help(run: Callable) -> None:
    assert done(run("--version")) == f"hueglass {__version__}\n"
    for command in ((), ("photo",), ("video",), ("demo",), ("look",), ("look", "make"), ("look", "list")):
        for option in ("--help", "-h"):
            assert " ".join((*command, "[OPTIONS]")) in done(run(*command, option))


def test_no_command_shows_the_help(run: Callable) -> None:
    for command in ((), ("look",)):
        outcome = run(*command)
        assert (outcome.status, outcome.err) == (2, "")
        assert " ".join((*command, "[OPTIONS] COMMAND")) in outcome.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_behind_standard_output() -> None:
    command = [sys.executable, "-c", "from hueglass.cli import main; main()", "look", "list"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"hueglass: standard output: {os.strerror(errno.ENOSPC)}\n"
