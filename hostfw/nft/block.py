"""The block: a table of its own that lets nothing pass but what holds on to the host.

It stands beside our other tables, so no generation knows of it: whatever is applied, rolled back or repaired there goes
on below, and what the block drops stays dropped, since a drop in any base chain is final. Its table is one object: it
comes and goes in one transaction each.
"""

from collections.abc import Iterable, Iterator

from hostfw.model.evidence import Lease, LeaseKind, Session
from hostfw.model.values import Family, address_text

BLOCK_TABLE = "hostfw-block"
"""Its name in the family inet: one table for IPv4 and IPv6."""
BLOCK_COUNTERS = ("in", "out", "forward")
"""The named counters of what it dropped, by hook."""

_PRIORITY = -190
"""Behind connection tracking (-200), so that it never meets half a packet, and before everything else of a filter."""
_NOT_A_BEGINNING = "tcp flags & (syn | ack) != syn"
_HOOKS = {"in": "input", "out": "output", "forward": "forward"}


def block_script(sessions: Iterable[Session], leases: Iterable[Lease], *, everything: bool = False) -> str:
    """The transaction that blocks the host, or replaces a block that is there.

    These ssh sessions go on, by addresses and ports, so that no other connection can take their place; with them
    neighbour discovery, errors that path MTU discovery needs, and the renewal of the host's own addresses. With
    `everything` not even those; the host still talks to itself on lo.
    """
    if everything:
        return _script(())
    of_sessions = (rule for session in sessions for rule in _of_session(session))
    return _script((*of_sessions, *_needed(leases)))


def boot_block_script(sessions: Iterable[Session], leases: Iterable[Lease], *, everything: bool = False) -> str:
    """The same for a boot, which no session survives: who had one may begin another, from the same address."""
    if everything:
        return _script(())
    peers = dict.fromkeys((session.family, session.peer, session.local_port) for session in sessions)
    of_peers = (rule for peer in peers for rule in _of_peer(*peer))
    return _script((*of_peers, *_needed(leases)))


def _script(rules: Iterable[tuple[str, str]]) -> str:
    """In the forms that libnftables 1.0.6 survives beside tables of a newer nft: no table block, no `add rule`."""
    table = f"inet {BLOCK_TABLE}"
    lines = [f"add table {table}", f"flush table {table}"]
    lines += [f"add counter {table} {name}" for name in BLOCK_COUNTERS]
    by_chain = {"in": ['iifname "lo" accept'], "out": ['oifname "lo" accept'], "forward": list[str]()}
    for chain, rule in rules:
        by_chain[chain].append(rule)
    for chain, accepted in by_chain.items():
        hook = f"type filter hook {_HOOKS[chain]} priority {_PRIORITY}; policy drop;"
        lines.append(f"add chain {table} {chain} {{ {hook} }}")
        lines.append(f"add chain {table} {chain} {{")
        lines += [f"\t{rule}" for rule in (*dict.fromkeys(accepted), f'counter name "{chain}" drop')]
        lines.append("}")
    return "".join(f"{line}\n" for line in lines)


def _of_session(session: Session) -> Iterator[tuple[str, str]]:
    ip = session.family.nft
    peer, local = (address_text(session.family, address) for address in (session.peer, session.local))
    there, here = f"{ip} {{way}} {peer}", f"{ip} {{way}} {local}"
    yield (
        "in",
        (
            f"{there.format(way='saddr')} {here.format(way='daddr')} "
            f"tcp sport {session.peer_port} tcp dport {session.local_port} {_NOT_A_BEGINNING} accept"
        ),
    )
    yield (
        "out",
        (
            f"{here.format(way='saddr')} {there.format(way='daddr')} "
            f"tcp sport {session.local_port} tcp dport {session.peer_port} {_NOT_A_BEGINNING} accept"
        ),
    )


def _of_peer(family: Family, peer: int, port: int) -> Iterator[tuple[str, str]]:
    address = address_text(family, peer)
    yield "in", f"{family.nft} saddr {address} tcp dport {port} accept"
    yield "out", f"{family.nft} daddr {address} tcp sport {port} {_NOT_A_BEGINNING} accept"


def _needed(leases: Iterable[Lease]) -> Iterator[tuple[str, str]]:
    """What a session would die of in time, were it dropped."""
    for chain in ("in", "out"):
        yield chain, "icmpv6 type 133-136 ip6 hoplimit 255 accept"
    # ICMP and ICMPv6 by number: where netbase is not installed, nft does not know their names.
    yield "in", "ct state related meta l4proto 1 accept"
    yield "in", "ct state related meta l4proto 58 accept"
    for lease in leases:
        if lease.kind is LeaseKind.DHCP:
            client, server = (68, 67) if lease.family is Family.V4 else (546, 547)
            of = "ipv4" if lease.family is Family.V4 else "ipv6"
            on = f'"{lease.interface}" meta nfproto {of}'
            yield "in", f"iifname {on} udp sport {server} udp dport {client} accept"
            yield "out", f"oifname {on} udp sport {client} udp dport {server} accept"
