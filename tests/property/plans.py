"""Random plans and packets over a small world, so that they meet.

Few addresses, ports and protocols, all at the edges of the prefixes and ranges that the rules are drawn from.
"""

from dataclasses import replace

from hypothesis import strategies as st

from hostfw.model.packet import ConntrackState, Original, Packet
from hostfw.model.plan import (
    AddressSet,
    Binding,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    PortMember,
    PortSet,
    RuleIdentity,
)
from hostfw.model.settings import (
    DenyAction,
    Failsafe,
    FailsafePort,
    InvalidPackets,
    NeighbourDiscovery,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
)
from hostfw.model.values import (
    FAMILIES,
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    Action,
    Cidr,
    Direction,
    Family,
    Icmp,
    PortRange,
    Protocol,
    merge,
    parse_address,
    parse_cidr,
)

CIDR_TEXTS = {
    Family.V4: ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/23", "10.0.1.0/24", "10.0.1.4/30", "10.0.1.5/32", "192.0.2.0/25"),
    Family.V6: ("::/0", "fd00::/8", "fd00:1::/32", "fd00:1::/64", "fd00:1::4/126", "fd00:1::5/128", "2001:db8::/33"),
}
ADDRESS_TEXTS = {
    Family.V4: ("10.0.0.255", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.8", "10.0.2.0", "11.0.0.0", "192.0.2.128"),
    Family.V6: ("fd00::1", "fd00:1::3", "fd00:1::4", "fd00:1::5", "fd00:1::8", "fd00:1:0:1::", "fe00::", "2001:db8::"),
}
PORTS = (1, 21, 22, 23, 53, 79, 80, 81, 442, 443, 444, 8000, 8050, 8100, 65535)
INTERFACES = ("lo", "eth0", "eth1", "eth2", "eth3", "wg0")
NUMBERED = (Protocol(2), Protocol(6), Protocol(1), Protocol(58), Protocol(47))
WITH_PORTS = (TCP, UDP, SCTP)


def _cidr(text: str) -> Cidr:
    cidr = parse_cidr(text)
    assert cidr is not None
    return cidr


def _address(text: str) -> int:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


CIDRS = {family: tuple(map(_cidr, texts)) for family, texts in CIDR_TEXTS.items()}
ADDRESSES = {family: tuple(map(_address, texts)) for family, texts in ADDRESS_TEXTS.items()}

port_ranges = st.one_of(
    st.sampled_from(PORTS).map(lambda port: PortRange(port, port)),
    st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda p: PortRange(min(p), max(p))),
)
icmps = st.builds(Icmp, st.sampled_from((0, 3, 8, 128, 129, 134)), st.sampled_from((None, 0, 1)))
cidr_lists = {f: st.lists(st.sampled_from(CIDRS[f]), max_size=6, unique=True).map(tuple) for f in FAMILIES}
any_cidrs = st.tuples(cidr_lists[Family.V4], cidr_lists[Family.V6]).map(lambda both: merge((*both[0], *both[1])))
address_sets = st.builds(AddressSet, st.just("role == 'x'"), any_cidrs)
port_members = st.builds(
    lambda family, places, protocol, port: [
        PortMember(family, address, protocol, port) for address in ADDRESSES[family][: places + 1]
    ],
    st.sampled_from(FAMILIES),
    st.sampled_from((0, 4, 7)),
    st.sampled_from([p.number for p in WITH_PORTS]),
    st.sampled_from(PORTS),
)
port_sets = st.builds(
    lambda groups: PortSet("http", tuple(sorted({member for group in groups for member in group}))),
    st.lists(port_members, max_size=4),
)


def _sides(family: Family | None, protocol: Protocol | None) -> st.SearchStrategy[PlannedSide]:
    numeric = protocol is not None and protocol.has_ports
    ranges = st.lists(port_ranges, max_size=6, unique=True).map(tuple)
    nets = cidr_lists[family] if family else st.just(())
    return st.builds(
        PlannedSide,
        nets=st.one_of(st.none(), nets.map(merge)) if family else st.none(),
        not_nets=nets.map(merge),
        address_set=st.one_of(st.none(), address_sets),
        not_address_set=st.one_of(st.none(), address_sets),
        ports=st.one_of(st.none(), ranges) if numeric else st.none(),
        port_sets=st.one_of(st.just(()), st.tuples(port_sets), st.tuples(port_sets)),
        not_ports=st.one_of(st.just(()), ranges) if numeric else st.just(()),
        not_port_sets=st.one_of(st.just(()), st.tuples(port_sets)),
    )


@st.composite
def rules(draw: st.DrawFn, identity: RuleIdentity) -> PlannedRule:
    """One rule; most criteria are absent most of the time, so that rules match."""
    rare = st.integers(0, 3).map(lambda n: n == 0)
    protocol = draw(st.one_of(st.none(), st.sampled_from((TCP, TCP, UDP, SCTP, ICMP, ICMPV6, *NUMBERED))))
    family = draw(st.sampled_from((None, *FAMILIES)))
    sides = st.one_of(st.just(PlannedSide()), _sides(family, protocol))
    return PlannedRule(
        identity,
        draw(st.sampled_from(Action)),
        FAMILIES if family is None else (family,),
        protocol,
        draw(st.sampled_from((TCP, UDP, ICMP, *NUMBERED))) if draw(rare) else None,
        draw(icmps) if protocol in (ICMP, ICMPV6, Protocol(1), Protocol(58)) and draw(st.booleans()) else None,
        draw(icmps) if draw(rare) else None,
        draw(sides),
        draw(sides),
    )


