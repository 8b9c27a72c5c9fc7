"""A Plan: what policy means on one host, with nothing left to look up.

Selectors are address sets, named ports are members, interfaces are bound to endpoints, tiers and policies are in
evaluation order. `policy.explain` gives verdicts from it, `compile` gives a ruleset from it, and the two must agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from hostfw.model.host.guests import GovernedBridge, Workload
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.prefixes import Cidrs, CidrSet
from hostfw.model.settings import UNIDENTIFIED, Settings
from hostfw.model.time.expiry import Expired
from hostfw.model.values import Action, Cidr, Direction, Family, Icmp, Mac, PortRange, Protocol, of_family


@dataclass(frozen=True, slots=True, order=True)
class ExternalSet:
    """A set that only the kernel holds, in each family: other programs fill it, and no generation says with what.

    `size` is the largest number of addresses of a family, and of prefixes; `timeout_s` the seconds after which a member
    goes that was put in without a time of its own, None for never.
    """

    name: str
    size: int
    timeout_s: int | None = None


class Member(NamedTuple):
    """An address or prefix in an external set, with the seconds that it has left there, None for ever.

    `given_s` is how many it was put in for, None where that is what its set gives. `part_of` is the range of addresses,
    first and last, that it is a part of among prefixes, None where it is that range itself.
    """

    cidr: Cidr
    left_s: float | None = None
    given_s: float | None = None
    part_of: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class AddressSet:
    """The addresses that a rule selector stands for: disjoint, sorted prefixes of both families.

    `selector` is the canonical text. An empty set matches no packet; negated, it matches every packet. `from_feed` is
    whether a Feed is among what it stands for. The members of `external` sets, sorted by name, belong to it as well.
    """

    selector: str
    cidrs: Cidrs
    from_feed: bool = False
    external: tuple[ExternalSet, ...] = ()

    def of(self, family: Family) -> Cidrs:
        """The members of one family."""
        if isinstance(self.cidrs, CidrSet):
            return self.cidrs.of(family)
        return of_family(self.cidrs, family)


class PortMember(NamedTuple):
    """One address, protocol and port that a named port stands for."""

    family: Family
    address: int
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class PortSet:
    """The members of a port name on the endpoints that the same side's selector selects, sorted."""

    name: str
    members: tuple[PortMember, ...]

    def of(self, family: Family) -> tuple[PortMember, ...]:
        """The members of one family."""
        return tuple(m for m in self.members if m.family is family)


@dataclass(frozen=True, slots=True)
class LinkNetworks:
    """The networks that interfaces are on, sorted by interface and prefix; no two of an interface overlap."""

    networks: tuple[tuple[str, Cidr], ...] = ()

    def holds(self, interface: str | None, family: Family, address: int) -> bool:
        """True if an address is in a network of the interface."""
        return any(net.family is family and net.contains(address) for name, net in self.networks if name == interface)

    def of(self, interface: str | None, family: Family) -> tuple[Cidr, ...]:
        """The networks of one interface in one family."""
        return tuple(net for name, net in self.networks if name == interface and net.family is family)


LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 64)
"""The addresses of IPv6 that are on the link of every interface (RFC 4291, 2.5.6): no router passes them on."""

NO_NETWORKS = LinkNetworks()
"""No network of any interface, which no address is in."""


@dataclass(frozen=True, slots=True)
class LocalNets:
    """A list of prefixes with the word `local`: an address is in one of `nets`, or in a network of its interface."""

    links: LinkNetworks
    nets: tuple[Cidr, ...] = ()

    def holds(self, interface: str | None, family: Family, address: int) -> bool:
        """True if an address that a packet came from, or goes to, on an interface is in the list."""
        of_nets = any(net.family is family and net.contains(address) for net in self.nets)
        return of_nets or self.links.holds(interface, family, address)


@dataclass(frozen=True, slots=True)
class PlannedSide:
    """One side of a rule. `nets` and `ports` are None when unrestricted; an empty tuple would match nothing.

    `local` takes the place of `nets` where these have that word, and `not_local` are networks besides `not_nets`. Of a
    source they are those of the interface that a packet came in on, of a destination those of the one it goes out on.

    Ports match if a range of `ports` or a member of `port_sets` does; `not_ports` and `not_port_sets` must not. `macs`
    are any of the Ethernet addresses of the neighbour that it came from; empty where the side asks for none.
    """

    nets: tuple[Cidr, ...] | None = None
    not_nets: tuple[Cidr, ...] = ()
    address_set: AddressSet | None = None
    not_address_set: AddressSet | None = None
    ports: tuple[PortRange, ...] | None = None
    port_sets: tuple[PortSet, ...] = ()
    not_ports: tuple[PortRange, ...] = ()
    not_port_sets: tuple[PortSet, ...] = ()
    macs: tuple[Mac, ...] = ()
    local: LocalNets | None = None
    not_local: LinkNetworks | None = None

    @property
    def restricts_ports(self) -> bool:
        """True if the side names ports at all, numeric or by name."""
        return self.ports is not None or bool(self.port_sets)


