"""The resources that a person writes, decoded: `projectcalico.org/v3` kinds and the `hostfw.io/v1` extensions.

Field names are Calico's in snake case. An absent list is empty and an absent value None, except where the
difference matters (`types`), so that a resource says exactly what its manifest says. See the resource reference of
the Calico documentation for the meaning of each field.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar, cast

from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.kinds.metadata import BEFORE_FAILSAFES, LOG, UNRECORDED, Labels, Metadata, SelectorText
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.kinds.workloads import EndpointPort, WorkloadEndpoint
from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.values import Action, Cidr, Direction, Family, Icmp, Learned, Mac, PortRange, Protocol, StagedAction

if TYPE_CHECKING:
    # Loaded with the first manifest of Kubernetes, which most configurations have none of.
    from hostfw.model.kinds.kubernetes import ClusterPolicy, PodPolicy

_Kind = TypeVar("_Kind")

ANY_NODE = "*"
"""The node of a HostEndpoint that is of every host which reads it, whatever the host is called."""

LOCAL = "local"
"""The word among the prefixes of a rule for the networks of the interface that a packet comes in or goes out on."""

WILDCARD = "*"
"""The interfaceName of a HostEndpoint for all interfaces that no other one claims."""


@dataclass(frozen=True, slots=True)
class EntityRule:
    """One side of a policy rule. All present criteria must hold; within a list any one (or, negated, none).

    `local` is whether `nets` has that word too: the networks of the interface that a packet comes in or goes out on;
    `not_local` is the same of `notNets`.
    """

    nets: tuple[Cidr, ...] = ()
    not_nets: tuple[Cidr, ...] = ()
    selector: SelectorText | None = None
    not_selector: SelectorText | None = None
    ports: tuple[PortRange | str, ...] = ()
    not_ports: tuple[PortRange | str, ...] = ()
    macs: tuple[Mac, ...] = ()
    local: bool = False
    not_local: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy rule. `position` is where its YAML mapping begins.

    `other_protocols` are those of a list behind the first, which is `protocol`: any of them will do. `ipsec` asks
    whether what comes in came through IPsec; None asks nothing. `limit` is what an Allow lets in from one source.
    """

    action: Action
    ip_version: Family | None = None
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: EntityRule = EntityRule()
    destination: EntityRule = EntityRule()
    annotations: Labels = ()
    position: Position = NOWHERE
    other_protocols: tuple[Protocol, ...] = ()
    ipsec: bool | None = None
    limit: SourceLimit | None = None

    @property
    def unrecorded(self) -> bool:
        """True if the rule says that its denials leave no record."""
        return (LOG, UNRECORDED) in self.annotations

    @property
    def may_deny(self) -> bool:
        """True if packets are denied by the rule: all that it matches, or what is beyond its limit."""
        return self.action is Action.DENY or self.limit is not None

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols of which any will do; empty where the rule asks for none."""
        return () if self.protocol is None else (self.protocol, *self.other_protocols)

    @property
    def by_protocol(self) -> "tuple[Rule, ...]":
        """The rules that say the same together, with one protocol each at most."""
        if not self.other_protocols:
            return (self,)
        return tuple(replace(self, protocol=one, other_protocols=()) for one in self.protocols)


_EVERY = SelectorText("")


@dataclass(frozen=True, slots=True)
class GlobalNetworkPolicy:
    """Ordered rules for every HostEndpoint that `selector` selects. `order` None means last.

    `types` is the effective value, defaulting applied: the directions in which the policy exists. `do_not_track` and
    `pre_dnat` exclude each other and need `apply_on_forward`, as they see traffic before its path is known.
    """

    metadata: Metadata
    tier: str = "default"
    order: float | None = None
    selector: SelectorText = _EVERY
    types: tuple[Direction, ...] = (Direction.INGRESS,)
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    apply_on_forward: bool = False
    tier_position: Position = NOWHERE
    do_not_track: bool = False
    pre_dnat: bool = False

    @property
    def before_failsafes(self) -> bool:
        """True if local traffic meets it before the failsafe ports that are open to everybody."""
        return self.metadata.annotation(BEFORE_FAILSAFES) == "true"

    def is_of(self, policy_class: PolicyClass) -> bool:
        """True if it belongs to a class; with applyOnForward a normal policy is of two."""
        match policy_class:
            case PolicyClass.UNTRACKED:
                return self.do_not_track
            case PolicyClass.PRE_DNAT:
                return self.pre_dnat
            case PolicyClass.NORMAL:
                return not (self.do_not_track or self.pre_dnat)
            case PolicyClass.FORWARD:
                return self.apply_on_forward and not (self.do_not_track or self.pre_dnat)

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """The rules of one direction, in order; empty for a direction that `types` leaves out."""
        if direction not in self.types:
            return ()
        return self.ingress if direction is Direction.INGRESS else self.egress


@dataclass(frozen=True, slots=True)
class _OfPolicy:
    """A resource that says what a policy says; `policy` is what it comes to among those of no namespace."""

    policy: GlobalNetworkPolicy

    @property
    def metadata(self) -> Metadata:
        """Its name, namespace, labels, annotations and place."""
        return self.policy.metadata


@dataclass(frozen=True, slots=True)
class _Staged(_OfPolicy):
    """A policy that is tried without being enforced."""

    staged_action: StagedAction = StagedAction.SET

    @property
    def is_evaluated(self) -> bool:
        """True if it proposes rules; Delete and Ignore are as good as absent."""
        return self.staged_action in (StagedAction.SET, StagedAction.LEARN)


class StagedGlobalNetworkPolicy(_Staged):
    """A policy that is tried; it and a GlobalNetworkPolicy of its name are two resources."""

    __slots__ = ()


class StagedNetworkPolicy(_Staged):
    """A policy that is tried, for the workloads of its namespace."""

    __slots__ = ()


class NetworkPolicy(_OfPolicy):
    """A policy for the workloads of its namespace."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _OfKubernetes:
    """A policy of Kubernetes; `policy` is what it is converted to."""

    metadata: Metadata
    spec: "PodPolicy | ClusterPolicy"
    policy: GlobalNetworkPolicy


