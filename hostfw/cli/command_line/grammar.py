"""The command line as data: what completions and the manual page are made of."""

from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from dataclasses import dataclass

from hostfw.cli.command_line.argument_parser import command_line
from hostfw.cli.command_line.verb_table import VERBS


@dataclass(frozen=True, slots=True)
class Argument:
    """An option by its flags, or without flags a positional argument.

    `metavar` names its value, empty for an option without one; `choices` are the values that it takes, if they are few.
    """

    flags: tuple[str, ...]
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    optional: bool = False

    @property
    def takes_value(self) -> bool:
        """True if a value follows."""
        return bool(self.metavar)


@dataclass(frozen=True, slots=True)
class VerbParts:
    """A verb: its options without those of every verb, and its positional arguments in order."""

    name: str
    summary: str
    options: tuple[Argument, ...]
    positionals: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The options that may stand before or after every verb, those that only stand before it, and the verbs."""

    common: tuple[Argument, ...]
    alone: tuple[Argument, ...]
    verbs: tuple[VerbParts, ...]


def command_line_parts() -> CommandLine:
    """All that argparse knows of the command line."""
    parser = command_line()
    pages = next(action for action in _actions(parser) if isinstance(action, _SubParsersAction)).choices
    top = tuple(_argument(action) for action in _actions(parser) if not isinstance(action, _SubParsersAction))
    alone = tuple(argument for argument in top if "--help" in argument.flags or "--version" in argument.flags)
    common = tuple(argument for argument in top if argument not in alone)
    every = {argument.flags for argument in top}
    verbs = (
        VerbParts(
            verb.name,
            verb.summary,
            tuple(argument for argument in arguments if argument.flags and argument.flags not in every),
            tuple(argument for argument in arguments if not argument.flags),
        )
        for verb in VERBS
        for arguments in (tuple(_argument(action) for action in _actions(pages[verb.name].complete())),)
    )
    return CommandLine(common, alone, tuple(verbs))


def _actions(parser: ArgumentParser) -> tuple[Action, ...]:
    """The actions of a parser that help shows; argparse has no public way to list them."""
    return tuple(action for action in parser._actions if action.help != SUPPRESS)  # noqa: SLF001 -- as above


def _argument(action: Action) -> Argument:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    repeatable = type(action).__name__ in ("_AppendAction", "_ExtendAction")
    choices = tuple(map(str, action.choices)) if action.choices else ()
    return Argument(
        tuple(action.option_strings),
        metavar if action.nargs != 0 else "",
        (action.help or "").replace("%%", "%"),
        choices,
        repeatable,
        optional=bool(action.option_strings) or action.nargs in ("?", "*"),
    )
