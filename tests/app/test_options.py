"""Shared options: what a field is on the command line, and what arrives of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from hueglass.commands.video import VideoOptions
from hueglass.infer.errors import UsageError
from hueglass.infer.media.codecs import Codec
from hueglass.infer.network.devices import Device, Precision
from hueglass.options import DATA, FrameOptions, StyleOptions, expanded, parse_memory, parse_regions


@dataclass(frozen=True, kw_only=True)
class SomeOptions(FrameOptions):
    data: Annotated[Path, DATA]
    masks: tuple[Path, Path] | None = None
    codec: Codec | None = None


def given(*arguments: str, **environment: str) -> tuple[int, str, object]:
    """Status, what was printed, and what a command of SomeOptions was called with."""
    seen: list[object] = []

    def command(name: str, *, options: SomeOptions) -> None:
        """What it does."""
        seen.append((name, options))

    app = typer.Typer()
    app.command()(expanded(command))
    result = CliRunner().invoke(app, arguments, env={"HUEGLASS_DATA": None, "COLUMNS": "200", **environment})
    return result.exit_code, result.output, seen[0] if seen else None


def test_defaults_are_those_of_the_fields() -> None:
    assert given("a", "--data", "d") == (0, "", ("a", SomeOptions(data=Path("d"))))


def test_every_kind_of_option_arrives() -> None:
    words = (
        "a --data d --masks x y --region sky=1 --region sea=0 --strength 0.5 --device cuda --codec av1 --auto-regions"
    )
    wanted = SomeOptions(
        data=Path("d"),
        masks=(Path("x"), Path("y")),
        region=["sky=1", "sea=0"],
        strength=0.5,
        device=Device.CUDA,
        codec=Codec.AV1,
        auto_regions=True,
    )
    assert given(*words.split(), "--auto-regions") == (0, "", ("a", wanted))


def test_the_environment_counts() -> None:
    assert given("a", HUEGLASS_DATA="from here") == (0, "", ("a", SomeOptions(data=Path("from here"))))


def test_what_is_needed_is_needed() -> None:
    status, said, _ = given("a")
    assert (status, "--data" in said) == (2, True)


def test_the_help_lists_choices_defaults_and_ranges() -> None:
    _, said, _ = given("--help")
    for kind in (Device, Precision, Codec):
        assert "|".join(kind) in said
    for shown in ("[default: cpu]", "[default: fp32]", "0<=x<=2", "env var: HUEGLASS_DATA", "What it does."):
        assert shown in said


@pytest.mark.parametrize(
    "option", ["--device tpu", "--precision fp17", "--codec h266", "--strength nan", "--region sky=1 --strength"]
)
def test_a_typo_is_told(option: str) -> None:
    status, said, seen = given("a", "--data", "d", *option.split())
    assert (status, seen) == (2, None)
    assert option.split()[-2] in said or option.split()[-1] in said


@pytest.mark.parametrize(("option", "first"), [("device", "cpu"), ("precision", "fp32"), ("codec", "h264")])
def test_a_typo_is_one_line_that_names_what_was_expected(run, option: str, first: str) -> None:  # type: ignore[no-untyped-def]
    outcome = run("video", "in.mp4", "out.mp4", "--look", "sunset", f"--{option}", "typo")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith(f"hueglass: Invalid value for '--{option}': ")
    assert f"'typo' is not one of '{first}', " in outcome.err


def test_options_are_typed_and_frozen() -> None:
    options = VideoOptions(look="sunset")
    assert (options.choice(), options.codec, options.precision) == ("sunset", None, Precision.FP32)
    with pytest.raises(AttributeError):
        options.look = "winter"  # type: ignore[misc]
    with pytest.raises(TypeError):
        VideoOptions("sunset")  # type: ignore[misc]


@pytest.mark.parametrize("options", [StyleOptions(), StyleOptions(style=Path("a.jpg"), look="sunset")])
def test_one_style_is_taken(options: StyleOptions) -> None:
    with pytest.raises(UsageError, match="expected either --style PHOTO or --look NAME"):
        options.choice()


def test_strengths_of_regions() -> None:
    assert parse_regions(["sky=1.5", "person=0"]) == {"sky": 1.5, "person": 0.0}
    for text in ("sky", "sky=", "=1", "sky=much"):
        with pytest.raises(UsageError, match="expected"):
            parse_regions([text])
    with pytest.raises(UsageError, match="expected each name once"):
        parse_regions(["sky=1", "sky=2"])
    with pytest.raises(UsageError, match="expected --auto-regions, --segmenter or --masks"):
        FrameOptions(region=["sky=1"]).strengths(None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("off", None), ("600", 600.0), ("1", 1.0), ("86400", 86400.0), ("2.5", 2.5), ("1e3", 1000.0)]
)
def test_a_memory_is_seconds_or_off(text: str, seconds: float | None) -> None:
    assert parse_memory(text) == seconds


@pytest.mark.parametrize("text", ["", "on", "OFF", "0", "0.5", "-1", "86401", "nan", "inf", "600s", "none"])
def test_what_is_no_memory_is_one_line(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_memory(text)
    assert str(raised.value) == f"--scene-memory {text}: expected 1 to 86400 seconds, or off"
