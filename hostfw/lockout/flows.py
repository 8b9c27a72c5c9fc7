"""The flows that a host depends on: for each entry of the baseline, the packets that must pass.

Two things are left out on purpose. An IPv4 gateway is found by ARP, which no table of ours sees, and a DHCP client's
first messages with their answers go past netfilter over packet sockets; what remains are the renewals, which do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, islice

from hostfw.lockout.ssh_packets import doors, holder_of, session_packet
from hostfw.model.host.baseline import Baseline, Gateway, Lease, LeaseKind, Listener, NameServer, Session
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.packets.packet import ConntrackState, Packet
from hostfw.model.plan import Plan, PlannedDirection, PlannedRule
from hostfw.model.values import ICMPV6, TCP, UDP, Action, Cidr, Family, Mac, address_text
from hostfw.model.wording import listed

_CLIENT_PORT = 49152
"""The first of the dynamic ports (RFC 6335): what a new connection may come from."""

_DHCP_CLIENT, _DHCP_SERVER = 68, 67
_DHCPV6_CLIENT, _DHCPV6_SERVER = 546, 547
_DNS = 53
_ROUTER_ADVERTISEMENT, _NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 134, 135, 136
_ON_LINK = 255
"""The hop limit that proves a sender on the link (RFC 4861)."""

_LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 10)
_A_ROUTER = _LINK_LOCAL.address | 1
_ALL_NODES = 0xFF02 << 112 | 1
_ALL_DHCP_SERVERS = 0xFF02 << 112 | 1 << 16 | 2
"""ff02::1:2 (RFC 8415)."""
_BROADCAST = 0xFFFFFFFF
_ANYBODY = {Family.V4: 0xC6336401, Family.V6: 0x20010DB8 << 96 | 0xBEEF}
"""Some peer that no policy has a reason to name: 198.51.100.1 and 2001:db8::beef, of documentation (RFC 5737, 3849)."""

_OF_ONE_LIST, _MOST_PEERS = 32, 128
"""Most peers of an interface that are tried before an ssh server counts as closed there."""


class FlowKind(StrEnum):
    """The purpose of a flow for the host."""

    OWN_SESSION = "own-session"
    SSH_SESSION = "ssh-session"
    SSH_OUTGOING = "ssh-outgoing"
    SSH_SERVER = "ssh-server"
    GATEWAY = "gateway"
    LEASE = "lease"
    NAME_SERVER = "name-server"


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets of which all must pass, or with `any_of` one; `answered` where the reverse of each must pass as well.

    `what` names what is lost otherwise, in words that stay the same from one plan to the next.
    """

    kind: FlowKind
    what: str
    packets: tuple[Packet, ...]
    answered: bool = True
    any_of: bool = False


def flows(baseline: Baseline, facts: HostFacts, plan: Plan) -> tuple[Flow, ...]:
    """The flows of what was seen, the most precious first. The plan says which peers an ssh server may have."""
    sessions = sorted(baseline.sessions, key=lambda session: not session.own)
    in_use = {session.local_port for session in sessions}
    idle = [listener for listener in baseline.listeners if listener.port not in in_use]
    found = chain(
        (flow for session in sessions for flow in _of_session(session, facts)),
        (flow for session in baseline.outgoing for flow in _of_outgoing(session, facts)),
        (flow for port in _ports(idle) for flow in _of_port(port, idle, baseline, facts, plan)),
        (flow for gateway in baseline.gateways for flow in _of_gateway(gateway, facts)),
        (flow for lease in baseline.leases for flow in _of_lease(lease, baseline, facts)),
        (flow for server in baseline.name_servers for flow in _of_name_server(server, facts)),
    )
    first: dict[str, Flow] = {}
    for flow in found:
        first.setdefault(flow.what, flow)
    forms = _forms(plan)
    return tuple(chain.from_iterable(_in_each(forms, flow) for flow in first.values()))


