"""Policy rules to planned rules: selectors and port names looked up, families settled, each with an identity."""

import json
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from hostfw.model.plan import ANY_SIDE, LINK_LOCAL, LocalNets, PlannedRule, PlannedSide, RuleIdentity
from hostfw.model.resources import LOCAL, EntityRule, Rule
from hostfw.model.values import Cidr, Direction, Mac, PortRange, Protocol, merge
from hostfw.policy.resolve.address_book import AddressBook
from hostfw.policy.rule_families import rule_families

_DIGEST_LENGTH = 12
_NO_RESTRICTION = EntityRule()


class Owner(NamedTuple):
    """The policy or profile that rules belong to, in one direction; `unrecorded` are its denials, each and all.

    Rules that nobody counts need no digest, which costs as much as all the rest of a rule.
    """

    kind: str
    tier: str
    name: str
    direction: Direction
    unrecorded: bool = False
    counted: bool = True


def plan_rules(rules: Iterable[Rule], owner: Owner, book: AddressBook) -> tuple[PlannedRule, ...]:
    """The rules of one policy and direction, in order."""
    seen: Counter[str] = Counter()
    planned = []
    for index, rule in enumerate(rules):
        # Of several protocols the rule asks for one, whatever the members of its port names are of.
        of_ports = None if rule.other_protocols else rule.protocol
        digest = rule_digest(rule, book) if owner.counted else ""
        identity = RuleIdentity(owner.kind, owner.tier, owner.name, owner.direction, digest, seen[digest], index)
        seen[digest] += 1
        planned.append(
            PlannedRule(
                identity=identity,
                action=rule.action,
                families=rule_families(rule),
                protocol=rule.protocol,
                not_protocol=rule.not_protocol,
                icmp=rule.icmp,
                not_icmp=rule.not_icmp,
                source=_planned_side(rule.source, of_ports, book),
                destination=_planned_side(rule.destination, of_ports, book),
                position=rule.position,
                other_protocols=rule.other_protocols,
                ipsec=rule.ipsec,
                limit=rule.limit,
                unrecorded=rule.may_deny and (owner.unrecorded or rule.unrecorded),
            )
        )
    return tuple(planned)


def rule_digest(rule: Rule, book: AddressBook) -> str:
    """The first 12 hexadecimal digits of SHA-256 over what a rule says.

    It stays the same through annotations, another spelling of a selector and another order within a list, and does
    not depend on what the selectors stand for or on the rule's place.
    """
    content = [
        rule.action.value,
        rule.ip_version,
        ",".join(sorted(map(str, rule.protocols))) or None,
        None if rule.not_protocol is None else str(rule.not_protocol),
        rule.icmp,
        rule.not_icmp,
        _side_content(rule.source, book),
        _side_content(rule.destination, book),
        # What no rule asked before a release must not change what its digest is of.
        *([["ipsec", rule.ipsec]] if rule.ipsec is not None else []),
        *([["limitPerSource", rule.limit.by_field]] if rule.limit is not None else []),
    ]
    text = json.dumps(content, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _side_content(side: EntityRule, book: AddressBook) -> list[list[str] | str] | None:
    if side == _NO_RESTRICTION:
        return None
    return [
        [*_texts(side.nets), *([LOCAL] if side.local else [])],
        [*_texts(side.not_nets), *([LOCAL] if side.not_local else [])],
        book.canonical(side.selector),
        book.canonical(side.not_selector),
        _texts(side.ports),
        _texts(side.not_ports),
        *([_texts(side.macs)] if side.macs else []),
    ]


def _texts(items: tuple[Cidr, ...] | tuple[Mac, ...] | tuple[PortRange | str, ...]) -> list[str]:
    return sorted({str(item) for item in items}) if items else []


def _planned_side(side: EntityRule, protocol: Protocol | None, book: AddressBook) -> PlannedSide:
    # To compare all fields takes as long as all the rest.
    if not side.ports and not side.nets and side == _NO_RESTRICTION:
        return ANY_SIDE
    nets = _merged((*side.nets, LINK_LOCAL) if side.local else side.nets)
    return PlannedSide(
        nets=nets if nets and not side.local else None,
        not_nets=_merged((*side.not_nets, LINK_LOCAL) if side.not_local else side.not_nets),
        address_set=book.address_set(side.selector),
        not_address_set=book.address_set(side.not_selector),
        # Only names: no number matches, which () says and None would not.
        ports=_ranges(side.ports) if side.ports else None,
        port_sets=tuple([book.port_set(name, side.selector, protocol) for name in _names(side.ports)]),
        not_ports=_ranges(side.not_ports),
        macs=tuple(sorted(set(side.macs))) if side.macs else (),
        not_port_sets=tuple([book.port_set(name, side.selector, protocol) for name in _names(side.not_ports)]),
        local=LocalNets(book.networks, nets) if side.local else None,
        not_local=book.networks if side.not_local else None,
    )


def _merged(nets: tuple[Cidr, ...]) -> tuple[Cidr, ...]:
    return nets if len(nets) < 2 else merge(nets)


def _names(ports: tuple[PortRange | str, ...]) -> list[str]:
    return sorted({port for port in ports if isinstance(port, str)}) if ports else []


def _ranges(ports: tuple[PortRange | str, ...]) -> tuple[PortRange, ...]:
    """The numeric ports, sorted, those that overlap as one."""
    if not ports:
        return ()
    if len(ports) == 1:
        return () if isinstance(ports[0], str) else (ports[0],)
    merged: list[PortRange] = []
    for port in sorted(port for port in ports if not isinstance(port, str)):
        if merged and port.first <= merged[-1].last:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, port.last))
        else:
            merged.append(port)
    return tuple(merged)
