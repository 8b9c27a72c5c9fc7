"""Random plans and packets over a small world, so that they meet.

Few addresses, ports and protocols, all at the edges of the prefixes and ranges that the rules are drawn from.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from hostfw.model.host.guests import GovernedBridge, Workload
from hostfw.model.kinds.source_limit import Rate, SourceLimit, Unit
from hostfw.model.packets.packet import ConntrackState, Original, Packet, Path
from hostfw.model.plan import (
    AddressSet,
    Binding,
    LinkNetworks,
    LocalNets,
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
from hostfw.model.prefixes import packed_cidrs
from hostfw.model.settings import (
    TO_HOST_PORTS,
    DenyAction,
    Failsafe,
    FailsafePort,
    InvalidPackets,
    Logging,
    NeighbourDiscovery,
    PublishedPorts,
    ReversePathFilter,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
    Workloads,
)
from hostfw.model.values import (
    FAMILIES,
    ICMP,
    ICMPV6,
    IGMP,
    PORT_PROTOCOLS,
    SCTP,
    TCP,
    UDP,
    Action,
    Cidr,
    Direction,
    Family,
    Icmp,
    Mac,
    PortRange,
    Protocol,
    host_cidr,
    merge,
    parse_address,
    parse_cidr,
)

Thing = TypeVar("Thing")

CIDR_TEXTS = {
    Family.V4: ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/23", "10.0.1.0/24", "10.0.1.4/30", "10.0.1.5/32", "192.0.2.0/25"),
    Family.V6: ("::/0", "fd00::/8", "fd00:1::/32", "fd00:1::/64", "fd00:1::4/126", "fd00:1::5/128", "2001:db8::/33"),
}
ADDRESS_TEXTS = {
    Family.V4: ("10.0.0.255", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.8", "10.0.2.0", "11.0.0.0", "192.0.2.128"),
    Family.V6: ("fd00::1", "fd00:1::3", "fd00:1::4", "fd00:1::5", "fd00:1::8", "fd00:1:0:1::", "fe00::", "2001:db8::"),
}
PORTS = (1, 21, 22, 23, 53, 79, 80, 81, 442, 443, 444, 8000, 8050, 8100, 65535)
NAMED_PORTS = (22, 80, 443)
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
OWN_TEXTS = {family: texts[1::2] for family, texts in ADDRESS_TEXTS.items()}
"""Those that are the host's own: what is sent to them and translated is for a published port."""
OWN = {family: frozenset(map(_address, texts)) for family, texts in OWN_TEXTS.items()}

port_ranges = st.one_of(
    st.sampled_from(PORTS).map(lambda port: PortRange(port, port)),
    st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda p: PortRange(min(p), max(p))),
)
icmps = st.builds(Icmp, st.sampled_from((0, 3, 8, 128, 129, 134)), st.sampled_from((None, 0, 1)))
cidr_lists = {f: st.lists(st.sampled_from(CIDRS[f]), max_size=6, unique=True).map(tuple) for f in FAMILIES}
any_cidrs = st.tuples(cidr_lists[Family.V4], cidr_lists[Family.V6]).map(lambda both: merge((*both[0], *both[1])))
address_sets = st.builds(AddressSet, st.just("role == 'x'"), any_cidrs | any_cidrs.map(packed_cidrs))
port_members = st.builds(
    lambda family, places, protocol, port: [
        PortMember(family, address, protocol, port) for address in ADDRESSES[family][: places + 1]
    ],
    st.sampled_from(FAMILIES),
    st.sampled_from((0, 4, 7)),
    st.sampled_from([p.number for p in WITH_PORTS]),
    st.sampled_from(NAMED_PORTS),
)
EVERYWHERE = PortSet(
    "everywhere",
    tuple(
        PortMember(family, address, protocol.number, port)
        for family in FAMILIES
        for address in sorted(ADDRESSES[family])
        for protocol in WITH_PORTS
        for port in NAMED_PORTS
    ),
)
"""A port name of every endpoint, which overlaps with any other."""
port_sets = st.just(EVERYWHERE) | st.builds(
    lambda groups: PortSet("http", tuple(sorted({member for group in groups for member in group}))),
    st.lists(port_members, max_size=4),
)


def _disjoint(ranges: list[PortRange]) -> tuple[PortRange, ...]:
    """Ranges as a plan has them: sorted, and those that overlap as one."""
    merged: list[PortRange] = []
    for ports in sorted(ranges):
        if merged and ports.first <= merged[-1].last:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, ports.last))
        else:
            merged.append(ports)
    return tuple(merged)


