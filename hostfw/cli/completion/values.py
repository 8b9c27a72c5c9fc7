"""Completions of the arguments of the command line, by the name of their value."""

from enum import Enum, auto

from hostfw.cli.command_line.grammar import Argument, CommandLine
from hostfw.cli.kinds import KINDS


class Values(Enum):
    """Sources of completions."""

    NOTHING = auto()
    CHOICES = auto()
    FILES = auto()
    DIRECTORIES = auto()
    INTERFACES = auto()
    KINDS = auto()
    NAMES = auto()
    POLICIES = auto()


_BY_METAVAR = {
    "DIR": Values.DIRECTORIES,
    "FILE": Values.FILES,
    "IF": Values.INTERFACES,
    "KIND": Values.KINDS,
    "PATH": Values.FILES,
}


def values_of(argument: Argument) -> Values:
    """Completions of an argument. A NAME is that of a policy in an option, else of a resource of the KIND before it."""
    if argument.choices:
        return Values.CHOICES
    if argument.metavar == "NAME":
        return Values.POLICIES if argument.flags else Values.NAMES
    return _BY_METAVAR.get(argument.metavar, Values.NOTHING)


def kind_words(verb: str) -> tuple[tuple[str, str], ...]:
    """The words that a verb takes for kinds, each with what it means."""
    kinds = [(word, kind.name) for kind in KINDS for word in dict.fromkeys((kind.names[0], kind.name.lower()))]
    return (*kinds, ("settings", "hostfw.yaml")) if verb == "schema" else tuple(kinds)


def flags_with_values(line: CommandLine) -> tuple[str, ...]:
    """Every flag that takes the next word, whatever the verb."""
    arguments = (*line.common, *line.alone, *(option for verb in line.verbs for option in verb.options))
    return tuple(sorted({flag for argument in arguments if argument.takes_value for flag in argument.flags}))
