"""One run of hostfwctl: from a command line to an exit status, with a message for whatever can go wrong."""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from hostfw.cli.command_line.argument_parser import UsageError
from hostfw.cli.command_line.options import Options
from hostfw.cli.command_line.parser import parse
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.output.console import TROUBLE, Console, ExitCode, takes_colour
from hostfw.cli.output.terminal import columns_of_terminal
from hostfw.host.errors import HostError
from hostfw.host.process import signals

_DEBIAN_PACKAGES = {"nftables": "python3-nftables", "pyroute2": "python3-pyroute2", "yaml": "python3-yaml"}


def run_process() -> int:
    """Run the command line of this process on its own streams."""
    signals.take_defaults()
    out, err = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    if isinstance(out, TextIOWrapper):
        # Data has the same bytes whatever the locale; file names that are not UTF-8 leave as they came.
        out.reconfigure(encoding="utf-8", errors="surrogateescape")
    status = 0
    try:
        status = run(sys.argv[1:], out, err)
        out.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as with `| head`. What is still buffered must not be tried again at exit, which Python
        # 3.13 does for stderr too: it would end with 120.
        _silence(out)
        _silence(err)
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        _silence(out)
        Console(out, err).complain(f"the output cannot be written: {error.strerror}")
        return status or ExitCode.FAILED
    return status


def run(arguments: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Run a command line on two streams; gives its exit status.

    Raises nothing that a user or the machine can get wrong, apart from what becomes of the streams.
    """
    try:
        with redirect_stdout(out), redirect_stderr(err):
            options = parse(arguments)
    except UsageError as error:
        Console(out, err, width_err=columns_of_terminal(err)).complain(error.message, error.hint)
        err.write(f"{error.usage}\n")
        return ExitCode.USAGE
    except SystemExit as done:
        return int(done.code or 0)
    except ImportError as error:
        return _missing(error, Console(out, err))
    console = Console(
        out,
        err,
        takes_colour(out, options.colour),
        takes_colour(err, options.colour),
        options.verbosity,
        columns_of_terminal(out),
        columns_of_terminal(err),
    )
    return run_verb(options, console)


def run_verb(options: Options, console: Console) -> int:
    """Run one verb, and say what the user or the machine got wrong without a traceback."""
    try:
        return int(next(verb for verb in VERBS if verb.name == options.verb).load().run(options, console))
    except BrokenPipeError:
        raise
    except ImportError as error:
        return _missing(error, console) and _failure(options)
    except (HostError, OSError) as error:
        permitted = not _is_about_permission(error)
        message = error.message if isinstance(error, HostError) else str(error.strerror or error)
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        hint = error.hint if isinstance(error, HostError) else ""
        console.complain(f"{where}{message}", hint or ("" if permitted else "run it as root"))
        return _failure(options) if permitted else ExitCode.UNAVAILABLE


def _missing(error: ImportError, console: Console) -> ExitCode:
    """Say which Debian package is not installed; any other module that is missing is a defect of ours."""
    package = _DEBIAN_PACKAGES.get((error.name or "").partition(".")[0])
    if package is None:
        raise error
    console.complain(f"the Python module {error.name} is missing", f"apt install {package}")
    return ExitCode.FAILED


def _failure(options: Options) -> ExitCode:
    """Give the exit status of a verb that failed; `diff` has another meaning for 1."""
    return TROUBLE if options.verb == "diff" else ExitCode.FAILED


def _is_about_permission(error: BaseException | None) -> bool:
    """True if the kernel said no to who is asking, here or further down."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.EPERM, errno.EACCES):
            return True
        error = error.__cause__
    return False


def _nowhere() -> TextIO:
    """A stream in the place of one that was closed, as by `>&-`."""
    return Path(os.devnull).open("w", encoding="utf-8")


def _silence(stream: TextIO) -> None:
    """Let what is still buffered vanish, so that Python does not complain at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
