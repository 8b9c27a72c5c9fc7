"""The interfaces that a packet comes in on and goes out on: given, or those that the routing of the host leads to."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hostfw.cli.explain.packet_addresses import LINK_LOCAL, TO_MANY, is_any, routed_now, text_of
from hostfw.cli.explain.packet_query import HOST, Address, PacketQuery, QueryError
from hostfw.cli.input.facts import PlannedHost
from hostfw.explain.governing import NOBODY, governing_endpoint
from hostfw.host.network.routing import RouteKind
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.values import Family

_MASTERS_THAT_RECEIVE = frozenset(("bond", "bridge", "team"))
"""Kinds of masters that take the packets of their members for their own before policy sees them."""

_TO_SOURCE = "where the route back to its source leads"
_TO_DESTINATION = "where the route to its destination leads"


class Chosen(NamedTuple):
    """An interface, if there is one, and why it is this one where nobody said so."""

    name: str | None = None
    note: str = ""


def none_but(given: str | None, option: str, why: str) -> Chosen:
    """No interface; raises QueryError, with the reason, if one was given nevertheless."""
    if given is not None:
        raise QueryError(f"{why}, so {option} means nothing", f"leave out {option}")
    return Chosen()


def interface_in(query: PacketQuery, host: PlannedHost, source: Address, broadcast: str | None = None) -> Chosen:
    """The interface that a packet for the host comes in on; `broadcast` is the one whose network it is sent to."""
    if query.in_interface is not None:
        return Chosen(query.in_interface)
    back = routed_now(source, host)
    if broadcast is not None and (back is None or back.kind is not RouteKind.UNICAST or back.interface == broadcast):
        return Chosen(broadcast, f"in on {broadcast}, whose broadcast it is")
    chosen = _by_route(source, host, _TO_SOURCE)
    if chosen is not None:
        return chosen._replace(note=f"in on {chosen.name}, {chosen.note}")
    return _any_of(_carriers(host.facts), host, "in", f"from {text_of(source)} comes in")


def interface_out(
    query: PacketQuery, host: PlannedHost, source: Address, destination: Address, after: str | None = None
) -> Chosen:
    """The interface that a packet goes out on; `after` is the one that it came in on, if it is forwarded."""
    if query.out_interface is not None:
        return Chosen(query.out_interface)
    names = {interface.name for interface in _carriers(host.facts)}
    if after is not None and host.host is not None:
        # The kernel is asked with source and interface, which rules of policy routing look at.
        found = host.host.routed_through(destination.family, destination.value, source.value, after)
        if found is not None and found.kind is RouteKind.UNICAST and found.interface in names:
            return Chosen(found.interface, f"out on {found.interface}, {_TO_DESTINATION}")
    if destination.family is Family.V4 and is_any(TO_MANY, destination):
        found = routed_now(destination, host)
        if found is not None and found.interface in names:
            return Chosen(found.interface, f"out on {found.interface}, unless the program names another interface")
    chosen = _by_route(destination, host, _TO_DESTINATION, after)
    if chosen is not None:
        return chosen._replace(note=f"out on {chosen.name}, {chosen.note}")
    candidates = [interface for interface in _carriers(host.facts) if interface.name != after]
    return _any_of(candidates, host, "out", f"to {text_of(destination)} goes out")


def interfaces_through(
    query: PacketQuery, host: PlannedHost, source: Address, destination: Address
) -> tuple[Chosen, Chosen]:
    """Both interfaces of a forwarded packet; a question that names neither is often about another host."""
    into = Chosen(query.in_interface)
    if query.in_interface is None:
        found = _by_route(source, host, _TO_SOURCE)
        out = _by_route(destination, host, _TO_DESTINATION)
        out = out if query.out_interface is None else Chosen(query.out_interface)
        behind = found is not None and host.plan.settings.workloads.has_bridge(found.name)
        if found is None or out is None or (found.name == out.name and not behind):
            why = "and what it forwards comes in somewhere"
            if routeless(query, destination, host):
                why = f"and it has no route to {text_of(destination)}, so nothing is sent there"
            elif found is not None and out is not None and (found.note, out.note) == (_TO_SOURCE, _TO_DESTINATION):
                why = f"and the routes to both lead to {found.name}, so that their packets do not come through here"
            raise QueryError(
                f"neither SRC nor DST is an address of this host, {why}",
                f"write {HOST} for this host, or give --in: {_listed(_carriers(host.facts), host)}",
            )
        into = found._replace(note=f"in on {found.name}, {found.note}")
    return into, interface_out(query, host, source, destination, into.name)


def _by_route(address: Address, host: PlannedHost, why: str, after: str | None = None) -> Chosen | None:
    """The interface that the route to an address leads to; where that is not known, that of the only default route.

    An address of the link alone is on every link.
    """
    if is_any((*LINK_LOCAL, *TO_MANY), address):
        return None
    candidates = [interface for interface in _carriers(host.facts) if interface.name != after]
    found = routed_now(address, host)
    if found is not None and found.interface in {interface.name for interface in _carriers(host.facts)}:
        return Chosen(found.interface, why)
    defaults = [interface for interface in candidates if interface.default_route]
    return Chosen(defaults[0].name, "which has the default route") if len(defaults) == 1 else None


def _carriers(facts: HostFacts) -> list[Interface]:
    """The interfaces that packets of others come in on and go out on."""
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    return [
        interface
        for interface in facts.interfaces
        if interface.name != LOOPBACK and kinds.get(interface.master or "") not in _MASTERS_THAT_RECEIVE
    ]


def _any_of(candidates: Sequence[Interface], host: PlannedHost, way: str, packet: str) -> Chosen:
    """One of the interfaces if it makes no difference which. Raises QueryError, which asks for `--in` or `--out`."""
    chosen = _indifferent(candidates, host)
    if chosen is None:
        raise QueryError(
            f"the facts of the host do not tell where a packet {packet}",
            f"give --{way}: {_listed(candidates, host)}",
        )
    return chosen._replace(note=f"{way} on {chosen.name}, {chosen.note}")


def _indifferent(interfaces: Sequence[Interface], host: PlannedHost) -> Chosen | None:
    """An interface where it makes no difference which: there is but one, or the same policy governs all of them."""
    if len(interfaces) == 1:
        return Chosen(interfaces[0].name, "the only interface that it can be")
    if len({governing_endpoint(interface.name, host.plan).endpoint for interface in interfaces}) != 1:
        return None
    first = min(interfaces, key=lambda interface: (not interface.default_route, interface.name))
    return Chosen(first.name, "all interfaces being governed alike")


def _listed(interfaces: Iterable[Interface], host: PlannedHost) -> str:
    """The interfaces with what governs them, for people who choose one."""
    governors = ((interface.name, governing_endpoint(interface.name, host.plan).endpoint) for interface in interfaces)
    return ", ".join(f"{name} ({'unmanaged' if who == NOBODY else who})" for name, who in governors) or "there is none"


def routeless(query: PacketQuery, destination: Address, host: PlannedHost) -> tuple[str, ...]:
    """A note that the kernel has nowhere to send the packet, whatever policy says."""
    found = routed_now(destination, host) if query.out_interface is None else None
    if found is None or found.kind is not RouteKind.NONE:
        return ()
    return (f"this host has no route to {text_of(destination)}, so nothing is sent there, whatever policy says",)
