"""Rules that can match no packet, because what they ask for excludes itself.

Calico accepts them, so they are warnings: the rule is enforced as written, which is not at all.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hostfw.model.ranges import difference, ranges_of
from hostfw.model.resources import LOCAL, EntityRule, Rule
from hostfw.model.values import FAMILIES, ICMP, ICMPV6, Family, Icmp, PortRange, Protocol
from hostfw.model.wording import listed
from hostfw.policy.rule_families import rule_families

_ICMP_OF = {ICMP.number: Family.V4, ICMPV6.number: Family.V6}
"""The IP version that a protocol by number is of: Calico refuses it beside an ipVersion of the other."""


class Finding(NamedTuple):
    """A sentence about a rule, and what to do."""

    message: str
    hint: str


def findings_of(rule: Rule) -> Iterator[Finding]:
    """The first reason why no packet matches a rule; without one, what of the rule has no effect."""
    reason = next(_reasons(rule), None)
    if reason is not None:
        yield Finding(f"no packet matches this rule: {reason}", "remove one of the two, or the rule")
        return
    if rule.protocols and rule.not_protocol is not None:
        yield _about_not_protocol(rule, rule.not_protocol)
    if rule.not_icmp is not None and rule.protocols and not any(_is_icmp(one.number) for one in rule.protocols):
        named = listed(map(str, rule.protocols))
        yield Finding(f"notICMP excludes nothing, because the rule is for {named}", "remove notICMP")


def _about_not_protocol(rule: Rule, excluded: Protocol) -> Finding:
    """The finding about a notProtocol beside protocols, of which it leaves some."""
    named = [one for one in rule.protocols if one.number == excluded.number]
    if named:
        return Finding(f"notProtocol excludes {named[0]}, which protocol lists", f"remove {named[0]} from both")
    listed_ = listed(map(str, rule.protocols))
    return Finding(f"notProtocol excludes nothing, because the rule is for {listed_}", "remove notProtocol")


def _reasons(rule: Rule) -> Iterator[str]:
    if rule.protocols and rule.not_protocol is not None:
        numbers = {one.number for one in rule.protocols}
        if numbers == {rule.not_protocol.number}:
            yield f"notProtocol excludes {rule.protocols[0]}, which protocol asks for"
    if rule.icmp is not None and rule.not_icmp is not None and _includes(rule.not_icmp, rule.icmp):
        yield "notICMP excludes the type that icmp asks for"
    families = rule_families(rule)
    if not families:
        yield "its protocol, ipVersion and prefixes are of different IP versions"
    elif rule.protocols and all(_ICMP_OF.get(one.number, families[0]) not in families for one in rule.protocols):
        named = rule.protocols[0]
        yield f"protocol {named} is that of IPv{_ICMP_OF[named.number]:d}, and its prefixes are of the other IP version"
    for name, side in (("source", rule.source), ("destination", rule.destination)):
        yield from _reasons_of_side(name, side)


def _reasons_of_side(name: str, side: EntityRule) -> Iterator[str]:
    if (
        side.nets
        and not side.local
        and side.not_nets
        and not any(difference(ranges_of(side.nets, family), ranges_of(side.not_nets, family)) for family in FAMILIES)
    ):
        yield f"notNets of its {name} excludes every address of nets"
    elif side.local and side.not_local and not side.nets:
        yield f"notNets of its {name} excludes {LOCAL}, which is all of nets"
    # Without ports there is always port 0, which no list of notPorts can have.
    named = any(isinstance(port, str) for port in side.ports)
    if side.ports and not named and all(_within(one, _numbers(side.not_ports)) for one in _numbers(side.ports)):
        yield f"notPorts of its {name} excludes every port of ports"


def _is_icmp(number: int) -> bool:
    return number in _ICMP_OF


def _includes(wider: Icmp, narrower: Icmp) -> bool:
    return wider.type == narrower.type and wider.code in (None, narrower.code)


def _numbers(ports: Iterable[PortRange | str]) -> list[PortRange]:
    """The ports of a list that are given by number, in order."""
    return sorted(port for port in ports if not isinstance(port, str))


def _within(ports: PortRange, ranges: Iterable[PortRange]) -> bool:
    """True if ranges in order leave out no port of another."""
    first = ports.first
    for one in ranges:
        if one.first <= first:
            first = max(first, one.last + 1)
    return first > ports.last