class KubernetesNetworkPolicy(_OfKubernetes):
    """A NetworkPolicy of Kubernetes, for the workloads of its namespace."""

    __slots__ = ()

    if TYPE_CHECKING:
        spec: PodPolicy


class ClusterNetworkPolicy(_OfKubernetes):
    """A ClusterNetworkPolicy of Kubernetes, for workloads of all namespaces."""

    __slots__ = ()

    if TYPE_CHECKING:
        spec: ClusterPolicy


@dataclass(frozen=True, slots=True)
class HostEndpoint:
    """Interfaces of a node that policy governs.

    One by name, all others (`*`), those with an expected address, or (extension) those of an InterfaceGroup. `node` is
    `*` (extension) where the manifest names none: each host that reads it takes it for its own.
    """

    metadata: Metadata
    node: str
    interface_name: str | None = None
    interface_group: str | None = None
    expected_ips: tuple[Cidr, ...] = ()
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    interface_group_position: Position = NOWHERE
    profile_positions: tuple[Position, ...] = ()
    learned: tuple[Learned, ...] = ()

    def is_of(self, node: str) -> bool:
        """True if the endpoint governs interfaces of a host of that name."""
        return self.node in (ANY_NODE, node)


@dataclass(frozen=True, slots=True)
class Tier:
    """A group of policies that is evaluated as one step; `default_action` is Deny or Pass."""

    metadata: Metadata
    order: float | None = None
    default_action: Action = Action.DENY


@dataclass(frozen=True, slots=True)
class Profile:
    """Rules evaluated after all tiers for the endpoints that list the profile, and labels they inherit."""

    metadata: Metadata
    labels_to_apply: Labels = ()
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """The rules of one direction, in order."""
        return self.ingress if direction is Direction.INGRESS else self.egress


Resource = (
    GlobalNetworkPolicy
    | StagedGlobalNetworkPolicy
    | NetworkPolicy
    | StagedNetworkPolicy
    | KubernetesNetworkPolicy
    | ClusterNetworkPolicy
    | HostEndpoint
    | WorkloadEndpoint
    | GlobalNetworkSet
    | NetworkSet
    | Namespace
    | Feed
    | Tier
    | Profile
    | InterfaceGroup
    | NftRules
)


