"""Packet events: what a log record says, in full."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce

from hostfw.audit.attribution import Attribution, possible_generations
from hostfw.audit.log_prefix import SHORTENED, LogTag, decode
from hostfw.audit.packet_headers import Headers
from hostfw.model.packets.decisions import Reason
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.values import Action, Direction, Family

_NOTE_LIMIT = 200
"""Most characters of a note in an entry."""

IDENTIFIER = "hostfw"
"""SYSLOG_IDENTIFIER: `journalctl -t hostfw`."""


class EventAction(StrEnum):
    """The fate of a packet: denied, logged by a Log rule, or something that a staged policy would have done."""

    DENY = "deny"
    LOG = "log"
    WOULD_ALLOW = "would-allow"
    WOULD_DENY = "would-deny"
    WOULD_LOG = "would-log"
    WOULD_PASS = "would-pass"


_ACTIONS = {(Action.DENY, False): EventAction.DENY, (Action.LOG, False): EventAction.LOG} | {
    (action, True): EventAction(f"would-{action.lower()}") for action in Action
}
_WORDS = {EventAction.DENY: "denied", EventAction.LOG: "logged"}


@dataclass(frozen=True, slots=True)
class PacketEvent:
    """One packet, or several similar ones (`count`), and what decided.

    Names are empty where there is none or none is known. `interface` is the one at which the packet met the policy of
    `direction`; a forwarded packet has both of the others. `kind` and `origin` (`path:line`) are those of the policy
    rule, `why` and `ticket` the notes of its policy. Of a packet that stands for several, the header fields that they
    differ in are None. `of_guest` is whether it is a workload's policy that it met.
    """

    action: EventAction
    direction: Direction
    reason: Reason
    tier: str
    policy: str
    rule: int | None
    kind: str
    origin: str
    endpoint: str
    in_interface: str
    out_interface: str
    packet: Headers
    generation: str
    first: datetime
    last: datetime
    count: int = 1
    why: str = ""
    ticket: str = ""
    of_guest: bool = False

    @property
    def interface(self) -> str:
        """The interface at which the packet was decided. A workload sends its egress in on its own."""
        if self.of_guest:
            return self.in_interface if self.direction is Direction.EGRESS else self.out_interface
        return self.in_interface if self.direction is Direction.INGRESS else self.out_interface

    @property
    def by(self) -> str:
        """The decision, in the words of `make try` and log prefixes: `default/web ingress[0]`."""
        return plain(str(LogTag(Action.DENY, self.direction, self.reason, self.tier, self.policy, self.rule)))

    @property
    def source(self) -> str:
        """The source of the packet, with the port if it is known."""
        return _end(self.packet.family, self.packet.source_text, self.packet.source_port)

    @property
    def destination(self) -> str:
        """The destination of the packet, with the port if it is known."""
        return _end(self.packet.family, self.packet.destination_text, self.packet.destination_port)

    @property
    def protocol(self) -> str:
        """Its protocol, with type and code of an ICMP message: `ICMP 8/0`."""
        packet = self.packet
        kind = "" if packet.icmp_type is None else f" {packet.icmp_type}/{packet.icmp_code}"
        return f"{packet.protocol_text}{kind}"


def packet_event(
    prefix: str,
    packet: Headers,
    interfaces: tuple[str, str],
    moment: datetime,
    attribution: Attribution,
) -> PacketEvent | None:
    """The event of a log record; None if its prefix is not hostfw's.

    `interfaces` are the names of the ways in and out, each empty where there is none or none is known.
    """
    found = decode(prefix)
    if found is None:
        return None
    action = _ACTIONS.get((found.action, found.staged))
    if action is None:
        return None
    way_in, way_out = interfaces
    tag = attribution.with_full_names(found)
    rule = attribution.rules.get(found)
    guest_way = way_in if tag.direction is Direction.EGRESS else way_out
    ends = (packet.family, packet.source), (packet.family, packet.destination)
    guest_end = ends[0] if tag.direction is Direction.EGRESS else ends[1]
    of_guest = attribution.met_at_guest(tag, guest_way, guest_end)
    interface = guest_way if of_guest else way_in if tag.direction is Direction.INGRESS else way_out
    unmanaged = tag.reason is Reason.UNMANAGED
    return PacketEvent(
        action=action,
        direction=tag.direction,
        reason=tag.reason,
        tier=tag.tier,
        policy=tag.policy,
        rule=tag.index,
        kind=rule.kind if rule else "",
        origin=rule.origin if rule else "",
        endpoint=UNIDENTIFIED
        if tag.reason is Reason.UNIDENTIFIED
        else ""
        if unmanaged
        else attribution.endpoint(
            interface, guest_end if of_guest else (None, None), forwarded=bool(way_in and way_out)
        ),
        in_interface=way_in,
        out_interface=way_out,
        packet=packet,
        generation=attribution.generation,
        first=moment,
        last=moment,
        why=_note(rule.why) if rule else "",
        ticket=_note(rule.ticket) if rule else "",
        of_guest=of_guest,
    )


def _note(text: str) -> str:
    """A note on one line, and short enough for every entry."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= _NOTE_LIMIT else f"{line[: _NOTE_LIMIT - 3]}..."


def event_from_candidates(
    prefix: str,
    packet: Headers,
    interfaces: tuple[str, str],
    moment: datetime,
    generations: Sequence[Attribution],
) -> PacketEvent | None:
    """The event of a record of one of several generations: the parts on which all of them agree."""
    tag = decode(prefix)
    if tag is None:
        return None
    found = [packet_event(prefix, packet, interfaces, moment, of) for of in possible_generations(tag, generations)]
    events = [event for event in found if event is not None]
    return reduce(_agreed, events) if events else None


def _agreed(one: PacketEvent, other: PacketEvent) -> PacketEvent:
    """The parts on which two readings of a record agree. Names differ only where one of them is shortened."""
    return replace(
        one,
        tier=other.tier if SHORTENED in one.tier else one.tier,
        policy=other.policy if SHORTENED in one.policy else one.policy,
        kind=one.kind if one.kind == other.kind else "",
        origin=one.origin if one.origin == other.origin else "",
        endpoint=one.endpoint if one.endpoint == other.endpoint else "",
        generation=one.generation if one.generation == other.generation else "",
        why=one.why if one.why == other.why else "",
        ticket=one.ticket if one.ticket == other.ticket else "",
        of_guest=one.of_guest and other.of_guest,
    )


def message(event: PacketEvent) -> str:
    """The event as one line for people and grep."""
    word = _WORDS.get(event.action) or event.action.replace("-", " ")
    ends = f"{event.source or '?'} -> {event.destination or '?'}"
    where = f" on {plain(event.interface)}" if event.interface else ""
    origin = f" ({plain(event.origin)})" if event.origin else ""
    times = f", {event.count} times" if event.count > 1 else ""
    return f"{word} {event.direction} {event.protocol or 'packet'} {ends}{where} by {event.by}{origin}{times}"


def plain(text: str) -> str:
    """The text on one line: a log prefix may be another program's, or a name from a process, and hold anything."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _end(family: Family | None, address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if family is Family.V6 else f"{address}:{port}"
