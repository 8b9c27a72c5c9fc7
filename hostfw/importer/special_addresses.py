"""Kinds of addresses as the routing table has them, from what is known without it."""

from dataclasses import replace

from hostfw.importer.conditions import all_but
from hostfw.importer.rule_set import ForeignRules, Hook
from hostfw.model.ranges import Ranges, every_address, ranges_of, union
from hostfw.model.values import Cidr, Family

_MULTICAST = {Family.V4: Cidr(Family.V4, 0xE0000000, 4), Family.V6: Cidr(Family.V6, 0xFF << 120, 8)}
_BROADCAST = {Family.V4: (Cidr(Family.V4, 0, 32), Cidr(Family.V4, 0xFFFFFFFF, 32)), Family.V6: ()}
"""Addresses that are broadcasts to the kernel whatever routes there are (`inet_addr_type`)."""
ROUTED_KINDS = frozenset({"LOCAL", "UNICAST", "BROADCAST", "ANYCAST"})
"""Kinds that the routing table tells."""


def addresses_of_kind(kind: str, family: Family) -> Ranges | None:
    """The destinations of a kind (iptables-extensions(8), addrtype); None for a kind that needs the routes.

    What reaches the host and is neither multicast nor broadcast is for an address of its own.
    """
    whole = every_address(family)
    multicast = ranges_of((_MULTICAST[family],), family)
    broadcast = ranges_of(_BROADCAST[family], family)
    match kind:
        case "LOCAL":
            return all_but(union(multicast, broadcast), whole)
        case "MULTICAST":
            return multicast
        case "BROADCAST":
            return broadcast
        case "ANYCAST":
            return ()
        case _:
            return None


def without_kinds_elsewhere(rules: ForeignRules) -> ForeignRules:
    """The same rules, where none of those that see packets for others says more of a destination than is known.

    A packet that comes in is for an address of this host. Which of those that are sent or forwarded are, routes tell.
    """
    elsewhere = {id(rule) for hook in (Hook.FORWARD, Hook.OUTPUT) for rule in rules.reached(hook)}
    chains = {
        name: tuple(
            replace(rule, unsaid="which addresses are of this host, in what it sends or forwards")
            if id(rule) in elsewhere and not rule.unsaid and rule.by_kind
            else rule
            for rule in listed
        )
        for name, listed in rules.chains.items()
    }
    return replace(rules, chains=chains)
