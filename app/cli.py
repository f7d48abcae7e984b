"""The entry of the command line: signals, and how errors are told.

Every command lies in a file of its own in `commands/`. Nothing heavy is imported before a command runs.
"""

import os
import signal
import sys
import warnings

from typer.exceptions import TyperException

from hueglass.commands.table import build_app
from hueglass.infer.errors import HueglassError, UsageError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


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
