"""`hostfwctl import`: the rules of another firewall as policy, and the packets that the two treat differently."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hostfw.cli.command_line.arguments import add_output, positive
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.configuration import read
from hostfw.cli.outcomes import complain_of
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.problems import report, tally
from hostfw.engine.outcomes import Failed
from hostfw.importer.comparison import PACKETS, Comparison, Difference, compare
from hostfw.importer.firewalld.reader import FILES as FIREWALLD_FILES
from hostfw.importer.firewalld.reader import read_firewalld
from hostfw.importer.iptables import ufw
from hostfw.importer.iptables.save import read_iptables
from hostfw.importer.nft.reader import read_nft
from hostfw.importer.notes import Note
from hostfw.importer.policy import Imported, as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.rule_set import MOST_ENTRIES, TooManyEntriesError
from hostfw.importer.text import policy_text
from hostfw.manifest.encode import manifest
from hostfw.model.problems import in_order
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import FAMILIES, NAMED_PROTOCOLS, Family, address_text
from hostfw.model.wording import counted

IPTABLES, NFT, UFW, FIREWALLD = "iptables-save", "nft", "ufw", "firewalld"

USAGE = "FROM [FILE] [--ipv4 FILE] [--ipv6 FILE] [--root DIRECTORY] [--packets N] [-o FORM]"
HELP = Page(
    """\
Read the rules of another firewall, and print them as policy: each rule under the
line that it comes from. Nothing is put into force, and nothing is changed.

FROM is `iptables-save`, for what iptables-save(8) and ip6tables-save print (a file for each IP version); `nft`,
for what `nft -j list ruleset` prints; `ufw`, for the files of ufw in /etc/ufw and /etc/default/ufw; or `firewalld`,
for its zones, policies, services and ipsets in /etc/firewalld and /usr/lib/firewalld.

What policy cannot say is named with its place. Packets at the edges of every rule
are judged by both, and those that they treat differently are listed: what hostfw
does by itself, such as its failsafes, shows up there.""",
    """\
hostfwctl import ufw > imported.yaml
hostfwctl validate -f imported.yaml
nft -j list ruleset | hostfwctl import nft -
ssh web nft -j list ruleset | hostfwctl import nft -
hostfwctl import firewalld --root /mnt/old
hostfwctl import iptables-save --ipv4 v4 --ipv6 v6""",
    """\
0  done; the messages say what is not the same
1  a file cannot be read
3  a file is not what it should be""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("kind", type=_form, metavar="FROM", help=f"the form of the rules: {', '.join(_FORMS)}")
    parser.add_argument(
        "listing", type=Path, metavar="FILE", nargs="?", help=f"the listing of {NFT} (- is standard input)"
    )
    for family in FAMILIES:
        parser.add_argument(
            f"--ipv{family:d}",
            type=Path,
            metavar="FILE",
            help=f"the rules of {IPTABLES} for IPv{family:d} (- is standard input); without them all is denied",
        )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIRECTORY",
        default=Path("/"),
        help="the directory that has etc/ufw or etc/firewalld, of another host for instance (default: /)",
    )
    parser.add_argument(
        "--packets",
        dest="most",
        type=positive,
        metavar="N",
        default=PACKETS,
        help=f"packets to compare by (default: {PACKETS})",
    )
    add_output(parser.add_argument, Output.YAML, Output.JSON)


def _form(text: str) -> str:
    """The form of the rules. Raises ArgumentTypeError, with what to do instead, for another."""
    if text in _FORMS:
        return text
    if text in ("iptables", "ip6tables", "ip6tables-save"):
        raise ArgumentTypeError(
            f"rules of {text} are read as {IPTABLES} prints them: `iptables-save > v4; ip6tables-save > v6`, then "
            f"`hostfwctl import {IPTABLES} --ipv4 v4 --ipv6 v6`"
        )
    if text in ("nftables", "nft-list"):
        raise ArgumentTypeError(f"{text} is read as `nft -j list ruleset | hostfwctl import {NFT} -`")
    raise ArgumentTypeError(
        f'"{text}" is not read, only {", ".join(_FORMS)}; `hostfwctl init` proposes from what listens'
    )


class _Given(NamedTuple):
    """The input of a command line: its files, what they were understood as, and what to do next."""

    sources: tuple[Source, ...]
    readings: tuple[Reading, ...]
    title: str
    afterwards: str


class _UnreadableError(Exception):
    """A file that cannot be read, or is not named; with what to say."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _from_iptables(options: Options) -> _Given:
    given = [(family, path) for family, path in zip(FAMILIES, (options.ipv4, options.ipv6), strict=True) if path]
    if not given:
        raise _UnreadableError("no rules to import", "name them with --ipv4 and --ipv6")
    read_ = [(family, (_read(path),)) for family, path in given]
    sources = tuple(source for _, files in read_ for source in files)
    return _Given(sources, read_iptables(read_), ", ".join(source.path for source in sources), _AFTER_RULES)


def _from_nft(options: Options) -> _Given:
    if options.listing is None:
        raise _UnreadableError("no rules to import", f"`nft -j list ruleset | hostfwctl import {NFT} -`")
    source = _read(options.listing)
    return _Given((source,), read_nft(source), source.path, _AFTER_RULES)


def _from_ufw(options: Options) -> _Given:
    files = _tree(options.root, ufw.FILES)
    if not files:
        raise _UnreadableError(f"there is no ufw in {options.root}", "--root names the directory that has etc/ufw")
    return _Given(tuple(files.values()), ufw.read_ufw(files), "the files of ufw", "`ufw disable`")


def _from_firewalld(options: Options) -> _Given:
    files = _tree(options.root, FIREWALLD_FILES)
    if not files:
        raise _UnreadableError(
            f"there is no firewalld in {options.root}", "--root names the directory that has etc/firewalld"
        )
    return _Given(
        tuple(files.values()),
        read_firewalld(files),
        "the files of firewalld",
        "`systemctl disable --now firewalld`",
    )


_AFTER_RULES = "remove the old rules, which `hostfwctl doctor` names"
_FORMS: Mapping[str, Callable[[Options], _Given]] = {
    IPTABLES: _from_iptables,
    NFT: _from_nft,
    UFW: _from_ufw,
    FIREWALLD: _from_firewalld,
}


def _read(path: Path) -> Source:
    """One file, or standard input. Raises _UnreadableError."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _UnreadableError(f"{path} cannot be read: {error.strerror}") from error
    return Source("<stdin>" if str(path) == "-" else str(path), text)


