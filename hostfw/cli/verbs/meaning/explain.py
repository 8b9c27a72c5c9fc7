"""`hostfwctl explain`: what happens to a packet under a configuration, and why."""

from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import replace

from hostfw.audit.attribution import policies_of
from hostfw.cli.command_line.arguments import add_each_file, add_facts, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.describe.rules import icmp_text, rules_by_identity
from hostfw.cli.explain.packet_path import PacketPath, find_packet_path
from hostfw.cli.explain.packet_query import QueryError, packet_query
from hostfw.cli.explain.trace import step_document, step_text, trace
from hostfw.cli.input.facts import PlannedHost, planned
from hostfw.cli.output.console import Console, ExitCode, Style, painted
from hostfw.cli.output.documents import Document, document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives, table
from hostfw.explain.nft_rules import nft_rules_met
from hostfw.explain.verdict import explain
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.packets.decisions import OF_LIMITS, Reason
from hostfw.model.packets.explanation import Explanation, Step, StepVerdict
from hostfw.model.packets.packet import ConntrackState, Packet
from hostfw.model.plan import Plan
from hostfw.model.settings import Failsafe
from hostfw.model.values import PROTOCOLS, Action, Icmp, address_text

_LABEL_COLUMNS = 11
_INDENT = "  "
_TRACE = (
    Column("", rank=2, least=24, gives=Gives.LINES),
    Column("", rank=1, least=24, gives=Gives.LINES),
    Column("", gives=Gives.BELOW),
)
"""A criterion, its result, and its place in a file."""


