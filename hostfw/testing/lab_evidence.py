"""What the host itself says of a packet: log records of those it denied, counters for those it let through."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from hostfw.audit.prefix import LogTag, decode
from hostfw.compile.names import failsafe_counter, rule_counter
from hostfw.engine.generation import Generation, build
from hostfw.engine.inspection import inspect
from hostfw.host.files import read_configuration
from hostfw.host.links import observe
from hostfw.host.nflog import NflogReader, NflogRecord
from hostfw.host.tables import read_tables
from hostfw.model.decisions import Reason
from hostfw.model.plan import Plan, PlannedRule
from hostfw.model.values import FAMILIES, PORT_PROTOCOLS, Action, Direction, Family, address_text
from hostfw.testing.lab_hostfwctl import Installation
from hostfw.testing.lab_namespace import LabError, Namespace, inside
from hostfw.testing.lab_probe import Sent

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
    """What let a packet of the family through in the meantime: ingress first, where a forwarded one met two rules."""
    names = [name for (of, name), count in after.items() if of is family and count > before.get((of, name), 0)]
    texts = sorted({deciders[name] for name in names if name in deciders}, key=lambda text: "ingress" not in text)
    return ", ".join(texts)


def generation_of(installation: Installation) -> Generation:
    """What the configuration of an installation comes to on its node, as hostfwctl would have it."""
    inspected = inspect(*read_configuration(installation.config))
    with inside(installation.node):
        facts = observe(inspected.settings.node)
    built = build(inspected, facts)
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
    """The log records of a node's denied packets, by packet."""

    def __init__(self, reader: NflogReader) -> None:
        self._reader = reader
        self._deniers: dict[Sent, str] = {}

    def denier(self, sent: Sent) -> str:
        """What denied the packet, in the words of its log record, or nothing if no record tells of it."""
        for record in self._reader.records(_RECORD_WAIT_S if sent not in self._deniers else 0):
            tag, packet = decode(record.prefix), _packet_of(record)
            if tag is not None and tag.action is Action.DENY and packet is not None:
                self._deniers[packet] = str(tag)
        return self._deniers.get(sent, "")


@contextmanager
def drop_log(installation: Installation) -> Iterator[DropLog]:
    """Read the log of an installation's node for the length of the block."""
    logging = generation_of(installation).plan.settings.logging
    with ExitStack() as stack:
        with inside(installation.node):
            reader = stack.enter_context(NflogReader(logging.group, logging.snaplen_bytes))
        yield DropLog(reader)


def _packet_of(record: NflogRecord) -> Sent | None:
    """The packet of a record, if it is one that a probe could have sent: no extension headers, no fragments."""
    data = record.payload
    if record.family is Family.V4:
        header_bytes, protocol, addresses = (data[0] & 0x0F) * 4, data[9], data[12:20]
    elif record.family is Family.V6:
        header_bytes, protocol, addresses = 40, data[6], data[8:40]
    else:
        return None
    half = len(addresses) // 2
    source, destination = (
        address_text(record.family, int.from_bytes(part, "big")) for part in (addresses[:half], addresses[half:])
    )
    transport = data[header_bytes:]
    if protocol in PORT_PROTOCOLS:
        source_port, destination_port = struct.unpack_from("!HH", transport)
        return Sent(record.family, protocol, source, source_port, destination, destination_port)
    identifier = int.from_bytes(transport[4:6], "big")
    return Sent(record.family, protocol, source, identifier, destination, None)
