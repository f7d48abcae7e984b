"""The commands of the command line: their names, and which function of this room does what a name says.

A new command is a file and a row. Light, so that help is there at once.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from hueglass import __version__
from hueglass.options import expanded

from .bench import bench
from .demo import demo
from .evaluate.drift import drift as evaluate_drift
from .evaluate.held_out import held_out
from .evaluate.known import known as evaluate_known
from .evaluate.pairs import pairs as evaluate_pairs
from .evaluate.run import run as evaluate_run
from .evaluate.segmenter import segmenter as evaluate_segmenter
from .evaluate.video import video as evaluate_video
from .export import export
from .label import label
from .live import live
from .look.cube import cube
from .look.list import list_looks
from .look.make import make as make_look
from .look.mix import mix
from .pairs import pairs
from .photo import photo
from .serve import serve
from .study.make import make as make_study
from .study.score import score
from .targets import targets
from .teach import teach
from .train import train
from .verify import verify
from .video import video
from .web.build import build

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "photo": photo,
    "video": video,
    "live": live,
    "serve": serve,
    "teach": teach,
    "pairs": pairs,
    "targets": targets,
    "label": label,
    "train": train,
    "export": export,
    "verify": verify,
    "bench": bench,
    "look make": make_look,
    "look cube": cube,
    "look mix": mix,
    "look list": list_looks,
    "evaluate pairs": evaluate_pairs,
    "evaluate run": evaluate_run,
    "evaluate held-out": held_out,
    "evaluate segmenter": evaluate_segmenter,
    "evaluate video": evaluate_video,
    "evaluate drift": evaluate_drift,
    "evaluate known": evaluate_known,
    "web build": build,
    "study make": make_study,
    "study score": score,
}
GROUPS = {
    "look": "Looks: the light of a reference photograph, kept in a small file.",
    "evaluate": "Measure models and other methods.",
    "web": "The page for glasses and phones, on any web host.",
    "study": "A blind survey of methods, side by side.",
}


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hueglass {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which hueglass this is.")
    ] = False,
) -> None:
    pass


def build_app() -> typer.Typer:
    """The commands in their groups."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help="Live video in the light of any photograph.", no_args_is_help=True)(_options)
    groups = {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
    for words, command in COMMANDS.items():
        group, _, name = words.rpartition(" ")
        (groups[group] if group else app).command(name)(expanded(command))
    for name, commands in groups.items():
        app.add_typer(commands, name=name)
    return app