ANY_SIDE = PlannedSide()
"""A side without restrictions."""


@dataclass(frozen=True, slots=True)
class RuleIdentity:
    """The identity of a policy rule, which edits around it do not change; named counters are keyed by it.

    `digest` is of the rule's own content; `number` tells equal rules of one policy and direction apart. `index` is
    its place in the list (from 0), for people; it is no part of the key.
    """

    kind: str
    tier: str
    policy: str
    direction: Direction
    digest: str
    number: int
    index: int


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """A policy rule ready to be matched, in the families it exists in; of several protocols any will do.

    The denials of one that is `unrecorded` are counted and leave no record in the log. An Allow with a `limit` denies
    what is beyond it.
    """

    identity: RuleIdentity
    action: Action
    families: tuple[Family, ...]
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: PlannedSide = ANY_SIDE
    destination: PlannedSide = ANY_SIDE
    position: Position = NOWHERE
    other_protocols: tuple[Protocol, ...] = ()
    unrecorded: bool = False
    ipsec: bool | None = None
    limit: SourceLimit | None = None

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols of which any will do; empty where the rule asks for none."""
        return () if self.protocol is None else (self.protocol, *self.other_protocols)


@dataclass(frozen=True, slots=True)
class PlannedPolicy:
    """A policy (or a profile, with `tier` empty) in one direction.

    A staged one decides nothing: the rule of it that would decide is counted and logged, and the next policy follows.
    Local traffic meets those that are `before_failsafes` ahead of every tier, and not in their own. `why` and `ticket`
    are its annotations hostfw.io/reason and hostfw.io/ticket.
    """

    kind: str
    name: str
    tier: str
    order: float | None
    rules: tuple[PlannedRule, ...]
    position: Position = NOWHERE
    staged: bool = False
    before_failsafes: bool = False
    why: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class PlannedTier:
    """A tier with the policies of it that select an endpoint in one direction and class; never without a policy."""

    name: str
    default_action: Action
    policies: tuple[PlannedPolicy, ...]

    @property
    def is_enforced(self) -> bool:
        """True if it holds a policy that is not staged; only then does its end decide anything."""
        return any(not policy.staged for policy in self.policies)

    @property
    def after_failsafes(self) -> tuple[PlannedPolicy, ...]:
        """The policies that local traffic meets in this tier."""
        if not any(policy.before_failsafes for policy in self.policies):
            return self.policies
        return tuple(policy for policy in self.policies if not policy.before_failsafes)


@dataclass(frozen=True, slots=True)
class PlannedDirection:
    """The policies of one direction of an endpoint, by class.

    `tiers` decide local traffic, then `profiles` in order, then a drop. Policies of them that are `before_failsafes`
    come ahead of all others, and of the failsafe ports that are open to everybody. `forward_tiers` hold only the
    policies with applyOnForward; forwarded traffic that they leave undecided passes. `untracked_tiers` (doNotTrack) see
    every packet before connection tracking, and `pre_dnat_tiers` (preDNAT, ingress alone) see new ones before
    destination NAT; neither has an end of tier, and what they leave undecided goes on to the others.
    """

    tiers: tuple[PlannedTier, ...] = ()
    profiles: tuple[PlannedPolicy, ...] = ()
    forward_tiers: tuple[PlannedTier, ...] = ()
    untracked_tiers: tuple[PlannedTier, ...] = ()
    pre_dnat_tiers: tuple[PlannedTier, ...] = ()

    @property
    def before_failsafes(self) -> tuple[PlannedPolicy, ...]:
        """The policies that local traffic meets before the failsafe ports that are open to everybody, in order."""
        return tuple(policy for tier in self.tiers for policy in tier.policies if policy.before_failsafes)


@dataclass(frozen=True, slots=True)
class PlannedEndpoint:
    """A HostEndpoint of this node that governs at least one interface, or a workload behind one.

    What comes in on the interface of a workload is what the workload sends, so it meets the workload's egress policy.
    """

    name: str
    ingress: PlannedDirection
    egress: PlannedDirection
    position: Position = NOWHERE
    workload: Workload | None = None

    def met(self, side: Direction) -> Direction:
        """The direction of its policy that packets meet which come in on its interface, or go out on it."""
        return side if self.workload is None else side.opposite

    def direction(self, direction: Direction) -> PlannedDirection:
        """The side of the endpoint that traffic of a direction meets."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    @property
    def title(self) -> str:
        """The endpoint in words: `HostEndpoint uplink`, `workload shop/web`."""
        return title_of(self.name)


