"""The records that a host has of a packet: log records of denied ones, counters of those that passed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from hostfw.audit.attribution import attribution
from hostfw.audit.log_prefix import LogTag
from hostfw.audit.packet_event import EventAction, PacketEvent, packet_event
from hostfw.audit.packet_headers import Headers, headers
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.compile.object_names import failsafe_counter, rule_counter
from hostfw.host.network.interfaces.links import observe
from hostfw.host.nftables.nflog import NflogReader, NflogRecord
from hostfw.host.nftables.tables import read_tables
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.time.clock import now
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import Plan, PlannedRule
from hostfw.model.values import FAMILIES, Action, Direction, Family
from lab.hostfwctl import Installation
from lab.namespace import LabError, Namespace, inside
from lab.packets.probe import Sent

_RECORD_WAIT_S = 0.25
"""The kernel keeps a record for at most a tenth of a second to send it with others."""

Counters = Mapping[tuple[Family, str], int]
"""Packets by family and counter."""


def counters(node: Namespace) -> Counters:
    """The named counters of a node's tables."""
    with inside(node):
        tables = read_tables()
    return {(family, c.name): c.packets for family in FAMILIES for c in tables.of(family).counters}


def moved(before: Counters, after: Counters, deciders: Mapping[str, str], family: Family) -> str:
    """The counter that let a packet of the family pass: ingress first, where a forwarded one met two rules."""
    names = [name for (of, name), count in after.items() if of is family and count > before.get((of, name), 0)]
    texts = sorted({deciders[name] for name in names if name in deciders}, key=lambda text: "ingress" not in text)
    return ", ".join(texts)


def generation_of(installation: Installation) -> Generation:
    """The generation of an installation's configuration on its node, as hostfwctl would build it."""
    candidate = check_candidate(*read_configuration(installation.config))
    with inside(installation.node):
        facts = observe(candidate.settings.node)
    built = build(candidate, facts)
    if not isinstance(built, Generation):
        raise LabError("\n".join(str(problem) for problem in built.problems))
    return built


def counters_that_decide(installation: Installation) -> dict[str, str]:
    """The counters of what lets a packet through for good, in words; those of Pass and Log rules are not among them."""
    plan = generation_of(installation).plan
    deciders = {
        rule_counter(rule.identity): str(_tag(rule))
        for rule in _rules(plan)
        if rule.action in (Action.ALLOW, Action.DENY)
    }
    for direction, ports in zip(
        Direction, (plan.settings.failsafe.inbound, plan.settings.failsafe.outbound), strict=True
    ):
        deciders |= {failsafe_counter(port, direction): f"failsafe {port} ({direction})" for port in ports}
    return deciders


def _rules(plan: Plan) -> Iterator[PlannedRule]:
    for endpoint in plan.endpoints:
        for direction in Direction:
            planned = endpoint.direction(direction)
            for tier in (*planned.tiers, *planned.forward_tiers):
                for policy in tier.policies:
                    yield from policy.rules
            for profile in planned.profiles:
                yield from profile.rules


def _tag(rule: PlannedRule) -> LogTag:
    identity = rule.identity
    return LogTag(rule.action, identity.direction, Reason.RULE, identity.tier, identity.policy, identity.index)


class DropLog:
    """The audit records of a node's denied packets, by packet."""

    def __init__(self, reader: NflogReader, generation: Generation) -> None:
        self._reader = reader
        self._attribution = attribution(generation.plan, generation.id)
        self._interfaces = {interface.index: interface.name for interface in generation.facts.interfaces}
        self._records: dict[Sent, PacketEvent] = {}

    def denier(self, sent: Sent) -> str:
        """The decision that denied the packet, in the words of its log record; empty without a record."""
        event = self.record(sent)
        return event.by if event else ""

    def record(self, sent: Sent) -> PacketEvent | None:
        """The audit record of the packet's denial."""
        self._read(_RECORD_WAIT_S if sent not in self._records else 0)
        return self._records.get(sent)

    def denials(self) -> tuple[PacketEvent, ...]:
        """The audit records of all denied packets so far, those of equal packets once."""
        self._read(_RECORD_WAIT_S)
        return tuple(self._records.values())

    def _read(self, wait_s: float) -> None:
        for record in self._reader.records(wait_s):
            event = self._event(record)
            if event is not None and event.action is EventAction.DENY:
                self._records.setdefault(_sent(event.packet), event)

    def _event(self, record: NflogRecord) -> PacketEvent | None:
        moment = now() if record.timestamp is None else datetime.fromtimestamp(record.timestamp, UTC)
        interfaces = self._interfaces.get(record.indev, ""), self._interfaces.get(record.outdev, "")
        packet = headers(record.payload, record.family)
        return packet_event(record.prefix, packet, interfaces, moment, self._attribution)


@contextmanager
def drop_log(installation: Installation) -> Iterator[DropLog]:
    """Read the log of an installation's node for the length of the block."""
    generation = generation_of(installation)
    logging = generation.plan.settings.logging
    with ExitStack() as stack:
        with inside(installation.node):
            reader = stack.enter_context(NflogReader(logging.group, logging.snaplen_bytes))
        yield DropLog(reader, generation)


def _sent(packet: Headers) -> Sent:
    """The packet as a probe knows it: an echo request by its identifier."""
    return Sent(
        packet.family or Family.V4,
        packet.protocol or 0,
        packet.source_text,
        (packet.source_port if packet.icmp_id is None else packet.icmp_id) or 0,
        packet.destination_text,
        packet.destination_port,
    )