def _tree(root: Path, patterns: Iterable[str]) -> dict[str, Source]:
    """The files below a directory that have these names, by their names. Raises _UnreadableError."""
    found = sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())
    return {str(path.relative_to(root)): _read(path) for path in found}


def run(options: Options, console: Console) -> ExitCode:
    """Print the policy as data, and what is not the same as messages."""
    try:
        given = _FORMS[options.kind](options)
    except _UnreadableError as error:
        return complain_of(Failed(str(error), hint=error.hint), console)
    rules = [reading.rules for reading in given.readings]
    problems = in_order(problem for reading in given.readings for problem in reading.problems)
    if problems:
        shown = Configuration(resources=given.sources)
        console.message(*report(problems, shown, colour=console.colour_err, width=console.width_err))
        console.say(tally(problems))
        return ExitCode.INVALID
    try:
        imported = as_policy(rules)
    except TooManyEntriesError:
        message = (
            f"the chains come to more than {MOST_ENTRIES} rules when each jump is replaced by the rules of its chain"
        )
        return complain_of(Failed(message, hint="write the policy by hand"), console)
    comparison = compare(rules, imported.as_resources(), read(options).settings, options.most or PACKETS)
    notes = tuple(dict.fromkeys((*(note for reading in given.readings for note in reading.notes), *imported.notes)))
    if options.output is Output.JSON:
        console.data(json_text(_as_document(imported, notes, comparison)))
    else:
        console.data(policy_text(imported, f"Imported from {given.title} by `hostfwctl import`").rstrip("\n"))
    _tell(notes, comparison, {one.family for one in rules}, console)
    written = sum(len(listed) for listed in imported.origins.values())
    console.say(
        f"{counted(written, 'rule')} of {counted(len(imported.origins), 'policy', 'policies')}, "
        f"{counted(len(notes), 'thing')} to look at above"
        if notes
        else f"{counted(written, 'rule')} of {counted(len(imported.origins), 'policy', 'policies')}"
    )
    console.say(
        "next: read it, copy it to /etc/hostfw, run `hostfwctl apply --confirm-within 2m`, and over a new connection "
        f"`hostfwctl confirm`; then {given.afterwards}"
    )
    return ExitCode.DONE


def _tell(notes: Sequence[Note], comparison: Comparison, families: Collection[Family], console: Console) -> None:
    for note in notes:
        console.warn(f"{note.position.file_line}: {note.message}")
    for family in FAMILIES:
        if family not in families:
            console.warn(f"there are no rules for IPv{family:d}: all of IPv{family:d} is denied but for failsafes")
    console.say(
        f"{counted(comparison.packets, 'packet')} at the edges of the rules: {comparison.alike} are treated the same"
    )
    for cause, differences in comparison.groups:
        console.say(f"{counted(len(differences), 'packet')} {cause}, such as {_packet_text(differences[0])}")


def _packet_text(difference: Difference) -> str:
    """A packet in a few words, as `explain` takes them."""
    packet = difference.packet
    source, destination = (address_text(packet.family, address) for address in (packet.source, packet.destination))
    ports = f" port {packet.destination_port}" if packet.destination_port is not None else ""
    icmp = f" type {packet.icmp_type} code {packet.icmp_code}" if packet.icmp_type is not None else ""
    way = [
        f"in {packet.in_interface}" if packet.in_interface else "",
        f"out {packet.out_interface}" if packet.out_interface else "",
    ]
    return f"{source} to {destination}, {_protocol_text(packet.protocol)}{ports}{icmp}, {' '.join(filter(None, way))}"


def _protocol_text(number: int) -> str:
    named = (name for name, protocol in NAMED_PROTOCOLS.items() if protocol.number == number)
    return next(named, f"protocol {number}")


def _as_document(imported: Imported, notes: Sequence[Note], comparison: Comparison) -> Document:
    return document(
        "Import",
        {
            "resources": [manifest(resource) for resource in imported.resources],
            "notes": [
                {"path": note.position.path, "line": note.position.line, "message": note.message} for note in notes
            ],
            "comparison": {
                "packets": comparison.packets,
                "alike": comparison.alike,
                "differences": list(_groups(comparison)),
            },
        },
    )


def _groups(comparison: Comparison) -> Iterator[Document]:
    for cause, differences in comparison.groups:
        yield {"cause": cause, "packets": len(differences), "example": _packet_text(differences[0])}
