"""The addresses of a question about a packet: those of names, and what the routing of the host makes of them."""

from collections.abc import Iterable

from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.explain.packet_query import HOST, Address, PacketQuery, Party, QueryError
from hostfw.cli.input.facts import PlannedHost
from hostfw.explain.governing import governing_endpoint
from hostfw.host.network.routing import Routed, RouteKind
from hostfw.model.host.facts import Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.values import FAMILIES, Cidr, Family, address_text, parse_cidr


def _nets(*texts: str) -> tuple[Cidr, ...]:
    """The prefixes of texts."""
    return tuple(cidr for text in texts if (cidr := parse_cidr(text)) is not None)


LINK_LOCAL = _nets("169.254.0.0/16", "fe80::/10")
LOOPBACK_NETS = _nets("127.0.0.0/8", "::1/128")
TO_MANY = _nets("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
"""Multicast, and the broadcast of a link: what comes in with such a destination is for the host."""


def addresses_of(query: PacketQuery, host: PlannedHost) -> tuple[Address, Address]:
    """Both addresses; a name stands for an address of the family that the rest of the question has."""
    families = FAMILIES if query.family is None else (query.family,)
    for family in families:
        source = _address(query.source, family, query.out_interface, host)
        destination = _address(query.destination, family, query.in_interface, host)
        if source is not None and destination is not None:
            if query.source == HOST and query.out_interface is None:
                source = _preferred_source(destination, host) or source
            return source, destination
    for party, interface in ((query.source, query.out_interface), (query.destination, query.in_interface)):
        if all(_address(party, family, interface, host) is None for family in families):
            which = f"IPv{families[0]:d} address" if len(families) == 1 else "address"
            where = f" on {interface}" if party == HOST and interface is not None else ""
            raise QueryError(f"{party} has no {which}{where}", "write the address")
    raise QueryError("SRC and DST have no IP version in common", "write the addresses")


def _preferred_source(destination: Address, host: PlannedHost) -> Address | None:
    """The address that the host sends from to another one, as its routing has it; None where that is not known."""
    found = routed_now(destination, host)
    usable = found is not None and found.kind is not RouteKind.LOCAL and found.source is not None
    return Address(destination.family, found.source) if found is not None and usable and found.source else None


def _address(party: Party, family: Family, interface: str | None, host: PlannedHost) -> Address | None:
    """The address that a party stands for in a family; that of an interface, if one is given and it is this host's."""
    if isinstance(party, Address):
        return party if party.family is family else None
    if party == HOST:
        usable = [i for i in host.facts.interfaces if interface in (None, i.name)]
        return _best([i for i in usable if i.name == interface or i.name != LOOPBACK], family)
    endpoint = next((e for e in host.candidate.resources.endpoints if e.metadata.name == party), None)
    if endpoint is None:
        names = [e.metadata.name for e in host.candidate.resources.endpoints]
        known = closest(party, (HOST, *names))
        raise QueryError(
            f'there is no HostEndpoint "{party}"',
            known or f"SRC and DST are addresses, names of HostEndpoints, or {HOST} for this host",
        )
    governed = [i for i in host.facts.interfaces if governing_endpoint(i.name, host.plan).endpoint == party]
    expected = next((Address(c.family, c.address) for c in endpoint.expected_ips if c.family is family), None)
    return _best(governed, family) or expected


def _best(interfaces: Iterable[Interface], family: Family) -> Address | None:
    """The address that others would use: one with the default route first, one of the link alone last."""
    candidates = [
        (not interface.default_route, address)
        for interface in interfaces
        for address in (Address(cidr.family, cidr.address) for cidr in interface.addresses)
        if address.family is family
    ]
    ranked = sorted(candidates, key=lambda candidate: (is_any(LINK_LOCAL, candidate[1]), candidate[0]))
    return ranked[0][1] if ranked else None


def is_local(address: Address, host: PlannedHost) -> bool:
    """True if an address is one of the host, by its routing where that can be asked."""
    held = {(cidr.family, cidr.address) for interface in host.facts.interfaces for cidr in interface.addresses}
    if address in held or is_any(LOOPBACK_NETS, address):
        return True
    found = routed_now(address, host)
    return found is not None and found.kind in (RouteKind.LOCAL, RouteKind.ANYCAST)


def broadcast_on(address: Address, host: PlannedHost) -> str | None:
    """The interface whose network an address is the broadcast of, if it is any."""
    found = routed_now(address, host)
    return found.interface if found is not None and found.kind is RouteKind.BROADCAST else None


def routed_now(address: Address, host: PlannedHost) -> Routed | None:
    """The route to an address, None where none is known but the default one of the facts."""
    return None if host.host is None else host.host.routed(address.family, address.value)


def is_any(nets: Iterable[Cidr], address: Address) -> bool:
    """True if an address is in any of some prefixes."""
    return any(net.family is address.family and net.contains(address.value) for net in nets)


def text_of(address: Address) -> str:
    """An address as people write it."""
    return address_text(address.family, address.value)