@dataclass(frozen=True, slots=True)
class Resources:
    """Every decoded resource of a configuration, each kind sorted by name."""

    policies: tuple[GlobalNetworkPolicy, ...] = ()
    endpoints: tuple[HostEndpoint, ...] = ()
    network_sets: tuple[GlobalNetworkSet, ...] = ()
    tiers: tuple[Tier, ...] = ()
    profiles: tuple[Profile, ...] = ()
    interface_groups: tuple[InterfaceGroup, ...] = ()
    staged_policies: tuple[StagedGlobalNetworkPolicy, ...] = ()
    feeds: tuple[Feed, ...] = ()
    namespaced_sets: tuple[NetworkSet, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[WorkloadEndpoint, ...] = ()
    network_policies: tuple[NetworkPolicy, ...] = ()
    staged_network_policies: tuple[StagedNetworkPolicy, ...] = ()
    kubernetes_policies: tuple[KubernetesNetworkPolicy, ...] = ()
    cluster_policies: tuple[ClusterNetworkPolicy, ...] = ()
    nft_rules: tuple[NftRules, ...] = ()

    @property
    def every_endpoint(self) -> tuple[HostEndpoint | WorkloadEndpoint, ...]:
        """The HostEndpoints and the WorkloadEndpoints."""
        return (*self.endpoints, *self.workloads)

    @classmethod
    def of(cls, found: Iterable[Resource]) -> Self:
        """Resources, each kind sorted by name and then place, so that the order of files never matters."""
        ordered = sorted(found, key=lambda resource: (resource.metadata.full_name, resource.metadata.position))
        by_kind: defaultdict[type, list[Resource]] = defaultdict(list)
        for resource in ordered:
            by_kind[type(resource)].append(resource)
        return cls(
            policies=_of(GlobalNetworkPolicy, by_kind),
            endpoints=_of(HostEndpoint, by_kind),
            network_sets=_of(GlobalNetworkSet, by_kind),
            namespaced_sets=_of(NetworkSet, by_kind),
            namespaces=_of(Namespace, by_kind),
            workloads=_of(WorkloadEndpoint, by_kind),
            network_policies=_of(NetworkPolicy, by_kind),
            staged_network_policies=_of(StagedNetworkPolicy, by_kind),
            kubernetes_policies=_of(KubernetesNetworkPolicy, by_kind),
            cluster_policies=_of(ClusterNetworkPolicy, by_kind),
            tiers=_of(Tier, by_kind),
            profiles=_of(Profile, by_kind),
            feeds=_of(Feed, by_kind),
            interface_groups=_of(InterfaceGroup, by_kind),
            staged_policies=_of(StagedGlobalNetworkPolicy, by_kind),
            nft_rules=_of(NftRules, by_kind),
        )

    @property
    def enforced(self) -> tuple[GlobalNetworkPolicy, ...]:
        """The policies that decide, of every kind."""
        return (*self.policies, *(one.policy for one in self.of_workloads))

    @property
    def of_workloads(self) -> tuple[NetworkPolicy | KubernetesNetworkPolicy | ClusterNetworkPolicy, ...]:
        """The policies that decide about workloads alone."""
        return (*self.network_policies, *self.kubernetes_policies, *self.cluster_policies)

    @property
    def staged(self) -> tuple[StagedGlobalNetworkPolicy | StagedNetworkPolicy, ...]:
        """The policies that are tried, of every kind."""
        return (*self.staged_policies, *self.staged_network_policies)

    @property
    def every_policy(self) -> tuple[GlobalNetworkPolicy, ...]:
        """The policies that decide, and those that are staged."""
        return (*self.enforced, *(staged.policy for staged in self.staged))

    @property
    def every_set(self) -> tuple[GlobalNetworkSet | Feed, ...]:
        """The GlobalNetworkSets and the Feeds."""
        return (*self.network_sets, *self.feeds)

    def all(self) -> tuple[Resource, ...]:
        """Every resource, kind by kind."""
        return (
            *self.policies,
            *self.staged_policies,
            *self.network_policies,
            *self.staged_network_policies,
            *self.kubernetes_policies,
            *self.cluster_policies,
            *self.endpoints,
            *self.workloads,
            *self.network_sets,
            *self.namespaced_sets,
            *self.namespaces,
            *self.feeds,
            *self.tiers,
            *self.profiles,
            *self.interface_groups,
            *self.nft_rules,
        )


def _of(kind: type[_Kind], by_kind: Mapping[type, list[Resource]]) -> tuple[_Kind, ...]:
    return cast("tuple[_Kind, ...]", tuple(by_kind.get(kind, ())))