def _criteria(family: Family | None, protocol: Protocol | None) -> dict[str, st.SearchStrategy[object]]:
    """Criteria for a side of a rule."""
    found: dict[str, st.SearchStrategy[object]] = {
        "address_set": address_sets,
        "not_address_set": address_sets,
        "port_sets": st.lists(port_sets, min_size=1, max_size=2).map(tuple),
        "not_port_sets": st.lists(port_sets, min_size=1, max_size=2).map(tuple),
    }
    nets = any_cidrs if family is None else cidr_lists[family].map(merge)
    found |= {"nets": nets, "not_nets": nets}
    if protocol is not None and protocol.has_ports:
        ranges = st.lists(port_ranges, max_size=6, unique=True).map(_disjoint)
        found |= {"ports": ranges, "not_ports": ranges}
    return found


@st.composite
def _sides(draw: st.DrawFn, family: Family | None, protocol: Protocol | None) -> PlannedSide:
    """A side that asks for little most of the time, so that rules match."""
    criteria = _criteria(family, protocol)
    likely = [name for name in ("nets", "ports") if name in criteria]
    chosen = draw(st.lists(st.sampled_from([*likely, *likely, *sorted(criteria)]), max_size=3, unique=True))
    if "ports" in chosen and "port_sets" not in chosen and draw(st.booleans()):
        chosen = [*chosen, "port_sets"]
    return PlannedSide(**{name: draw(criteria[name]) for name in chosen})  # type: ignore[arg-type]


