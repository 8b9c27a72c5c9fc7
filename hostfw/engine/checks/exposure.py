"""Exposure of a change: the services that it closes and opens."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hostfw.build.generation import Generation
from hostfw.compile.object_names import failsafe_counter, rule_counter
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.context import Host
from hostfw.engine.members.external_members import with_members_now
from hostfw.exposure.forwarding import Forwards, forwarding_changes
from hostfw.exposure.services import Change, Kind, changes, exposure
from hostfw.exposure.wording import Line, change_lines, change_text, decision_text
from hostfw.host.errors import HostError
from hostfw.manifest.decode import DecodeCache
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.services import ExposureChange, HostServices
from hostfw.model.packets.explanation import Step
from hostfw.model.plan import Plan
from hostfw.model.values import address_text
from hostfw.model.wording import counted

ReadPackets = Callable[[Iterable[str]], Mapping[str, int]]
"""Gives what counters of the ruleset have seen, by name."""


@dataclass(frozen=True, slots=True)
class ExposureRequest:
    """The services that a change is judged by; `decoding` holds what files of the candidate said."""

    services: HostServices
    decoding: DecodeCache | None = None


def services_of(host: Host) -> HostServices | None:
    """The services of this host, or None where they cannot be listed: then nothing is said of them."""
    try:
        return host.services()
    except (HostError, OSError):
        return None


def exposure_of(before: Before, built: Generation, question: ExposureRequest | None) -> tuple[ExposureChange, ...]:
    """The exposure changes of putting a generation into force."""
    record = before.record()
    if question is None or (record is not None and record.id == built.id):
        return ()
    read_packets = before.host.read_packets
    old, new = before.in_force(), built.plan
    if old is not new:
        old = None if old is None else with_members_now(before.host, old)
        new = with_members_now(before.host, new)
    return exposure_changes(old, new, built.facts, question.services, read_packets, before.host.forwards)


def exposure_changes(
    before: Plan | None,
    after: Plan | None,
    facts: HostFacts,
    services: HostServices,
    read_packets: ReadPackets,
    forwards: Forwards,
) -> tuple[ExposureChange, ...]:
    """The exposure changes between two plans, None where no rules are in force; closed services come first.

    What the host forwards comes last.
    """
    if before is after:
        return ()
    passing = tuple(
        ExposureChange(kind == Kind.CLOSES, text) for kind, text in forwarding_changes(before, after, facts, forwards)
    )
    if not (services.services or services.published):
        return passing
    new = exposure(after, facts, services)
    found = tuple(changes(exposure(before, facts, services), new))
    lines = sorted(change_lines(found, new), key=lambda line: line.kind)
    names = {name for change in found for step in change.before if (name := _counter(step))}
    packets = _seen(names, read_packets)
    return (*(_said(line, _target_of(line, found), services, packets) for line in lines), *passing)


def _said(line: Line, behind: tuple[Change, ...], services: HostServices, packets: Mapping[str, int]) -> ExposureChange:
    text, whole = change_text(line), change_text(line, whole=True)
    peers = _peers(behind, services)
    return ExposureChange(
        line.kind == Kind.CLOSES,
        text,
        _answered(behind, peers, packets),
        whole if whole != text else "",
        peers if len(peers) > 1 else (),
    )


def _target_of(line: Line, found: Iterable[Change]) -> tuple[Change, ...]:
    """The changes that a line stands for."""
    return tuple(
        change
        for change in found
        if (change.kind, change.entry.subject, decision_text(change.step)) == (line.kind, line.subject, line.by)
        and change.entry.interface in line.interfaces
    )


def _peers(behind: Iterable[Change], services: HostServices) -> tuple[str, ...]:
    """The addresses that are connected to a closed service now, in order."""
    peers = {
        peer
        for change in behind
        if change.kind is Kind.CLOSES
        for peer in services.peers
        if (peer.protocol, peer.port, peer.family) == (*_port(change), change.entry.family)
        and any(part.holds(peer.family, peer.address) for part in change.sources)
    }
    there = sorted({(peer.family, peer.address) for peer in peers})
    return tuple(address_text(family, address) for family, address in there)


def _answered(behind: Iterable[Change], peers: tuple[str, ...], packets: Mapping[str, int]) -> str:
    """The users of a closed service: peers that are connected now, otherwise the packets that let them in."""
    if peers:
        more = f" and {len(peers) - 1} more" if len(peers) > 1 else ""
        verb = "are" if more else "is"
        return f"{peers[0]}{more} {verb} connected to it now"
    counters = {_counter(step) for change in behind if change.kind is Kind.CLOSES for step in change.before}
    seen = sum(packets.get(name, 0) for name in counters)
    return f"the rule that allowed it has counted {counted(seen, 'packet')}" if seen else ""


def _port(change: Change) -> tuple[int, int]:
    return change.entry.subject.protocol, change.entry.subject.port


def _counter(step: Step) -> str:
    """The counter of what let something in, if it has one of its own."""
    if step.rule is not None:
        return rule_counter(step.rule)
    return "" if step.failsafe is None else failsafe_counter(step.failsafe, step.direction)


def _seen(names: Iterable[str], read_packets: ReadPackets) -> Mapping[str, int]:
    try:
        return read_packets(sorted(names))
    except HostError:
        return {}
