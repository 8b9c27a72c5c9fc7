"""Small builders of resources and facts: only what a case is about has to be said."""

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Labels, Metadata, SelectorText
from hostfw.model.kinds.sets import GlobalNetworkSet
from hostfw.model.kinds.workloads import EndpointPort
from hostfw.model.positions import Position
from hostfw.model.resources import (
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    Profile,
    Rule,
    StagedGlobalNetworkPolicy,
    Tier,
)
from hostfw.model.values import (
    Action,
    Cidr,
    Direction,
    PortRange,
    Protocol,
    StagedAction,
    host_cidr,
    parse_address,
    parse_cidr,
)

INGRESS = (Direction.INGRESS,)
EGRESS = (Direction.EGRESS,)
BOTH = (Direction.INGRESS, Direction.EGRESS)

NODE = "web1"


def net(text: str) -> Cidr:
    """A prefix, or the host prefix of a bare address."""
    parsed = parse_cidr(text)
    if parsed is not None:
        return parsed
    address = parse_address(text)
    assert address is not None, text
    return host_cidr(*address)


def nets(*texts: str) -> tuple[Cidr, ...]:
    """Several of them."""
    return tuple(map(net, texts))


def at(line: int, path: str = "policy.yaml") -> Position:
    """A position in a file."""
    return Position(path, line, 1)


def metadata(name: str, labels: dict[str, str] | None = None, line: int = 1) -> Metadata:
    """Name, labels, and the line that the document begins on."""
    return Metadata(name, tuple(sorted((labels or {}).items())), position=at(line))


def side(
    nets: tuple[str, ...] = (),
    not_nets: tuple[str, ...] = (),
    selector: str | None = None,
    not_selector: str | None = None,
    ports: tuple[int | str | tuple[int, int], ...] = (),
    not_ports: tuple[int | str | tuple[int, int], ...] = (),
) -> EntityRule:
    """One side of a rule; a port is a number, a range or a name."""
    return EntityRule(
        nets=tuple(map(net, nets)),
        not_nets=tuple(map(net, not_nets)),
        selector=None if selector is None else SelectorText(selector),
        not_selector=None if not_selector is None else SelectorText(not_selector),
        ports=tuple(map(_port, ports)),
        not_ports=tuple(map(_port, not_ports)),
    )


def rule(
    action: Action,
    protocol: Protocol | None = None,
    source: EntityRule | None = None,
    destination: EntityRule | None = None,
    line: int = 1,
) -> Rule:
    """A rule with the criteria that most cases need."""
    return Rule(
        action,
        protocol=protocol,
        source=source or EntityRule(),
        destination=destination or EntityRule(),
        position=at(line),
    )


ALLOW = rule(Action.ALLOW)
DENY = rule(Action.DENY)
LOG = rule(Action.LOG)
PASS = rule(Action.PASS)


def gnp(
    name: str,
    *,
    selector: str = "",
    tier: str = "default",
    order: float | None = None,
    ingress: tuple[Rule, ...] = (),
    egress: tuple[Rule, ...] = (),
    types: tuple[Direction, ...] = INGRESS,
    forward: bool = False,
    untracked: bool = False,
    pre_dnat: bool = False,
    line: int = 1,
) -> GlobalNetworkPolicy:
    """A GlobalNetworkPolicy; one that is untracked or preDNAT applies on forward, as it must."""
    return GlobalNetworkPolicy(
        metadata(name, line=line),
        tier=tier,
        order=order,
        selector=SelectorText(selector),
        types=types,
        ingress=ingress,
        egress=egress,
        apply_on_forward=forward or untracked or pre_dnat,
        do_not_track=untracked,
        pre_dnat=pre_dnat,
    )


def staged(policy: GlobalNetworkPolicy, action: StagedAction = StagedAction.SET) -> StagedGlobalNetworkPolicy:
    """The policy, proposed."""
    return StagedGlobalNetworkPolicy(policy, action)


def hep(
    name: str,
    interface: str | None = None,
    *,
    group: str | None = None,
    ips: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    profiles: tuple[str, ...] = (),
    ports: tuple[tuple[str, Protocol, int], ...] = (),
    node: str = NODE,
    line: int = 1,
) -> HostEndpoint:
    """A HostEndpoint of this node unless said otherwise."""
    return HostEndpoint(
        metadata(name, labels, line),
        node=node,
        interface_name=interface,
        interface_group=group,
        expected_ips=nets(*ips),
        profiles=profiles,
        ports=tuple(EndpointPort(*port) for port in ports),
        interface_group_position=at(line + 1),
    )


def gns(name: str, *texts: str, labels: dict[str, str] | None = None) -> GlobalNetworkSet:
    """A GlobalNetworkSet of prefixes and bare addresses."""
    return GlobalNetworkSet(metadata(name, labels), nets(*texts))


def tier(name: str, order: float | None = None, default_action: Action = Action.DENY) -> Tier:
    """A Tier."""
    return Tier(metadata(name), order, default_action)


def profile(
    name: str, *, labels: dict[str, str] | None = None, ingress: tuple[Rule, ...] = (), egress: tuple[Rule, ...] = ()
) -> Profile:
    """A Profile."""
    to_apply: Labels = tuple(sorted((labels or {}).items()))
    return Profile(metadata(name), to_apply, ingress, egress)


def group(name: str, *match: InterfaceMatch, but: tuple[InterfaceMatch, ...] = ()) -> InterfaceGroup:
    """An InterfaceGroup; `but` is its `except`."""
    return InterfaceGroup(metadata(name), match, but)


def link(name: str, *addresses: str, altnames: tuple[str, ...] = (), kind: str = "", **more: object) -> Interface:
    """An interface with addresses; `more` are other fields of Interface."""
    return Interface(name, 2, altnames, kind, addresses=nets(*addresses), **more)  # type: ignore[arg-type]


LO = link("lo", "127.0.0.1", "::1", kind="loopback")
ETH0 = link("eth0", "10.0.0.1", "2001:db8::1", default_route=True)
ETH1 = link("eth1", "192.168.1.1")


def facts(*interfaces: Interface, node: str = NODE, link_groups: tuple[tuple[str, int], ...] = ()) -> HostFacts:
    """A host with these interfaces; with none given, lo, eth0 and eth1."""
    return HostFacts(node, interfaces or (LO, ETH0, ETH1), link_groups)


def _port(port: int | str | tuple[int, int]) -> PortRange | str:
    match port:
        case str(name):
            return name
        case int(number):
            return PortRange(number, number)
        case (first, last):
            return PortRange(first, last)