def title_of(endpoint: str) -> str:
    """An endpoint in words, by its name: that of a workload has its namespace before it, and no other has one."""
    if endpoint == UNIDENTIFIED:
        return "unidentified workload"
    return f"workload {endpoint}" if "/" in endpoint else f"HostEndpoint {endpoint}"


UNIDENTIFIED_WORKLOAD = PlannedEndpoint(
    UNIDENTIFIED, PlannedDirection(), PlannedDirection(), workload=Workload(identified=False)
)
"""The endpoint of interfaces of workloads that no WorkloadEndpoint names."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One interface and the endpoint that governs it; `reason` says why it does, for people.

    `kept` is whether the HostEndpoint claims it no longer, and governs it as it did before some fact changed.
    `port_of` is the bridge, bond or VRF that the interface is a port of: packets come in and go out on that one.
    """

    interface: str
    endpoint: str
    reason: str
    present: bool = True
    kept: bool = False
    port_of: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides packets on one host.

    `bindings` are sorted by interface; `wildcard` is the endpoint of every interface without a binding, or None
    where such interfaces are unmanaged. What the host says to itself on `lo` is exempt unless `lo` has a binding of its
    own; with `loopback: policed` the wildcard has one for it. `expired` are the resources that count no more, and
    `next_expiry` is the moment at which the next one expires. `external` are the sets that other programs fill,
    whether or not a rule asks for them. `networks` are those that interfaces are on, if `multicast_answers` are let in.
    `nft_rules` are in the order in which packets meet those of one hook.
    `bridges` are those that are there and whose ports are workloads, and `other_ports` the ports of all other bridges.
    """

    node: str
    settings: Settings
    endpoints: tuple[PlannedEndpoint, ...] = ()
    bindings: tuple[Binding, ...] = ()
    wildcard: str | None = None
    expired: tuple[Expired, ...] = ()
    next_expiry: datetime | None = None
    external: tuple[ExternalSet, ...] = ()
    networks: LinkNetworks = NO_NETWORKS
    nft_rules: tuple[NftRules, ...] = ()
    bridges: tuple[GovernedBridge, ...] = ()
    other_ports: tuple[str, ...] = ()

    @property
    def bridge_names(self) -> tuple[str, ...]:
        """The bridges that are there and whose ports are workloads."""
        return tuple(bridge.name for bridge in self.bridges)

    @property
    def bridged(self) -> tuple[tuple[PlannedEndpoint, Workload], ...]:
        """The workloads that are behind ports of bridges."""
        found = ((endpoint, endpoint.workload) for endpoint in self.endpoints)
        return tuple((endpoint, workload) for endpoint, workload in found if workload is not None and workload.bridge)

    def behind(self, bridge: str, family: Family, address: int) -> str:
        """The name of the workload that has an address behind a bridge of theirs."""
        for endpoint, workload in self.bridged:
            if workload.bridge == bridge and any(
                net.family is family and net.address == address for net in workload.addresses
            ):
                return endpoint.name
        return UNIDENTIFIED

    def endpoint(self, name: str) -> PlannedEndpoint:
        """The planned endpoint of that name."""
        if name == UNIDENTIFIED:
            return UNIDENTIFIED_WORKLOAD
        return next(e for e in self.endpoints if e.name == name)

    def governing(self) -> Callable[[str], str | None]:
        """The function from the name of an interface to that of the endpoint that governs it, None for none.

        What `lo` means for a wildcard is left to the caller.
        """
        own = {binding.interface: binding.endpoint for binding in self.bindings}
        return lambda interface: own[interface] if interface in own else self.governing_unbound(interface)

    def governing_unbound(self, interface: str) -> str | None:
        """The name of the endpoint that governs an interface without a binding, None for none."""
        return UNIDENTIFIED if self.settings.workloads.has(interface) else self.wildcard

    @property
    def host_endpoints(self) -> tuple[PlannedEndpoint, ...]:
        """The HostEndpoints alone."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.workload is None)


BASE_PROTECTION = Plan("", Settings())
"""The plan that is active where no generation was accepted: failsafes alone, as an empty configuration has."""
