"""Packets of ssh connections to this host, as they are once other programs' destination NAT has had its way.

A redirect such as 2222 to 22 hides from the server which port a peer uses. Policy judges the port that the peer knows,
as it does for every published port, so these packets say both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from hostfw.exposure.services import target_on
from hostfw.model.host.baseline import Listener, Session
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.host.services import PublishedPort
from hostfw.model.packets.packet import ConntrackState, Original, Packet
from hostfw.model.values import TCP, Family, host_cidr


class Door(NamedTuple):
    """A way to an ssh server from outside: an interface and an address there, and the address and port behind them.

    The two differ where destination NAT sends on what comes in.
    """

    interface: Interface
    original: tuple[int, int]
    target: tuple[int, int]
    own: bool = True

    def packet(self, family: Family, peer: int, peer_port: int) -> Packet:
        """The first packet of a peer who comes this way."""
        sent = Packet(family, TCP.number, peer, *_ends(self.target, peer_port), in_interface=self.interface.name)
        return sent if self.original == self.target else replace(sent, original=Original(*self.original, own=self.own))


def session_packet(session: Session, interface: str, facts: HostFacts, state: ConntrackState, peer_port: int) -> Packet:
    """A packet of the peer of a session, or with another `peer_port` of another session like it."""
    target = session.local, session.local_port
    sent = Packet(
        session.family, TCP.number, session.peer, *_ends(target, peer_port), in_interface=interface, state=state
    )
    if session.original is None:
        return sent
    own = holder_of(session.family, session.original[0], facts) != ""
    return replace(sent, original=Original(*session.original, own=own))


def holder_of(family: Family, address: int, facts: HostFacts) -> str:
    """The interface that has an address of this host, or nothing."""
    wanted = host_cidr(family, address)
    return next((interface.name for interface in facts.interfaces if wanted in interface.addresses), "")


def doors(listener: Listener, facts: HostFacts, published: Sequence[PublishedPort]) -> Iterator[Door]:
    """The ways to a server from outside, one for each interface, and for each published port on it.

    A port that another rule translates first leads elsewhere, unless that rule may or may not do so.
    """
    for interface in facts.interfaces:
        if interface.name != LOOPBACK and interface.up:
            yield from _direct(listener, interface, published)
            for number, port in enumerate(published):
                yield from _through(port, listener, interface, facts, published[:number])


def _direct(listener: Listener, interface: Interface, published: Iterable[PublishedPort]) -> Iterator[Door]:
    mine = (address for address in _held(interface, listener.family) if listener.address in (None, address))
    for address in mine:
        end = address, listener.port
        if not _is_translated(published, listener.family, end, interface):
            yield Door(interface, end, end)
            return


def _through(
    port: PublishedPort,
    listener: Listener,
    interface: Interface,
    facts: HostFacts,
    earlier: Iterable[PublishedPort],
) -> Iterator[Door]:
    outer = port.port or listener.port
    target = target_on(port, interface) if port.family is listener.family and port.local else None
    leads_here = (port.target_port or outer) == listener.port and listener.address in (None, target)
    if target is None or not leads_here or not port.holds_on(interface.name):
        return
    held = _held(interface, port.family)
    for address in held[:1] if port.address is None else (port.address,):
        if not _is_translated(earlier, port.family, (address, outer), interface):
            own = holder_of(port.family, address, facts) != ""
            yield Door(interface, (address, outer), (target, listener.port), own)


def _held(interface: Interface, family: Family) -> list[int]:
    return [cidr.address for cidr in interface.addresses if cidr.family is family]


def _is_translated(
    published: Iterable[PublishedPort], family: Family, end: tuple[int, int], interface: Interface
) -> bool:
    address, number = end
    return any(
        port.certain
        and (port.family, port.protocol) == (family, TCP.number)
        and port.port in (0, number)
        and port.address in (None, address)
        and port.holds_on(interface.name)
        for port in published
    )


def _ends(target: tuple[int, int], peer_port: int) -> tuple[int, int, int]:
    """Destination, source port and destination port, in the order of a packet's fields."""
    return target[0], peer_port, target[1]
