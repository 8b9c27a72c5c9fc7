"""Conditions of rules of other firewalls in the words of policy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hostfw.importer.conditions import (
    EVERY_ICMP,
    EVERY_MAC,
    EVERY_PORT,
    EVERY_PROTOCOL,
    FOREIGN,
    IPSEC_OR_NOT,
    MAPPED,
    Condition,
    all_but,
)
from hostfw.manifest.kinds.rule import MACS_LIMIT
from hostfw.model.ranges import Ranges, bounds, cidrs_of, difference, every_address, holds, size, union
from hostfw.model.resources import EntityRule, Rule
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    PROTOCOLS,
    Action,
    Cidr,
    Family,
    Icmp,
    Mac,
    PortRange,
    Protocol,
)

_MAPPED_LENGTH = 96
_MOST_ALTERNATIVES = 32
"""Most protocols or ICMP messages of a rule that are written one by one."""
_MOST_MACS = 1024
"""Most Ethernet addresses of a rule, which become several rules where they are more than one may have."""
_NAMES = {protocol.number: protocol for protocol in PROTOCOLS.values()}


def rules_saying(condition: Condition, family: Family, action: Action) -> tuple[Rule, ...] | None:
    """The rules that say a condition, without the IP version; None if that takes too many."""
    if condition.macs != EVERY_MAC and size(condition.macs) > _MOST_MACS:
        return None
    if any(addresses != every_address(family) and not _cidrs(addresses, family) for addresses in _sides(condition)):
        return ()
    macs = tuple(_macs(condition.macs))
    if len(macs) > MACS_LIMIT:
        parts = [
            rules_saying(replace(condition, macs=_as_ranges(macs[at : at + MACS_LIMIT])), family, action)
            for at in range(0, len(macs), MACS_LIMIT)
        ]
        return None if None in parts else tuple(rule for part in parts for rule in part or ())
    base = Rule(
        action,
        source=replace(
            _entity(condition.source, family),
            macs=macs,
        ),
        destination=_entity(condition.destination, family),
        ipsec=None if condition.ipsec == IPSEC_OR_NOT else True in condition.ipsec,
    )
    # What no packet has is said in no rule.
    protocols = union(condition.protocols, FOREIGN[family])
    if size(all_but(protocols, EVERY_PROTOCOL)) > 1:
        protocols = difference(condition.protocols, FOREIGN[family])
    condition = replace(condition, protocols=protocols)
    found: list[Rule] = []
    without = all_but(condition.protocols, EVERY_PROTOCOL)
    narrowed = [number for number in _narrowed_protocols(condition, family) if _has(condition.protocols, number)]
    if not narrowed and not without:
        return (base,)
    if not narrowed and size(without) == 1:
        return (replace(base, not_protocol=_protocol(without[0], family)),)
    if size(condition.protocols) > _MOST_ALTERNATIVES:
        return None
    for first, last in bounds(condition.protocols):
        for number in range(first, last + 1):
            of_protocol = _of_protocol(replace(base, protocol=_protocol(number, family)), number, condition, family)
            if of_protocol is None:
                return None
            found += of_protocol
    return tuple(found)


def _macs(macs: Ranges) -> Iterator[Mac]:
    if macs != EVERY_MAC:
        yield from (Mac(value) for first, last in bounds(macs) for value in range(first, last + 1))


def _as_ranges(macs: Sequence[Mac]) -> Ranges:
    found: Ranges = ()
    for mac in macs:
        found = union(found, (mac.value, mac.value + 1))
    return found


def _narrowed_protocols(condition: Condition, family: Family) -> Iterator[int]:
    """The protocols of which not every packet matches."""
    if condition.source_ports != EVERY_PORT or condition.destination_ports != EVERY_PORT:
        yield from PORT_PROTOCOLS
    if condition.icmp != EVERY_ICMP:
        yield _icmp_number(family)


def _of_protocol(rule: Rule, number: int, condition: Condition, family: Family) -> tuple[Rule, ...] | None:
    if number in PORT_PROTOCOLS:
        return (
            replace(
                rule,
                source=_with_ports(rule.source, condition.source_ports),
                destination=_with_ports(rule.destination, condition.destination_ports),
            ),
        )
    if number != _icmp_number(family) or condition.icmp == EVERY_ICMP:
        return (rule,)
    others = tuple(_messages(all_but(condition.icmp, EVERY_ICMP)))
    if len(others) == 1:
        return (replace(rule, not_icmp=others[0]),)
    messages = tuple(_messages(condition.icmp))
    return tuple(replace(rule, icmp=one) for one in messages) if len(messages) <= _MOST_ALTERNATIVES else None


def _messages(icmp: Ranges) -> Iterator[Icmp]:
    """ICMP messages, whole types where every code is among them; type 255 is reserved, and no rule may have it."""
    for first, last in bounds(icmp):
        at = first
        while at <= last and at < 255 * 256:
            if at % 256 == 0 and at + 255 <= last:
                yield Icmp(at // 256)
                at += 256
            else:
                yield Icmp(at // 256, at % 256)
                at += 1


def _entity(addresses: Ranges, family: Family) -> EntityRule:
    whole = every_address(family)
    if addresses == whole:
        return EntityRule()
    wanted, others = _cidrs(addresses, family), _cidrs(all_but(addresses, whole), family)
    if not others:
        return EntityRule()
    return EntityRule(nets=wanted) if len(wanted) <= len(others) else EntityRule(not_nets=others)


def _cidrs(addresses: Ranges, family: Family) -> tuple[Cidr, ...]:
    return tuple(cidr for cidr in cidrs_of(addresses, family) if not _is_mapped(cidr))


def _sides(condition: Condition) -> tuple[Ranges, Ranges]:
    return condition.source, condition.destination


def _is_mapped(cidr: Cidr) -> bool:
    """True for a prefix of which no packet carries an address, and which no policy may have."""
    return cidr.family is Family.V6 and MAPPED[0] <= cidr.address < MAPPED[1] and cidr.length >= _MAPPED_LENGTH


def _with_ports(entity: EntityRule, ports: Ranges) -> EntityRule:
    if ports == EVERY_PORT:
        return entity
    wanted, others = _ranges(ports), _ranges(all_but(ports, EVERY_PORT))
    # A rule has no word for port 0, so a list that holds it is said by all others.
    return replace(entity, not_ports=others) if holds(ports, 0) else replace(entity, ports=wanted)


def _ranges(ports: Ranges) -> tuple[PortRange, ...]:
    return tuple(PortRange(first, last) for first, last in bounds(ports))


def _has(ranges: Ranges, value: int) -> bool:
    return any(first <= value <= last for first, last in bounds(ranges))


def _icmp_number(family: Family) -> int:
    return (ICMP if family is Family.V4 else ICMPV6).number


def _protocol(number: int, family: Family) -> Protocol:
    known = _NAMES.get(number)
    return known if known is not None and known.family in (None, family) else Protocol(number)