def named_peers(plan: Plan) -> frozenset[tuple[Family, int]]:
    """Everyone whom failsafes or the rules of an endpoint name first: no other address of policy is a peer of a flow.

    Members of external sets are left out.
    """
    found = {(port.net.family, port.net.address) for port in plan.settings.failsafe.inbound if port.net is not None}
    for endpoint in plan.endpoints:
        for family in Family:
            allowed = (rule for rule in _all_rules(endpoint.ingress) if rule.action is Action.ALLOW)
            peers = chain.from_iterable(_sources(rule, family) for rule in allowed)
            found.update((family, peer) for peer in islice(peers, _MOST_PEERS))
    return frozenset(found)


_Form = tuple[bool, Mac | None]
"""Parts of a connection that nobody sees: whether it came through IPsec, and the Ethernet address of its sender."""


def _forms(plan: Plan) -> tuple[_Form, ...]:
    """The forms of a packet that rules of a plan tell apart, the plain one first."""
    rules = [rule for endpoint in plan.endpoints for rule in _all_rules(endpoint.ingress)]
    ways = (False, True) if any(rule.ipsec is not None for rule in rules) else (False,)
    senders: tuple[Mac | None, ...] = (None, *sorted({mac for rule in rules for mac in rule.source.macs}))
    return tuple((ipsec, mac) for ipsec in ways for mac in senders)


def _in_each(forms: Iterable[_Form], flow: Flow) -> Iterator[Flow]:
    """The flow in every form that it may have; what the host sends has but one."""
    comes_in = all(packet.in_interface not in (None, LOOPBACK) for packet in flow.packets)
    told = [
        (form, tuple(replace(packet, ipsec=form[0], mac=form[1]) for packet in flow.packets))
        for form in (forms if comes_in else ((False, None),))
    ]
    if flow.any_of:
        yield replace(flow, packets=tuple(chain.from_iterable(packets for _, packets in told)))
        return
    for (ipsec, mac), packets in told:
        how = (" through IPsec" if ipsec else "", f" by way of {mac}" if mac is not None else "")
        yield replace(flow, what=f"{flow.what}{''.join(how)}", packets=packets)


def _of_session(session: Session, facts: HostFacts) -> Iterator[Flow]:
    """The connection itself, which untracked policy may cut although it is established, and another like it."""
    interface = session.interface or holder_of(session.family, session.local, facts)
    if not interface:
        return
    kind = FlowKind.OWN_SESSION if session.own else FlowKind.SSH_SESSION
    whose = "your" if session.own else "the"
    port = session.local_port if session.original is None else session.original[1]
    where = f"from {address_text(session.family, session.peer)} to port {port} on {interface}"
    established = session_packet(session, interface, facts, ConntrackState.ESTABLISHED, session.peer_port)
    yield Flow(kind, f"{whose} established ssh connection {where}", (established,))
    again = session_packet(session, interface, facts, ConntrackState.NEW, _CLIENT_PORT)
    yield Flow(kind, f"another ssh connection like {'yours' if session.own else 'that'} {where}", (again,))


def _of_outgoing(session: Session, facts: HostFacts) -> Iterator[Flow]:
    """The connection to another host's ssh server, and another like it, which the host begins."""
    interface = session.interface or holder_of(session.family, session.local, facts)
    if not interface:
        return
    where = f"from this host to port {session.peer_port} of {address_text(session.family, session.peer)} on {interface}"
    for what, port, state in (
        (f"the established ssh connection {where}", session.local_port, ConntrackState.ESTABLISHED),
        (f"another ssh connection {where}", _CLIENT_PORT, ConntrackState.NEW),
    ):
        ends = (session.local, session.peer, port, session.peer_port)
        packet = Packet(session.family, TCP.number, *ends, out_interface=interface, state=state)
        yield Flow(FlowKind.SSH_OUTGOING, what, (packet,))


# ------------------------------------------------------------------------------------------------ servers of ssh


