"""The command line as argparse knows it; help, completions and the manual page come from here."""

import re
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hostfw import __version__
from hostfw.cli.command_line.verb_table import VERBS, Verb
from hostfw.cli.output.help_page import HelpFormatter, Page, help_width, usage_text

CONFIG_DIR = Path("/etc/hostfw")
STATE_DIR = Path("/var/lib/hostfw")
RUN_DIR = Path("/run/hostfw")

_PROGRAM = "hostfwctl"
_MOST_MEANT = 3
_DESCRIPTION = """\
Calico-style policy for this host, enforced by nftables.

Policies are YAML files below /etc/hostfw: projectcalico.org/v3 resources, and
InterfaceGroups of hostfw.io/v1. `hostfwctl apply` puts them into force."""

_EPILOG = """\
`hostfwctl VERB --help` explains a verb, with examples. The options of every
verb may stand before or after it.

exit status:
  0    done; for diff: no difference
  1    failed; for diff: there are differences
  2    the command line is wrong; for diff: failed
  3    the configuration is invalid
  4    nothing in force, or not permitted
  5    applied, then rolled back
  130  interrupted

environment:
  COLUMNS   the width to lay out for (default: that of the terminal; what
            goes into a pipe or a file is not laid out, but whole)
  NO_COLOR  if set and not empty, no colour unless --color=always

files:
  /etc/hostfw/        the configuration; hostfw.yaml there holds the settings
  /var/lib/hostfw/    the accepted configuration, for the next boot
  /run/hostfw/        what is in force"""

NAMES = frozenset(verb.name for verb in VERBS)
USAGE = f"{_PROGRAM} [OPTION...] VERB [ARGUMENT...]"
_MISSING = "the following arguments are required: "
_INVALID_CHOICE = r"argument (?P<argument>\S+): invalid choice: (?P<given>.+?) \(choose from (?P<choices>.+)\)"


class UsageError(Exception):
    """A command line that means nothing: why, the next step, and how it should look."""

    def __init__(self, message: str, hint: str, usage: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.usage = usage


def parsed(arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
    """The values that argparse finds, and the words that no verb has a place for.

    Raises UsageError; `--help` and `--version` print and raise SystemExit(0).
    """
    # A verb as the first word leaves no other in question.
    asked = [verb for verb in VERBS if verb.name == arguments[0]] if arguments else []
    found, unknown = command_line(asked or VERBS).parse_known_args(arguments)
    if hasattr(found, "words") and not any(word.startswith("-") for word in unknown):
        # argparse ends a list of words at the first option: `deny 198.51.100.7 --cut for 4h`.
        found.words, unknown = [*found.words, *unknown], []
    return found, unknown


def command_line(among: Iterable[Verb] = VERBS) -> ArgumentParser:
    """The parser of the whole command line, or of as much of it as some verbs need."""
    parser = _Parser(
        prog=_PROGRAM,
        usage=USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    _add_common(parser, suppressed=False)
    verbs = parser.add_subparsers(
        title="verbs", dest="verb", metavar="VERB", required=True, prog=_PROGRAM, parser_class=_Parser
    )
    for verb in among:
        page = verbs.add_parser(
            verb.name,
            help=verb.summary,
            formatter_class=HelpFormatter,
            allow_abbrev=False,
        )
        page.verb = verb
    return parser


def closest(word: str, words: Iterable[str]) -> str:
    """The hint that names the word which was probably meant, or nothing; names without their namespace are meant."""
    from difflib import get_close_matches

    known = tuple(words)
    near = [one for one in known if one.endswith(f"/{word}")][:_MOST_MEANT]
    near = near or get_close_matches(word.lower(), known, n=1)
    quoted = " or ".join(f'"{one}"' for one in near)
    return f"did you mean {quoted}?" if near else ""


def usage_of(verb: str, usage: str) -> str:
    """The usage of a verb, laid out for the terminal."""
    return usage_text(f"{_PROGRAM} [OPTION...] {verb}", usage, help_width())


def _add_common(parser: ArgumentParser, *, suppressed: bool) -> None:
    """Add what may stand before or after a verb; after it, a default must not undo what came before."""
    group = parser.add_argument_group("options of every verb")
    off = SUPPRESS if suppressed else False
    for name, directory, what in (
        ("--config-dir", CONFIG_DIR, "the configuration"),
        ("--state-dir", STATE_DIR, "state that survives a reboot"),
        ("--run-dir", RUN_DIR, "state of this boot"),
    ):
        group.add_argument(
            name,
            type=Path,
            default=SUPPRESS if suppressed else directory,
            metavar="DIR",
            help=f"{what} (default: {directory})",
        )
    group.add_argument(
        "--color",
        "--colour",
        dest="colour",
        choices=("auto", "always", "never"),
        default=SUPPRESS if suppressed else "auto",
        metavar="WHEN",
        help="auto, always or never (default: auto, on a terminal)",
    )
    group.add_argument("-q", "--quiet", action="store_true", default=off, help="print only errors")
    group.add_argument("-v", "--verbose", action="store_true", default=off, help="say more")


class _Parser(ArgumentParser):
    """argparse's parser, with errors as exceptions; overriding `error` is the way that argparse has for it.

    `verb` is the one whose page it prints, None for the whole command line. Its module is loaded when this verb turns
    out to be the one that is meant: to load all of them takes half a second.
    """

    verb: Verb | None = None
    page: Page | None = None

    def complete(self) -> "_Parser":
        """Take on the arguments and the page of the verb. Raises ImportError where a Debian package is missing."""
        verb, self.verb = self.verb, None
        if verb is not None:
            module = verb.load()
            self.usage = usage_of(verb.name, module.USAGE)
            self.page = module.HELP
            module.arguments(self)
            _add_common(self, suppressed=True)
        return self

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- argparse's, with its overloads
        """Parse what follows the name of a verb, once it is known which arguments it has."""
        self.complete()
        return super().parse_known_args(*args, **kwargs)

    def format_help(self) -> str:
        """Lay out the page of the verb, which most runs print nothing of."""
        if self.page is not None:
            width = help_width()
            self.description, self.epilog = self.page.description_text(width), self.page.epilog_text(width)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, with what was probably meant."""
        found = re.fullmatch(_INVALID_CHOICE, message)
        hint = ""
        if found:
            given = found["given"].strip("'")
            choices = [choice.strip("'") for choice in found["choices"].split(", ")]
            what = {"VERB": "verb"}.get(found["argument"], f"value of {found['argument']}")
            message = f'unknown {what} "{given}"'
            hint = closest(given, choices) or f"one of {', '.join(choices)}"
        elif message.startswith(_MISSING):
            message = f"{message.removeprefix(_MISSING)} is missing"
            hint = f"`{self.prog} --help` explains it"
        raise UsageError(message, hint, self.format_usage().strip())
