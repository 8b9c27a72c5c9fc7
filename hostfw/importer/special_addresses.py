"""Kinds of addresses as the routing table has them, from what is known without it."""

from hostfw.importer.conditions import all_but
from hostfw.model.ranges import Ranges, every_address, ranges_of, union
from hostfw.model.values import Cidr, Family

_MULTICAST = {Family.V4: Cidr(Family.V4, 0xE0000000, 4), Family.V6: Cidr(Family.V6, 0xFF << 120, 8)}
_BROADCAST = Cidr(Family.V4, 0xFFFFFFFF, 32)


def addresses_of_kind(kind: str, family: Family) -> Ranges | None:
    """The destinations of a kind (iptables-extensions(8), addrtype); None for a kind that needs the routes.

    What reaches the host and is neither multicast nor broadcast is for an address of its own.
    """
    whole = every_address(family)
    multicast = ranges_of((_MULTICAST[family],), family)
    broadcast = ranges_of((_BROADCAST,), family)
    match kind:
        case "LOCAL" | "UNICAST":
            return all_but(union(multicast, broadcast), whole)
        case "MULTICAST":
            return multicast
        case "BROADCAST":
            return broadcast
        case "ANYCAST":
            return ()
        case _:
            return None