@st.composite
def rules(draw: st.DrawFn, identity: RuleIdentity) -> PlannedRule:
    """One rule; most criteria are absent most of the time."""
    protocol = draw(st.sampled_from((None, None, TCP, TCP, UDP, SCTP, ICMP, ICMPV6, *NUMBERED)))
    family = draw(st.sampled_from((None, None, *FAMILIES)))
    asks = draw(st.integers(0, 31))
    others: tuple[Protocol, ...] = ()
    if protocol is not None and draw(st.integers(0, 3)) == 3:
        likely = WITH_PORTS if protocol.has_ports else (TCP, UDP, ICMP, ICMPV6, IGMP, *NUMBERED)
        drawn = {one.number: one for one in draw(st.lists(st.sampled_from(likely), max_size=3))}
        others = tuple(one for number, one in drawn.items() if number != protocol.number)
    is_icmp = not others and protocol in (ICMP, ICMPV6, Protocol(1), Protocol(58))
    action = draw(st.sampled_from((Action.ALLOW, Action.ALLOW, Action.DENY, Action.LOG, Action.PASS)))
    may_limit = action is Action.ALLOW and identity.direction is Direction.INGRESS
    # By what was drawn: another choice would make others of the plans that mutants are caught by.
    limit = LIMITS[asks // 3 % 3] if may_limit and asks % 3 == 1 else None
    return PlannedRule(
        identity,
        action,
        FAMILIES if family is None else (family,),
        protocol,
        draw(st.sampled_from((TCP, UDP, ICMP, *NUMBERED))) if asks & 3 == 3 else None,
        draw(icmps) if is_icmp and asks & 4 else None,
        draw(icmps) if asks & 3 == 2 else None,
        draw(_sides(family, protocol)) if asks & 8 else PlannedSide(),
        draw(_sides(family, protocol)) if asks & 16 else PlannedSide(),
        other_protocols=others,
        ipsec=draw(st.sampled_from((None, None, None, True, False)))
        if identity.direction is Direction.INGRESS
        else None,
        unrecorded=(action is Action.DENY and draw(st.integers(0, 3)) == 0) or (limit is not None and asks % 4 == 1),
        limit=limit,
    )


_RATE = Rate(10_000, Unit.SECOND)
LIMITS = (SourceLimit(_RATE), SourceLimit(max_connections=10_000), SourceLimit(_RATE, 10_000))
"""Limits that no property sends enough packets for: a packet that is beyond one says so itself."""

MACS = tuple(Mac(0x020000000000 + number) for number in range(3))


def _by_neighbour(rule: PlannedRule, chosen: int) -> PlannedRule:
    """The rule, for some neighbours alone if it is one of a few and of ingress."""
    if chosen > 2 or rule.identity.direction is Direction.EGRESS:
        return rule
    return replace(rule, source=replace(rule.source, macs=MACS[: chosen + 1]))


LINKS = LinkNetworks(
    tuple(
        (interface, _cidr(text))
        for interface, texts in (
            ("eth0", ("10.0.0.0/23", "192.0.2.0/25", "fd00:1::/64")),
            ("eth1", ("10.0.1.4/30", "fd00::/8")),
            ("wg0", ("10.0.1.0/24", "2001:db8::/33")),
        )
        for text in texts
    )
)
"""The networks that some of the interfaces are on."""


def _by_network(rule: PlannedRule, chosen: int) -> PlannedRule:
    """The rule, for peers on the networks of the interface alone, or for all others, if it is one of a few."""
    if chosen > 1:
        return rule
    into = rule.identity.direction is Direction.INGRESS
    side = rule.source if into else rule.destination
    if chosen:
        side = replace(side, not_local=LINKS)
    else:
        side = replace(side, nets=None, local=LocalNets(LINKS, side.nets or ()))
    return replace(rule, source=side) if into else replace(rule, destination=side)


@st.composite
def policies(draw: st.DrawFn, tier: str, name: str, direction: Direction, most: int = 6) -> PlannedPolicy:
    """A policy of up to so many rules, in a tier, or a profile where the tier is empty."""
    kind = "GlobalNetworkPolicy" if tier else "Profile"
    count = draw(st.integers(0, most))
    identities = [RuleIdentity(kind, tier, name, direction, f"{index:012x}", 0, index) for index in range(count)]
    staged = bool(tier) and draw(st.integers(0, 3)) == 0
    if staged:
        kind = "StagedGlobalNetworkPolicy"
        identities = [replace(identity, kind=kind) for identity in identities]
    planned = tuple(_by_neighbour(draw(rules(identity)), draw(st.integers(0, 15))) for identity in identities)
    planned = tuple(_by_network(rule, draw(st.integers(0, 9))) for rule in planned)
    early = bool(tier) and draw(st.integers(0, 3)) == 0
    if early:
        planned = tuple(
            rule if rule.action is Action.LOG or rule.limit is not None else replace(rule, action=Action.DENY)
            for rule in planned
        )
    return PlannedPolicy(kind, name, tier, None, planned, staged=staged, before_failsafes=early)


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
    """The policies of one direction of an endpoint."""
    profiles = tuple(draw(policies("", f"profile{k}", direction)) for k in range(draw(st.integers(0, 2))))
    early = st.integers(0, 3).flatmap(lambda n: tiers(direction, "e") if n == 0 else st.just(()))
    return PlannedDirection(
        draw(tiers(direction, "t")),
        profiles,
        draw(tiers(direction, "f")),
        draw(early),
        draw(early) if direction is Direction.INGRESS else (),
    )


@st.composite
def _many_tiers(draw: st.DrawFn, direction: Direction, prefix: str) -> tuple[PlannedTier, ...]:
    """Nine to twelve tiers, most of which pass something on."""
    found = []
    for number in range(draw(st.integers(9, 12))):
        name = f"{prefix}{number}"
        policy = draw(policies(name, "p0", direction, 2))
        identity = RuleIdentity("GlobalNetworkPolicy", name, "p1", direction, f"{number:012x}", 0, 0)
        passed = replace(draw(rules(identity)), action=Action.PASS, unrecorded=False, limit=None)
        passing = PlannedPolicy("GlobalNetworkPolicy", "p1", name, None, (passed,))
        found.append(PlannedTier(name, draw(st.sampled_from((Action.DENY, Action.PASS))), (policy, passing)))
    return tuple(found)


@st.composite
def _tall_directions(draw: st.DrawFn, direction: Direction) -> PlannedDirection:
    early = st.just(()) if draw(st.booleans()) else tiers(direction, "e")
    is_ingress = direction is Direction.INGRESS
    return PlannedDirection(
        draw(_many_tiers(direction, "t")),
        (),
        draw(_many_tiers(direction, "f")),
        draw(early),
        draw(early) if is_ingress else (),
    )


@st.composite
def tall_plans(draw: st.DrawFn) -> Plan:
    """A host of one endpoint with more tiers in a row than a chain of jumps may be deep."""
    endpoint = PlannedEndpoint("a", draw(_tall_directions(Direction.INGRESS)), draw(_tall_directions(Direction.EGRESS)))
    bindings = tuple(Binding(interface, "a", "drawn") for interface in ("eth0", "eth1", "wg0"))
    return Plan("host", draw(all_settings), (endpoint,), bindings, draw(st.sampled_from(("a", None))))


failsafe_ports = st.builds(
    FailsafePort,
    st.sampled_from((TCP, UDP)),
    st.sampled_from(PORTS),
    st.one_of(st.none(), st.sampled_from((*CIDRS[Family.V4], *CIDRS[Family.V6]))),
)
lease_ports = st.builds(
    FailsafePort,
    st.just(UDP),
    st.sampled_from((67, 547)),
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
    published_ports=st.sampled_from((PublishedPorts.POLICY, PublishedPorts.POLICY, PublishedPorts.THEIRS)),
    # The simulation knows no limits.
    logging=st.just(Logging(burst_packets=1_000_000, shared_burst_packets=1_000_000)),
    workloads=st.builds(
        Workloads,
        st.sampled_from(((), (), ("wg*",), ("eth3", "unk*"))),
        st.just(TO_HOST_PORTS) | st.lists(failsafe_ports | lease_ports, max_size=3).map(tuple),
    ),
    multicast_answers=st.sampled_from(((), (), (53, 1900))),
    reverse_path_filter=st.sampled_from((ReversePathFilter.DISABLED, *ReversePathFilter)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A host with up to two endpoints, some interfaces bound to them, and perhaps a wildcard."""
    names = ("a", "b")[: draw(st.sampled_from((0, 1, 1, 2, 2, 2, 2, 2)))]
    endpoints = tuple(
        PlannedEndpoint(name, draw(directions(Direction.INGRESS)), draw(directions(Direction.EGRESS))) for name in names
    )
    governors = draw(st.tuples(*(st.sampled_from((*names, *names, *names, None)) for _ in INTERFACES)))
    bindings = tuple(
        Binding(interface, name, "drawn")
        for interface, name in sorted(zip(INTERFACES, governors, strict=True), key=lambda pair: pair[0])
        if name is not None
    )
    wildcard = draw(st.sampled_from((*names, *names, None)))
    has_workload = draw(st.booleans())
    if endpoints and has_workload:
        # The last is a workload, behind interfaces of its own.
        ingress, egress = (
            replace(of, forward_tiers=(), untracked_tiers=(), pre_dnat_tiers=())
            for of in (endpoints[-1].ingress, endpoints[-1].egress)
        )
        last = replace(endpoints[-1], ingress=ingress, egress=egress, workload=Workload(draw(any_cidrs)))
        endpoints = (*endpoints[:-1], last)
        bindings = tuple(b for b in bindings if b.endpoint != last.name or b.interface != "lo")
        wildcard = None if wildcard == last.name else wildcard
    return Plan("host", draw(all_settings), endpoints, bindings, wildcard, networks=LINKS)


BRIDGES = ("eth1", "wg0")
"""The interfaces that are bridges of workloads where plans have any."""


@st.composite
def _guests(draw: st.DrawFn, number: int, addresses: tuple[Cidr, ...]) -> PlannedEndpoint:
    """A workload behind a bridge, with some addresses of its own there.

    Its Ethernet address is asked where ports are known, in the table of bridges.
    """
    ingress, egress = (
        replace(draw(directions(of)), forward_tiers=(), untracked_tiers=(), pre_dnat_tiers=()) for of in Direction
    )
    behind = Workload(addresses, bridge=draw(st.sampled_from(BRIDGES)), port=f"port{number}")
    return PlannedEndpoint(f"shop/w{number}", ingress, egress, workload=behind)


@st.composite
def bridged_plans(draw: st.DrawFn) -> Plan:
    """A host of up to three workloads behind bridges, and perhaps others behind interfaces, and a HostEndpoint."""
    plan = draw(plans())
    count = draw(st.integers(1, 3))
    # No two of them have one address, wherever they are.
    shares = [
        tuple(host_cidr(family, address) for family in FAMILIES for address in ADDRESSES[family][number::4])
        for number in range(count)
    ]
    guests = tuple(draw(_guests(number, own)) for number, own in enumerate(shares))
    workloads = replace(plan.settings.workloads, bridges=draw(st.sampled_from((BRIDGES, ("eth1", "wg*")))))
    interfaces = tuple(one for one in workloads.interfaces if not one.startswith("wg"))
    return replace(
        plan,
        settings=replace(plan.settings, workloads=replace(workloads, interfaces=interfaces)),
        endpoints=(*plan.endpoints, *guests),
        bindings=tuple(one for one in plan.bindings if one.interface not in BRIDGES),
        bridges=tuple(map(GovernedBridge, BRIDGES)),
    )


# ----------------------------------------------------------------------------------------------------------- packets

_PROTOCOLS = (TCP, TCP, TCP, TCP, UDP, UDP, SCTP, None, None, ICMP, ICMPV6, Protocol(2), Protocol(47))
"""None stands for the ICMP of the packet's own family."""
_PORTS = (*NAMED_PORTS, *NAMED_PORTS, *NAMED_PORTS, *PORTS, 67, 68, 546, 547)
_PATHS = (Path.LOCAL_IN, Path.LOCAL_IN, Path.LOCAL_OUT, Path.FORWARDED)
_WAYS = ("eth0", "eth0", "eth1", "eth1", "eth2", "eth3", "wg0", "wg0", "lo", "unknown0")
_STATES = (*[ConntrackState.NEW] * 9, *ConntrackState)
_CHOICES = 23
"""Bytes that a packet is made of, one a choice."""


def packets() -> st.SearchStrategy[Packet]:
    """A packet of the small world, on any of the three paths."""
    return st.binary(min_size=_CHOICES, max_size=_CHOICES).map(_packet)


def burst(seed: int, count: int) -> list[Packet]:
    """As many packets, the same for a seed: a thousand times faster than to draw each, but they do not shrink."""
    chance = Random(seed)
    return [_packet(chance.randbytes(_CHOICES)) for _ in range(count)]


_TO_A_GROUP = {
    Family.V4: (_address("192.0.2.128"), _address("224.0.0.22")),
    Family.V6: (_address("fe80::1"), _address("ff02::16")),
}
"""The ends of a message by which a host joins a group of multicast."""

seeds = st.integers(0, 2**16 - 1)


def _original(family: Family, destination: int, port: int | None, out_interface: str | None) -> Original:
    return Original(destination, port, out_interface, own=destination in OWN[family])


def _packet(choices: bytes) -> Packet:
    """The packet that a byte for each choice stands for; zeros are the plainest."""
    chosen = iter(choices)

    def pick(things: Sequence[Thing]) -> Thing:
        return things[next(chosen) % len(things)]

    family, drawn, path, state = pick(FAMILIES), pick(_PROTOCOLS), pick(_PATHS), pick(_STATES)
    own_icmp = ICMP if family is Family.V4 else ICMPV6
    protocol = (drawn or own_icmp).number
    source, destination, before = (pick(ADDRESSES[family]) for _ in range(3))
    ports = [pick(_PORTS) if protocol in PORT_PROTOCOLS else None for _ in range(3)]
    is_icmp = protocol == own_icmp.number
    icmp_type, icmp_code = pick((8, 128, 0, 3, 129, 130, 134, 135, 143)), pick((0, 1, 2))
    hop_limit, way_in, way_out, first_way, translated = (
        pick((64, 255, 1)),
        pick(_WAYS),
        pick(_WAYS),
        pick((None, *_WAYS)),
        pick((False, False, False, True, True)),
    )
    if pick((False, False, False, False, True)):
        source, destination = _TO_A_GROUP[family]
        if pick((False, True)):
            protocol, ports = IGMP.number, [None] * 3
        is_icmp = protocol == own_icmp.number
    follows = state not in (ConntrackState.INVALID, ConntrackState.UNTRACKED)
    mac, ipsec = pick((None, *MACS)), pick((False, False, True))
    return Packet(
        family,
        protocol,
        source,
        destination,
        ports[0],
        ports[1],
        icmp_type if is_icmp else None,
        icmp_code if is_icmp else None,
        hop_limit,
        None if path is Path.LOCAL_OUT else way_in,
        None if path is Path.LOCAL_IN else way_out,
        state,
        _original(family, before, ports[2], first_way if path is Path.LOCAL_OUT else None)
        if translated and follows
        else None,
        mac if path is not Path.LOCAL_OUT else None,
        ipsec and path is not Path.LOCAL_OUT,
        pick((False, False, False, True)) and path is not Path.LOCAL_OUT,
        pick((False, False, False, True)) and path is not Path.LOCAL_OUT,
        over_limit=sum(choices) % 3 == 2,
    )


def leases() -> list[Packet]:
    """Answers of a server of leases on the host, to workloads and to nobody: of two ports that are seldom drawn."""
    return [
        Packet(family, UDP.number, ADDRESSES[family][0], address, *ports, out_interface=interface)
        for family, ports in ((Family.V4, (67, 68)), (Family.V6, (547, 546)))
        for interface in (*BRIDGES, "eth3")
        for address in ADDRESSES[family]
    ]
