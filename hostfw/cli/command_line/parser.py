"""The words of a command line as one value of options; what cannot be meant is answered with what probably was."""

from collections.abc import Sequence
from typing import NoReturn

from hostfw.cli.command_line.argument_parser import NAMES, USAGE, UsageError, parsed, usage_of
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.command_line.verb_table import VERBS

_LISTS = ("files", "labels", "words", "tests", "reach", "waves")
"""The options that are lists."""


def parse(arguments: Sequence[str]) -> Options:
    """Parse a command line. Raises UsageError; `--help` and `--version` print and raise SystemExit(0)."""
    if arguments and arguments[0] == "help":
        arguments = (*arguments[1:], "--help")
    if arguments and arguments[0] not in (*NAMES, "-h", "--help", "--version"):
        _refuse_of_others(arguments)
    try:
        found, unknown = parsed(arguments)
    except UsageError as error:
        raise _with_meaning(error, arguments) from None
    if unknown:
        _refuse_unknown(found.verb, unknown, arguments)
    values = vars(found)
    verbosity = int(values.pop("verbose")) - int(values.pop("quiet"))
    for name in _LISTS:
        values[name] = tuple(values.pop(name, ()))
    output = Output(values.pop("output", Output.TEXT))
    return Options(verbosity=verbosity, output=output, **values)


def _refuse_of_others(arguments: Sequence[str]) -> None:
    """Answer words of another program. Raises UsageError."""
    # Most commands need none of it.
    from hostfw.cli.other_words.answers import elsewhere

    other = elsewhere(arguments, NAMES)
    if other is not None:
        raise UsageError(other.message, other.hint, f"usage: {USAGE}")


def _with_meaning(error: UsageError, arguments: Sequence[str]) -> UsageError:
    """The error with the command that was meant, where words are missing that options stand for elsewhere."""
    from hostfw.cli.other_words.own_verbs import missing

    place = next((place for place, word in enumerate(arguments) if word in NAMES), None)
    if not error.message.endswith("is missing") or place is None:
        return error
    return UsageError(error.message, missing(arguments[place], arguments[place:]) or error.hint, error.usage)


def _refuse_unknown(name: str, unknown: Sequence[str], arguments: Sequence[str]) -> NoReturn:
    """Answer words that a verb does not take. Raises UsageError."""
    from hostfw.cli.other_words.own_verbs import meant

    verb = next(verb for verb in VERBS if verb.name == name)
    behind = arguments[list(arguments).index(name) :] if name in arguments else arguments
    usage = f"usage: {usage_of(verb.name, verb.load().USAGE)}"
    raise UsageError(f"unknown: {' '.join(unknown)}", meant(name, unknown, behind), usage)
