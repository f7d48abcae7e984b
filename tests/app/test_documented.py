"""Commands and options are told of where a reader looks: every command in the README's table, every option in the help,
and those of the commands that make frames in the README as well."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest
import typer.main
from support.places import ROOT

from hueglass.commands.table import COMMANDS, GROUPS, build_app
from hueglass.options import SceneOptions

README = (ROOT / "README.md").read_text()
FRAMES = ("photo", "video", "live", "serve")
"""They make frames, and share `SceneOptions`."""
APP: Any = typer.main.get_command(build_app())


def command_of(words: str) -> Any:
    """What typer made of a command, by what is typed for it."""
    found = APP
    for word in words.split():
        found = found.commands[word]
    return found


def options_of(words: str) -> list[Any]:
    return [p for p in command_of(words).params if p.param_type_name == "option"]


def in_the_table() -> set[str]:
    """The commands that the README's table names: `hueglass A ...` or, after another of the row, `A ...`, in code."""
    section = README.split("\n## Commands\n")[1].split("\n## ")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `hueglass ")]
    codes = [code.removeprefix("hueglass ") for cell in cells for code in re.findall("`([^`]+)`", cell)]
    return {" ".join(re.match(r"(?:[a-z][a-z-]*(?: |$))+", code)[0].split()) for code in codes}  # type: ignore[index]


def test_the_table_was_read() -> None:
    assert {"demo", "web build", "look list", "study score"} <= in_the_table()


def test_every_command_is_in_the_table_and_no_other() -> None:
    assert in_the_table() == set(COMMANDS)


def test_every_group_is_explained() -> None:
    assert {words.split()[0] for words in COMMANDS if " " in words} == set(GROUPS)
    assert all(APP.commands[group].help for group in GROUPS)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_says_what_it_does_and_what_each_option_is(words: str) -> None:
    assert (inspect.getdoc(COMMANDS[words]) or "").rstrip().endswith((".", "`", "there"))
    assert command_of(words).help
    assert [o.opts for o in options_of(words) if not o.help] == []


@pytest.mark.parametrize("words", FRAMES)
def test_options_of_the_commands_that_make_frames_are_in_the_readme(words: str) -> None:
    """By one of their names: `-o` for `--out`, `--no-window` for `--window`."""
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", README))
    assert [o.opts for o in options_of(words) if not named & {*o.opts, *o.secondary_opts, "--help"}] == []


def test_what_is_shared_is_an_option_of_each() -> None:
    shared = {field.name for field in fields(SceneOptions)}
    assert len(shared) >= 6
    assert [words for words in FRAMES if not shared <= {o.name for o in options_of(words)}] == []
