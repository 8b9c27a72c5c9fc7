"""The block: a table of its own that blocks all traffic except current ssh sessions.

It stands beside our other tables, so no generation knows of it: whatever is applied, rolled back or repaired there goes
on below, and what the block drops stays dropped, since a drop in any base chain is final. Its table is one object: it
comes and goes in one transaction each.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from hostfw.model.host.baseline import Lease, LeaseKind, Session
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.values import ICMPV6, TCP, UDP, Cidr, Family, PortRange, Protocol, host_cidr
from hostfw.nft.objects import Hook
from hostfw.nft.rule_text import rule_text
from hostfw.nft.rules import Accept, CounterRef, Drop, Key, Match, Rule

BLOCK_TABLE = "hostfw-block"
"""Its name in the family inet: one table for IPv4 and IPv6."""
BLOCK_COUNTERS = ("in", "out", "forward")
"""The named counters of what it dropped, by hook."""

_PRIORITY = -190
"""Behind connection tracking (-200), so that it never meets half a packet, and before everything else of a filter."""
_HOOKS = {"in": Hook.INPUT, "out": Hook.OUTPUT, "forward": Hook.FORWARD}
_NOT_A_BEGINNING = Match(Key.TCP_SYN, "syn", negated=True)
_NEIGHBOURS = (Match(Key.ICMP_TYPE, PortRange(133, 136)), Match(Key.HOP_LIMIT, 255))
_DHCP_PORTS = {Family.V4: (68, 67), Family.V6: (546, 547)}
"""Of the client and of the server."""

_PlacedRule = tuple[str, Family, Rule]
"""The chain of a rule, and the family whose header fields it names."""


def block_script(sessions: Iterable[Session], leases: Iterable[Lease], *, everything: bool = False) -> str:
    """The transaction that blocks the host, or replaces a block that is there.

    These ssh sessions go on, by addresses and ports, so that no other connection can take their place; with them
    neighbour discovery, errors that path MTU discovery needs, and the renewal of the host's own addresses, apart from
    the leases that `inexpressible` names. With `everything` not even those; the host still talks to itself on lo.
    """
    if everything:
        return _script(())
    return _script(chain(chain.from_iterable(map(_of_session, sessions)), _needed(leases)))


def boot_block_script(sessions: Iterable[Session], leases: Iterable[Lease], *, everything: bool = False) -> str:
    """The same for a boot, which no session survives: who had one may begin another, from the same address."""
    if everything:
        return _script(())
    peers = dict.fromkeys((session.family, session.peer, session.local_port) for session in sessions)
    return _script(chain(chain.from_iterable(_of_peer(*peer) for peer in peers), _needed(leases)))


def inexpressible(leases: Iterable[Lease]) -> tuple[str, ...]:
    """The interfaces of leases by DHCP whose name nftables cannot match, so that a block stops their renewal."""
    by_dhcp = (lease.interface for lease in leases if lease.kind is LeaseKind.DHCP)
    return tuple(sorted({name for name in by_dhcp if not is_safe_name(name)}))


def _script(rules: Iterable[_PlacedRule]) -> str:
    """In the forms that libnftables 1.0.6 survives beside tables of a newer nft: no table block, no `add rule`."""
    table = f"inet {BLOCK_TABLE}"
    lines = [f"add table {table}", f"flush table {table}"]
    lines += [f"add counter {table} {name}" for name in BLOCK_COUNTERS]
    by_chain: dict[str, list[str]] = {name: [] for name in _HOOKS}
    for name, family, rule in chain(_of_loopback(), rules):
        by_chain[name].append(rule_text(rule, family))
    for name, accepted in by_chain.items():
        hook = f"type filter hook {_HOOKS[name]} priority {_PRIORITY}; policy drop;"
        lines.append(f"add chain {table} {name} {{ {hook} }}")
        lines.append(f"add chain {table} {name} {{")
        dropped = rule_text(Rule((), (CounterRef(name), Drop())), Family.V4)
        lines += [f"\t{rule}" for rule in (*dict.fromkeys(accepted), dropped)]
        lines.append("}")
    return "".join(f"{line}\n" for line in lines)


def _accept(name: str, family: Family, *matches: Match) -> _PlacedRule:
    return name, family, Rule(matches, (Accept(),))


def _of_loopback() -> Iterator[_PlacedRule]:
    yield _accept("in", Family.V4, Match(Key.IIFNAME, LOOPBACK))
    yield _accept("out", Family.V4, Match(Key.OIFNAME, LOOPBACK))


def _of_session(session: Session) -> Iterator[_PlacedRule]:
    peer, local = (host_cidr(session.family, address) for address in (session.peer, session.local))
    there, here = (peer, session.peer_port), (local, session.local_port)
    yield _accept("in", session.family, *_socket_pair(there, here), _NOT_A_BEGINNING)
    yield _accept("out", session.family, *_socket_pair(here, there), _NOT_A_BEGINNING)


def _socket_pair(source: tuple[Cidr, int], destination: tuple[Cidr, int]) -> Iterator[Match]:
    yield from (Match(Key.SADDR, source[0]), Match(Key.DADDR, destination[0]), _protocol(TCP))
    yield from (_port(Key.SPORT, source[1]), _port(Key.DPORT, destination[1]))


def _of_peer(family: Family, peer: int, port: int) -> Iterator[_PlacedRule]:
    address = host_cidr(family, peer)
    yield _accept("in", family, Match(Key.SADDR, address), _protocol(TCP), _port(Key.DPORT, port))
    answer = (Match(Key.DADDR, address), _protocol(TCP), _port(Key.SPORT, port), _NOT_A_BEGINNING)
    yield _accept("out", family, *answer)


def _needed(leases: Iterable[Lease]) -> Iterator[_PlacedRule]:
    """The packets without which a session would end in time."""
    for name in ("in", "out"):
        yield _accept(name, Family.V6, *_NEIGHBOURS)
    related = Match(Key.CT_STATE, "related")
    # An ICMP redirect is related too, and would change where the sessions' packets go.
    yield _accept("in", Family.V4, related, Match(Key.ICMP_TYPE, 5, negated=True))
    yield _accept("in", Family.V6, related, _protocol(ICMPV6))
    for lease in leases:
        if lease.kind is LeaseKind.DHCP and is_safe_name(lease.interface):
            yield from _of_lease(lease)


def _of_lease(lease: Lease) -> Iterator[_PlacedRule]:
    client, server = _DHCP_PORTS[lease.family]
    # ip6 has no field that says so by itself, as saddr or the like would.
    family = Match(Key.NFPROTO, "ipv4" if lease.family is Family.V4 else "ipv6")
    for name, key, source, destination in (
        ("in", Key.IIFNAME, server, client),
        ("out", Key.OIFNAME, client, server),
    ):
        ports = (_protocol(UDP), _port(Key.SPORT, source), _port(Key.DPORT, destination))
        yield _accept(name, lease.family, Match(key, lease.interface), family, *ports)


def _protocol(protocol: Protocol) -> Match:
    """By number: where netbase is not installed, nft does not know the names."""
    return Match(Key.PROTOCOL, PortRange(protocol.number, protocol.number))


def _port(key: Key, port: int) -> Match:
    return Match(key, PortRange(port, port))
