"""Policies of Kubernetes as they are written: their selectors, peers and ports."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.kinds.metadata import Labels
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.values import Action, Cidr, Direction, PortRange, Protocol


class LabelOperator(StrEnum):
    """The operators of a label selector, spelled as in Kubernetes."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """An item of matchExpressions. NotIn and DoesNotExist hold where the label is absent."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that must all hold; without any it selects everything."""

    match_labels: Labels = ()
    match_expressions: tuple[LabelRequirement, ...] = ()
    position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class IPBlock:
    """A prefix without some of its parts."""

    cidr: Cidr
    except_: tuple[Cidr, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPeer:
    """An item of `from` or `to`: pods of the policy's own or of selected namespaces, or a block of addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None
    position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """An item of `ports`: a protocol with every port of it, a range of ports, or the name of a port."""

    protocol: Protocol
    port: PortRange | str | None = None


@dataclass(frozen=True, slots=True)
class PeerRule:
    """An item of `ingress` or `egress`: what it allows. Without peers it allows everybody, without ports every port."""

    peers: tuple[PolicyPeer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()
    position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class PodPolicy:
    """The spec of a NetworkPolicy of Kubernetes; `types` is the effective value."""

    pod_selector: LabelSelector = LabelSelector()
    types: tuple[Direction, ...] = (Direction.INGRESS,)
    ingress: tuple[PeerRule, ...] = ()
    egress: tuple[PeerRule, ...] = ()


class ClusterTier(StrEnum):
    """The tiers of ClusterNetworkPolicies, spelled as in Kubernetes: before all others, and after tier `default`."""

    ADMIN = "Admin"
    BASELINE = "Baseline"

    @property
    def in_calico(self) -> str:
        """The name of Calico's tier of it."""
        return f"kube-{self.lower()}"


@dataclass(frozen=True, slots=True)
class NamespacedPods:
    """Pods by their labels in namespaces by theirs; `names_pods` is False where all of those namespaces are meant."""

    namespace_selector: LabelSelector = LabelSelector()
    pod_selector: LabelSelector = LabelSelector()
    names_pods: bool = False


@dataclass(frozen=True, slots=True)
class ClusterPeer:
    """Pods, or blocks of addresses and then no pods."""

    pods: NamespacedPods | None = None
    networks: tuple[Cidr, ...] = ()
    position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class ClusterPort:
    """An item of `protocols`: ports of a protocol, or a port by its name, whatever the protocol is."""

    protocol: Protocol | None
    port: PortRange | str


@dataclass(frozen=True, slots=True)
class ClusterRule:
    """A rule of a ClusterNetworkPolicy for any of its peers. Without protocols it is about every packet."""

    action: Action
    peers: tuple[ClusterPeer, ...]
    protocols: tuple[ClusterPort, ...] = ()
    name: str = ""
    position: Position = NOWHERE


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    """The spec of a ClusterNetworkPolicy; of those of a tier the lowest priority, from 0 to 1,000, comes first."""

    tier: ClusterTier
    priority: int
    subject: NamespacedPods = NamespacedPods()
    ingress: tuple[ClusterRule, ...] = ()
    egress: tuple[ClusterRule, ...] = ()