@st.composite
def policies(draw: st.DrawFn, tier: str, name: str, direction: Direction) -> PlannedPolicy:
    """A policy of up to six rules, in a tier, or a profile where the tier is empty."""
    kind = "GlobalNetworkPolicy" if tier else "Profile"
    count = draw(st.integers(0, 6))
    identities = [RuleIdentity(kind, tier, name, direction, f"{index:012x}", 0, index) for index in range(count)]
    staged = bool(tier) and draw(st.integers(0, 3)) == 0
    if staged:
        kind = "StagedGlobalNetworkPolicy"
        identities = [replace(identity, kind=kind) for identity in identities]
    planned = tuple(draw(rules(identity)) for identity in identities)
    return PlannedPolicy(kind, name, tier, None, planned, staged=staged)


@st.composite
def tiers(draw: st.DrawFn, direction: Direction, prefix: str) -> tuple[PlannedTier, ...]:
    """Up to three tiers of up to two policies."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        name = f"{prefix}{number}"
        members = [draw(policies(name, f"p{k}", direction)) for k in range(draw(st.integers(1, 2)))]
        found.append(PlannedTier(name, draw(st.sampled_from((Action.DENY, Action.PASS))), tuple(members)))
    return tuple(found)


@st.composite
def directions(draw: st.DrawFn, direction: Direction) -> PlannedDirection:
    """What governs one direction of an endpoint."""
    profiles = tuple(draw(policies("", f"profile{k}", direction)) for k in range(draw(st.integers(0, 2))))
    early = st.integers(0, 2).flatmap(lambda n: tiers(direction, "e") if n == 0 else st.just(()))
    return PlannedDirection(
        draw(tiers(direction, "t")),
        profiles,
        draw(tiers(direction, "f")),
        draw(early),
        draw(early) if direction is Direction.INGRESS else (),
    )


failsafe_ports = st.builds(
    FailsafePort,
    st.sampled_from((TCP, UDP)),
    st.sampled_from(PORTS),
    st.one_of(st.none(), st.sampled_from((*CIDRS[Family.V4], *CIDRS[Family.V6]))),
)
all_settings = st.builds(
    Settings,
    failsafe=st.builds(
        Failsafe, st.lists(failsafe_ports, max_size=3).map(tuple), st.lists(failsafe_ports, max_size=3).map(tuple)
    ),
    unmanaged_interfaces=st.builds(UnmanagedInterfaces, st.sampled_from(Unmanaged), st.sampled_from(Unmanaged)),
    neighbour_discovery=st.sampled_from(NeighbourDiscovery),
    invalid_packets=st.sampled_from(InvalidPackets),
    deny_action=st.sampled_from(DenyAction),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A host with up to two endpoints, some interfaces bound to them, and perhaps a wildcard."""
    names = ("a", "b")[: draw(st.integers(0, 2))]
    endpoints = tuple(
        PlannedEndpoint(name, draw(directions(Direction.INGRESS)), draw(directions(Direction.EGRESS))) for name in names
    )
    bound = st.lists(st.sampled_from(INTERFACES), unique=True) if names else st.just([])
    bindings = tuple(Binding(i, draw(st.sampled_from(names)), "drawn") for i in sorted(draw(bound)))
    wildcard = draw(st.sampled_from((None, *names)))
    return Plan("host", draw(all_settings), endpoints, bindings, wildcard)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """A packet of the small world, on any of the three paths."""
    family = draw(st.sampled_from(FAMILIES))
    protocol = draw(st.sampled_from((6, 6, 17, 132, 1, 58, 2, 47)))
    ports = protocol in {p.number for p in WITH_PORTS}
    icmp = protocol == (ICMP if family is Family.V4 else ICMPV6).number
    interfaces = st.sampled_from((*INTERFACES, "unknown0"))
    path = draw(st.sampled_from(("in", "out", "forward")))
    state = draw(st.sampled_from((*[ConntrackState.NEW] * 6, *ConntrackState)))
    translated = state not in (ConntrackState.INVALID, ConntrackState.UNTRACKED) and draw(st.integers(0, 4)) == 0
    original = Original(
        draw(st.sampled_from(ADDRESSES[family])),
        draw(st.sampled_from(PORTS)) if ports else None,
        draw(interfaces) if path == "out" and draw(st.booleans()) else None,
    )
    return Packet(
        family,
        protocol,
        draw(st.sampled_from(ADDRESSES[family])),
        draw(st.sampled_from(ADDRESSES[family])),
        draw(st.sampled_from(PORTS)) if ports else None,
        draw(st.sampled_from(PORTS)) if ports else None,
        draw(st.sampled_from((0, 3, 8, 128, 129, 130, 134, 135, 143))) if icmp else None,
        draw(st.sampled_from((0, 1, 2))) if icmp else None,
        draw(st.sampled_from((64, 255))),
        draw(interfaces) if path != "out" else None,
        draw(interfaces) if path != "in" else None,
        state,
        original if translated else None,
    )
