"""The entry of the command line: which commands there are, signals, and how errors are told.

Every command lies in a file of its own in `commands/`. Nothing heavy is imported before a command runs.
"""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException

from hueglass import __version__
from hueglass.commands.bench import bench
from hueglass.commands.demo import demo
from hueglass.commands.evaluate.held_out import held_out
from hueglass.commands.evaluate.pairs import pairs as evaluate_pairs
from hueglass.commands.evaluate.run import run as evaluate_run
from hueglass.commands.evaluate.segmenter import segmenter as evaluate_segmenter
from hueglass.commands.evaluate.video import video as evaluate_video
from hueglass.commands.export import export
from hueglass.commands.live import live
from hueglass.commands.look.cube import cube
from hueglass.commands.look.list import list_looks
from hueglass.commands.look.make import make as make_look
from hueglass.commands.look.mix import mix
from hueglass.commands.pairs import pairs
from hueglass.commands.photo import photo
from hueglass.commands.serve import serve
from hueglass.commands.study.make import make as make_study
from hueglass.commands.study.score import score
from hueglass.commands.targets import targets
from hueglass.commands.teach import teach
from hueglass.commands.train import train
from hueglass.commands.verify import verify
from hueglass.commands.video import video
from hueglass.commands.web.build import build
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.options import expanded

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "photo": photo,
    "video": video,
    "live": live,
    "serve": serve,
    "teach": teach,
    "pairs": pairs,
    "targets": targets,
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


def main() -> None:
    """Run a command; errors are one line on stderr. Exit status 0 done, 1 the work failed, 2 wrong use."""
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    sys.exit(run())


def _end(number: int, _frame: object) -> None:
    """Ends the process as an exception does, so that temporary files are removed."""
    sys.exit(128 + number)


def run() -> int:
    """What `main` does but for the process: the exit status of the command that `sys.argv` names."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        status = build_app()(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except TyperException as error:  # wrong use that typer itself finds; without a text if it printed the help
        return _complain(error.format_message(), error.exit_code)
    except UsageError as error:
        return _complain(error, 2)
    except HueglassError as error:
        return _complain(error, 1)
    except OSError as error:  # what writes files reports its own: this is standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try, and complain, once more at its end
        return _complain(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    if status == INTERRUPTED:
        return _complain("interrupted, nothing half-written was left behind", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"hueglass: {message}", file=sys.stderr)


def _complain(error: object, status: int) -> int:
    # File names, and what files hold, may contain line feeds and escape sequences.
    message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
    if message:
        print(f"hueglass: {message}", file=sys.stderr)
    return status
