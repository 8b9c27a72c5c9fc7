"""`hostfwctl import`: the rules of another firewall as policy, and the packets that the two treat differently."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from pathlib import Path

from hostfw.cli.arguments import add_output, positive
from hostfw.cli.configuration import read
from hostfw.cli.options import Options, Output
from hostfw.cli.outcomes import complain_of
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.problems import report, tally
from hostfw.engine.outcomes import Failed
from hostfw.importer.comparison import PACKETS, Comparison, Difference, compare
from hostfw.importer.iptables_save import read_iptables
from hostfw.importer.notes import Note
from hostfw.importer.policy import Imported, as_policy
from hostfw.importer.rule_set import MOST_ENTRIES, TooManyEntriesError
from hostfw.importer.text import policy_text
from hostfw.manifest.encode import manifest
from hostfw.model.problems import in_order
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import FAMILIES, Family, address_text
from hostfw.model.wording import counted

IPTABLES = "iptables-save"

USAGE = f"{IPTABLES} [--ipv4 FILE] [--ipv6 FILE] [--packets N] [-o FORM]"
HELP = Page(
    """\
Read the rules of another firewall, and print them as policy: each rule under the
line that it comes from. Nothing is put into force, and nothing is changed.

iptables-save is what iptables-save(8) and ip6tables-save print, and what
iptables-restore reads. The rules of ufw are such rules too.

What policy cannot say is named with its line. Packets at the edges of every rule
are judged by both, and those that they treat differently are told: what hostfw
does by itself, such as its failsafes, shows up there.""",
    f"""\
hostfwctl import {IPTABLES} --ipv4 v4 --ipv6 v6 > imported.yaml
hostfwctl validate -f imported.yaml
ip6tables-save | hostfwctl import {IPTABLES} --ipv6 -""",
    """\
0  done; the messages say what is not the same
1  a file cannot be read
3  a file is not what it should be""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("kind", type=_form, metavar="FROM", help=f"the form of the rules: {IPTABLES}")
    for family in FAMILIES:
        parser.add_argument(
            f"--ipv{family:d}",
            type=Path,
            metavar="FILE",
            help=f"the rules for IPv{family:d} (- is standard input); without them all of IPv{family:d} is denied",
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
    if text == IPTABLES:
        return text
    if text in ("ufw", "iptables", "ip6tables", "ip6tables-save"):
        raise ArgumentTypeError(
            f"rules of {text} are read as {IPTABLES} prints them: `iptables-save > v4; ip6tables-save > v6`, then "
            f"`hostfwctl import {IPTABLES} --ipv4 v4 --ipv6 v6`"
        )
    raise ArgumentTypeError(f'"{text}" is not read, only {IPTABLES}; `hostfwctl init` proposes from what listens')


def run(options: Options, console: Console) -> ExitCode:
    """Print the policy as data, and what is not the same as messages."""
    given = [(family, path) for family, path in zip(FAMILIES, (options.ipv4, options.ipv6), strict=True) if path]
    if not given:
        return complain_of(Failed("no rules to import", hint="name them with --ipv4 and --ipv6"), console)
    sources: list[tuple[Family, tuple[Source, ...]]] = []
    for family, path in given:
        try:
            text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return complain_of(Failed(f"{path} cannot be read: {error.strerror}"), console)
        sources.append((family, (Source("<stdin>" if str(path) == "-" else str(path), text),)))
    readings = read_iptables(sources)
    problems = in_order(problem for reading in readings for problem in reading.problems)
    if problems:
        shown = Configuration(resources=tuple(source for _, files in sources for source in files))
        console.message(*report(problems, shown, colour=console.colour_err, width=console.width_err))
        console.say(tally(problems))
        return ExitCode.INVALID
    try:
        imported = as_policy([reading.rules for reading in readings])
    except TooManyEntriesError:
        message = (
            f"the chains come to more than {MOST_ENTRIES} rules when each jump is replaced by the rules of its chain"
        )
        return complain_of(Failed(message, hint="write the policy by hand"), console)
    settings = read(options).settings
    comparison = compare(
        [reading.rules for reading in readings], imported.as_resources(), settings, options.most or PACKETS
    )
    notes = (*(note for reading in readings for note in reading.notes), *imported.notes)
    if options.output is Output.JSON:
        console.data(json_text(_as_document(imported, notes, comparison)))
    else:
        title = (
            f"Imported from {', '.join(source.path for _, files in sources for source in files)} by `hostfwctl import`"
        )
        console.data(policy_text(imported, title).rstrip("\n"))
    _tell(notes, comparison, [family for family, _ in given], console)
    return ExitCode.DONE


def _tell(notes: Sequence[Note], comparison: Comparison, families: Sequence[Family], console: Console) -> None:
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
    return f"{source} to {destination}, protocol {packet.protocol}{ports}{icmp}, {' '.join(filter(None, way))}"


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