def _ports(listeners: Iterable[Listener]) -> list[int]:
    return sorted({listener.port for listener in listeners})


def _of_port(
    port: int, listeners: Iterable[Listener], baseline: Baseline, facts: HostFacts, plan: Plan
) -> Iterator[Flow]:
    """A port that nobody is connected to is lost if none of the peers that might be meant would get in.

    Over either family: who opens ssh to some IPv4 addresses has not forgotten IPv6.
    """
    here = [listener for listener in listeners if listener.port == port]
    ways = [(listener, door) for listener in here for door in doors(listener, facts, baseline.published)]
    packets = tuple(
        door.packet(listener.family, peer, _CLIENT_PORT)
        for listener, door in ways
        for peer in _peers(door.interface, listener.family, door.original[0], baseline, plan)
    )
    if packets:
        servers = " and ".join(dict.fromkeys(listener.server for listener in here))
        outer = sorted({door.original[1] for _, door in ways} - {port})
        through = f" or through port {listed(map(str, outer))}" if outer else ""
        what = f"every ssh connection to {servers} on port {port}{through}"
        yield Flow(FlowKind.SSH_SERVER, what, packets, any_of=True)


def _peers(interface: Interface, family: Family, local: int, baseline: Baseline, plan: Plan) -> Iterator[int]:
    """Somebody, a neighbour, the gateways, and everyone whom failsafes or the rules of the interface name first."""
    nets = (port.net for port in plan.settings.failsafe.inbound)
    fixed = (_ANYBODY[family], local ^ 1, *(g.address for g in baseline.gateways if g.family is family))
    named = (net.address for net in nets if net is not None and net.family is family)
    by_rules = chain.from_iterable(_sources(rule, family) for rule in _rules(plan, interface.name))
    wanted = (peer for peer in chain(fixed, named, by_rules) if peer is not None)
    yield from dict.fromkeys(islice(wanted, _MOST_PEERS))


def _rules(plan: Plan, interface: str) -> Iterator[PlannedRule]:
    """The rules that let something in on an interface."""
    own = plan.governing()(interface)
    if own is not None:
        yield from (rule for rule in _all_rules(plan.endpoint(own).ingress) if rule.action is Action.ALLOW)


def _all_rules(direction: PlannedDirection) -> Iterator[PlannedRule]:
    tiers = (*direction.untracked_tiers, *direction.pre_dnat_tiers, *direction.tiers)
    policies = chain((policy for tier in tiers for policy in tier.policies), direction.profiles)
    return (rule for policy in policies for rule in policy.rules)


def _sources(rule: PlannedRule, family: Family) -> Iterator[int]:
    local = rule.source.local
    nets = rule.source.nets or () if local is None else (*local.nets, *(net for _, net in local.links.networks))
    members: Iterable[Cidr] = rule.source.address_set.of(family) if rule.source.address_set is not None else ()
    for cidrs in (nets, members):
        yield from islice((cidr.address for cidr in cidrs if cidr.family is family), _OF_ONE_LIST)


# ------------------------------------------------------------------------------------------------ what a host needs


def _of_gateway(gateway: Gateway, facts: HostFacts) -> Iterator[Flow]:
    """Neighbour discovery, without which nothing leaves the link over IPv6."""
    if gateway.family is Family.V4 or gateway.address is None:
        return
    local = _address_on(gateway.interface, Family.V6, facts, link_local=True)
    asked = _icmp6(_NEIGHBOUR_SOLICITATION, local, gateway.address, out_interface=gateway.interface)
    told = _icmp6(_NEIGHBOUR_ADVERTISEMENT, gateway.address, local, in_interface=gateway.interface)
    where = f"{address_text(Family.V6, gateway.address)} on {gateway.interface}"
    yield Flow(FlowKind.GATEWAY, f"the gateway {where}, as neighbour discovery", (asked, told), answered=False)


