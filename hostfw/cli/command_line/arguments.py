"""Arguments that several verbs take, and values for argparse: a function of these raises ArgumentTypeError."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from hostfw.cli.command_line.options import Output
from hostfw.manifest.scalars.net_texts import form_hint, given_cidr
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import Cidr

LOGGED_REASONS = (
    Reason.RULE,
    Reason.OVER_LIMIT,
    Reason.LIMIT_FULL,
    Reason.END_OF_TIER,
    Reason.NO_PROFILE_MATCH,
    Reason.NO_POLICY,
    Reason.UNMANAGED,
    Reason.INVALID,
    Reason.REVERSE_PATH,
    Reason.SPOOFED,
    Reason.TO_HOST,
    Reason.UNIDENTIFIED,
)
"""The reasons that log records have."""


def positive(text: str) -> int:
    """A whole number, at least 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise ArgumentTypeError(f'"{text}" is not a whole number from 1')
    return int(text)


def cidr(text: str) -> Cidr:
    """A prefix, or an address as the prefix that holds it alone."""
    found = given_cidr(text)
    if found is None:
        why = f'"{text}" is neither an address nor a prefix'
        raise ArgumentTypeError("; ".join(filter(None, (why, form_hint(text)))))
    return found


def add_accept_loss(parser: ArgumentParser) -> None:
    """Add `--accept-loss`."""
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="do it even if most policies or HostEndpoints are lost, or no interface is governed any more; release "
        "interfaces that no HostEndpoint claims",
    )


def add_accept_lockout(parser: ArgumentParser) -> None:
    """Add `--accept-lockout`."""
    parser.add_argument(
        "--accept-lockout",
        action="store_true",
        help="put it into force even if it cuts off ssh, DHCP, name servers or the gateway of this host",
    )


def add_files(parser: ArgumentParser) -> None:
    """Add `-f` for verbs without arguments of their own: it takes a list of files."""
    parser.add_argument(
        "-f",
        "--filename",
        dest="files",
        action="extend",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="files and directories (- is standard input) that make up the whole configuration, settings included, "
        "in place of the configuration directory",
    )
    _add_feeds_anywhere(parser)


def _add_feeds_anywhere(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--feeds-anywhere",
        action="store_true",
        help="with -f: allow Feeds and symbolic links to files elsewhere; their author chooses which files are read",
    )


def add_each_file(parser: ArgumentParser) -> None:
    """Add `-f` for verbs with arguments of their own, which a list of files would swallow."""
    parser.add_argument(
        "-f",
        "--filename",
        dest="files",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="a file or directory (- is standard input) to read in place of the configuration directory; repeatable",
    )
    _add_feeds_anywhere(parser)


def add_facts(parser: ArgumentParser, what: str) -> None:
    """Add `--facts`; `what` says whose facts they are."""
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help=f"{what}, as `hostfwctl interfaces -o json` prints it there (default: this host)",
    )


def add_output(add_argument: Callable[..., object], *choices: Output) -> None:
    """Add `-o` with these forms, the first of which is the default."""
    add_argument(
        "-o",
        "--output",
        choices=[choice.value for choice in choices],
        default=choices[0].value,
        metavar="FORM",
        help=f"{', '.join(choices[:-1])} or {choices[-1]} (default: {choices[0]})",
    )


def add_words(parser: ArgumentParser, what: str) -> None:
    """Add the words of a quick rule; `what` says what they are."""
    parser.add_argument("words", nargs="+", metavar="WORD", help=what)


def add_quick(parser: ArgumentParser) -> None:
    """Add what `allow` and `deny` have in common."""
    parser.add_argument("--reason", dest="why", default="", metavar="TEXT", help="why; it is kept with the rule")
    parser.add_argument("--ticket", default="", metavar="ID", help="the ticket that it belongs to; kept with the rule")
    add_dry_run(parser)
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def add_dry_run(parser: ArgumentParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and change nothing")