USAGE = "SRC DST[:PORT][/PROTO] [--in IF] [--out IF] [OPTION...]"
HELP = Page(
    """\
Show what happens to a packet under a configuration: the verdict, the policy rule or
other decision behind it with its file and line, and what was looked at before. It is
worked out from the policy; neither packets nor nftables are involved.

SRC and DST are addresses, names of HostEndpoints, or `host` for this host. An IPv6
address stands in brackets before a port: [fd00::1]:443. PROTO is tcp (the default
with a port), udp, sctp, udplite, icmp, icmpv6 or a number.

A packet for this host, or for a broadcast address of its networks, comes in (--in). A
packet from this host goes out (--out). Any other packet is forwarded, and has both
interfaces. If you leave an interface out, the routes of this host decide: back to the
source, or on to the destination; with --facts it is the interface with the default
route. The answer says what was assumed. A port that another program publishes (DNAT)
is answered for with its target; what that program itself denies is not looked at.

With -v every rule that was looked at is shown, and why it did not match. With -o json
or yaml this is a document of kind Explanation (hostfw.io/v1).""",
    """\
hostfwctl explain 203.0.113.9 host:443
hostfwctl explain 203.0.113.9 192.0.2.10:22 --in eth0 -v
hostfwctl explain host [2001:db8::53]:53/udp
hostfwctl explain 10.1.0.5 10.2.0.9:5432 --in lan0 --out lan1
hostfwctl explain 203.0.113.9 host --icmp 8 -f staging/ --facts web1.json""",
    """\
0   allowed
1   this host could not be observed
2   the question is wrong, or not enough to tell the interfaces
3   the configuration or the facts are invalid
10  denied""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    from hostfw.model.packets.packet import ConntrackState

    parser.add_argument("source", metavar="SRC", help="an address, the name of a HostEndpoint, or `host`")
    parser.add_argument(
        "destination", metavar="DST[:PORT][/PROTO]", help="likewise; without PORT and PROTO it is a ping"
    )
    parser.add_argument("--in", dest="in_interface", metavar="IF", help="the interface that the packet comes in on")
    parser.add_argument("--out", dest="out_interface", metavar="IF", help="the interface that it goes out on")
    parser.add_argument("--sport", dest="source_port", type=int, metavar="N", help="the source port (default: 49152)")
    parser.add_argument("--mac", metavar="MAC", help="the Ethernet address of the neighbour that it comes from")
    parser.add_argument("--ipsec", action="store_true", help="a packet that comes in through IPsec")
    parser.add_argument("--no-way-back", action="store_true", help="one to whose source no route leads back")
    parser.add_argument("--over-limit", action="store_true", help="one whose source is beyond the limits of rules")
    parser.add_argument("--answer", action="store_true", help="one that answers a question to multicast or broadcast")
    parser.add_argument("--icmp", metavar="TYPE[/CODE]", help="the ICMP type and code (default: an echo request)")
    parser.add_argument(
        "--state",
        choices=[state.value for state in ConntrackState],
        default=ConntrackState.NEW.value,
        metavar="STATE",
        help=f"{', '.join(ConntrackState)}: the state in connection tracking (default: {ConntrackState.NEW})",
    )
    add_each_file(parser)
    add_facts(parser, "the host that the packet meets")
    add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """Print the verdict on a packet, what decided, and the trace of what the packet met."""
    try:
        query = packet_query(options)
        host = planned(options, console)
        if isinstance(host, ExitCode):
            return host
        path = find_packet_path(query, host)
    except QueryError as error:
        console.complain(error.message, error.hint)
        return ExitCode.USAGE
    for name in (options.in_interface, options.out_interface):
        if name is not None and host.facts.interface(name) is None:
            console.warn(f'this host has no interface "{name}"; the answer is for one of that name')

    met = explain_all(host.plan, path.packets)
    without = without_failsafes(host.plan, path.packets) if _is_by_failsafe(met) else None
    if options.output is Output.TEXT:
        _print(met, without, path, host, console)
    else:
        console.data(document_text(_document(met, without, path, host), options.output))
    return ExitCode.DONE if met[-1].allowed else ExitCode.DENIED


def explain_all(plan: Plan, packets: Iterable[Packet]) -> tuple[Explanation, ...]:
    """The verdict on each packet in turn, up to the first that is denied."""
    met: list[Explanation] = []
    for packet in packets:
        met.append(explain(plan, packet))
        if not met[-1].allowed:
            break
    return tuple(met)


def without_failsafes(plan: Plan, packets: Iterable[Packet]) -> Explanation | None:
    """The explanation of a denial if no failsafe were open, or None if the packets would pass."""
    closed = replace(plan, settings=replace(plan.settings, failsafe=Failsafe((), ())))
    last = explain_all(closed, packets)[-1]
    return None if last.allowed else last


def deciders(explanation: Explanation) -> tuple[Step, ...]:
    """The deciding steps: one, or two for a packet that met the policy of two interfaces."""
    if not explanation.allowed:
        return (explanation.decided_by,)
    return tuple(step for step in explanation.steps if step.verdict is StepVerdict.ALLOW)


def _notes(step: Step, plan: Plan) -> tuple[str, str]:
    """The notes of the policy that a step is of, why it is there and its ticket; empty where it has none."""
    if step.rule is None:
        return "", ""
    key = (step.rule.kind, step.tier, step.policy)
    policies = (policy for policy in policies_of(plan) if (policy.kind, policy.tier, policy.name) == key)
    return next(((" ".join(policy.why.split()), policy.ticket) for policy in policies), ("", ""))


def _is_by_failsafe(met: Iterable[Explanation]) -> bool:
    return any(step.reason is Reason.FAILSAFE for explanation in met for step in explanation.steps)


# ------------------------------------------------------------------------------------------------------- for people


def _print(
    met: tuple[Explanation, ...], without: Explanation | None, path: PacketPath, host: PlannedHost, console: Console
) -> None:
    last = met[-1]
    word, style = ("allowed", Style.GOOD) if last.allowed else ("denied", Style.ERROR)
    label = f"{painted(word, style, on=console.colour_out)}{' ' * (_LABEL_COLUMNS - len(word))}"
    console.labelled(label, packet_text(last.packet), _LABEL_COLUMNS)
    steps = [step for explanation in met for step in explanation.steps]
    closed = without.decided_by if without is not None and last.allowed else None
    for name, texts in (
        ("by", map(_placed, deciders(last))),
        ("why", [text for step in deciders(last) if (text := ", ".join(filter(None, _notes(step, host.plan))))]),
        ("assumed", path.notes),
        ("nft", map(_not_modelled, nft_rules_met(host.plan, path.packets))),
        ("limit", map(_limited, (step for step in deciders(last) if step.limit is not None))),
        ("failsafe", [f"without it, this would be denied by {_placed(closed)}"] if closed is not None else []),
        ("logged", [_placed(step) for explanation in met for step in explanation.logged_by]),
        ("staged", [_placed(step) for explanation in met for step in explanation.staged]),
    ):
        for number, text in enumerate(texts):
            console.labelled(name if number == 0 else "", text, _LABEL_COLUMNS)
    console.data("")
    rows = list(trace(steps, rules_by_identity(host.plan), whole=console.verbosity > 0))
    width = None if console.width_out is None else console.width_out - len(_INDENT)
    aligned = iter(table(_TRACE, [row for row in rows if not isinstance(row, str)], width).rows)
    for row in rows:
        if isinstance(row, str):
            console.data(*(painted(line, Style.HEADING, on=console.colour_out) for line in console.filled(row)))
        else:
            console.data(*(f"{_INDENT}{line}" for line in next(aligned)))


def _placed(step: Step) -> str:
    """A step, and where it stands in a file if it does."""
    denied = step.reason in OF_LIMITS
    action = f" {Action.DENY if denied else step.action}" if step.rule else ""
    place = f"   {step.position.file_line}" if step.position.line else ""
    return f"{step_text(step)}{action}{place}"


def _not_modelled(one: NftRules) -> str:
    """NftRules that the packet meets before policy, and what they may do to it."""
    may = " or ".join(one.verdicts)
    does = f"may {may} it" if may else "may change it"
    return f"NftRules {one.metadata.name} ({one.metadata.position.file_line}) {does} at {one.hook}: not modelled"


def _limited(step: Step) -> str:
    """The limit that a verdict depends on."""
    if step.limit is None or step.reason in OF_LIMITS:
        return "as long as its source is beyond the limit of the rule"
    allowed = " and ".join(step.limit.parts)
    return f"up to {allowed} of its source; `--over-limit` asks about one beyond that"


def packet_text(packet: Packet) -> str:
    """A packet on one line."""
    source, destination = (address_text(packet.family, a) for a in (packet.source, packet.destination))
    if packet.has_ports:
        source = f"{_bracketed(source)}:{packet.source_port}"
        destination = f"{_bracketed(destination)}:{packet.destination_port}"
    more = (
        icmp_text(Icmp(packet.icmp_type, packet.icmp_code)) if packet.icmp_type is not None else "",
        _translated(packet),
        f"in on {packet.in_interface}" if packet.in_interface else "",
        f"out on {packet.out_interface}" if packet.out_interface else "",
        "" if packet.state is ConntrackState.NEW else packet.state.value,
    )
    return ", ".join((f"{_protocol(packet)} {source} -> {destination}", *filter(None, more)))


def _translated(packet: Packet) -> str:
    """The destination that the sender meant, where it is another."""
    if packet.original is None:
        return ""
    address = _bracketed(address_text(packet.family, packet.original.destination))
    return f"sent to {address}:{packet.original.destination_port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _protocol(packet: Packet) -> str:
    named = (p.name for p in PROTOCOLS.values() if p.number == packet.protocol and p.family in (None, packet.family))
    return next(named, f"protocol {packet.protocol}")


# ----------------------------------------------------------------------------------------------------- for programs


def _document(
    met: tuple[Explanation, ...], without: Explanation | None, path: PacketPath, host: PlannedHost
) -> Document:
    last = met[-1]
    return document(
        "Explanation",
        {
            "allowed": last.allowed,
            "node": host.plan.node,
            "packet": _packet_document(last.packet),
            "assumed": list(path.notes),
            "notModelled": [
                {
                    "name": one.metadata.name,
                    "hook": one.hook.value,
                    "verdicts": list(one.verdicts),
                    "file": one.metadata.position.file_line,
                }
                for one in nft_rules_met(host.plan, path.packets)
            ],
            "decidedBy": [
                {**step_document(step), **dict(zip(("why", "ticket"), _notes(step, host.plan), strict=True))}
                for step in deciders(last)
            ],
            "withoutFailsafes": step_document(without.decided_by) if without and last.allowed else None,
            "loggedBy": [step_document(step) for explanation in met for step in explanation.logged_by],
            "staged": [step_document(step) for explanation in met for step in explanation.staged],
            "steps": [step_document(step) for explanation in met for step in explanation.steps],
        },
    )


def _packet_document(packet: Packet) -> Document:
    return {
        "path": packet.path.value,
        "in": packet.in_interface,
        "out": packet.out_interface,
        "ipVersion": int(packet.family),
        "protocol": packet.protocol,
        "source": address_text(packet.family, packet.source),
        "sourcePort": packet.source_port,
        "destination": address_text(packet.family, packet.destination),
        "destinationPort": packet.destination_port,
        "originalDestination": address_text(packet.family, packet.original.destination) if packet.original else None,
        "originalDestinationPort": packet.original.destination_port if packet.original else None,
        "icmpType": packet.icmp_type,
        "icmpCode": packet.icmp_code,
        "state": packet.state.value,
    }