def _of_lease(lease: Lease, baseline: Baseline, facts: HostFacts) -> Iterator[Flow]:
    address = f"{address_text(lease.family, lease.address)} on {lease.interface}"
    if lease.kind is LeaseKind.ROUTER_ADVERTISEMENT:
        router = _router(lease.interface, baseline)
        told = _icmp6(_ROUTER_ADVERTISEMENT, router, _ALL_NODES, in_interface=lease.interface)
        what = f"the address {address}, which router advertisements keep"
        yield Flow(FlowKind.LEASE, what, (told,), answered=False)
    elif lease.family is Family.V4:
        server = _BROADCAST if lease.server is None else lease.server
        renewal = _udp(lease.address, server, _DHCP_CLIENT, _DHCP_SERVER, Family.V4, out_interface=lease.interface)
        known = lease.server is not None
        yield Flow(FlowKind.LEASE, f"the address {address}, which DHCP renews", (renewal,), answered=known)
    else:
        # The client asks a multicast address, so that connection tracking does not know the answer for one.
        local = _address_on(lease.interface, Family.V6, facts, link_local=True)
        server = _router(lease.interface, baseline) if lease.server is None else lease.server
        there, here = _DHCPV6_SERVER, _DHCPV6_CLIENT
        asked = _udp(local, _ALL_DHCP_SERVERS, here, there, Family.V6, out_interface=lease.interface)
        told = _udp(server, local, there, here, Family.V6, in_interface=lease.interface)
        yield Flow(FlowKind.LEASE, f"the address {address}, which DHCPv6 renews", (asked, told), answered=False)


def _of_name_server(server: NameServer, facts: HostFacts) -> Iterator[Flow]:
    interface = server.interface or holder_of(server.family, server.address, facts)
    if not interface:
        return
    source = server.source
    if source is None:
        source = _address_on(interface, server.family, facts)
    ends = (source, server.address, _CLIENT_PORT, _DNS)
    out = _udp(*ends, server.family, out_interface=interface)
    # What the host says to itself leaves on lo and then comes in on it.
    back = (_udp(*ends, server.family, in_interface=interface),) if interface == LOOPBACK else ()
    what = f"the name server {address_text(server.family, server.address)} on {interface}"
    yield Flow(FlowKind.NAME_SERVER, what, (out, *back))


def _udp(
    source: int,
    destination: int,
    source_port: int,
    destination_port: int,
    family: Family,
    *,
    in_interface: str | None = None,
    out_interface: str | None = None,
) -> Packet:
    return Packet(
        family,
        UDP.number,
        source,
        destination,
        source_port,
        destination_port,
        in_interface=in_interface,
        out_interface=out_interface,
    )


def _icmp6(
    kind: int, source: int, destination: int, *, in_interface: str | None = None, out_interface: str | None = None
) -> Packet:
    """A message of neighbour discovery, which connection tracking leaves alone."""
    return Packet(
        Family.V6,
        ICMPV6.number,
        source,
        destination,
        icmp_type=kind,
        icmp_code=0,
        hop_limit=_ON_LINK,
        in_interface=in_interface,
        out_interface=out_interface,
        state=ConntrackState.UNTRACKED,
    )


def _router(interface: str, baseline: Baseline) -> int:
    """The router on a link: its gateway, otherwise some address on it."""
    gateways = (g for g in baseline.gateways if g.interface == interface and g.family is Family.V6)
    return next((gateway.address for gateway in gateways if gateway.address is not None), _A_ROUTER)


def _address_on(interface: str, family: Family, facts: HostFacts, *, link_local: bool = False) -> int:
    """An address that packets leave an interface with; 0, the unspecified one, where it has none."""
    found = facts.interface(interface)
    held = [cidr.address for cidr in found.addresses if cidr.family is family] if found else []
    near = [address for address in held if family is Family.V6 and _LINK_LOCAL.contains(address)]
    far = [address for address in held if address not in near]
    return next(iter((*near, *far) if link_local else (*far, *near)), 0)
