"""Order: in which sequence tiers and policies are evaluated."""

from collections.abc import Iterable
from typing import NamedTuple

from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.resources import GlobalNetworkPolicy, Resources, Tier
from hostfw.model.values import Direction
from hostfw.policy.built_in import BUILT_IN_TIERS, DEFAULT_TIER

POLICY_KIND = "GlobalNetworkPolicy"
STAGED_KIND = "StagedGlobalNetworkPolicy"
ENFORCED_KINDS = (POLICY_KIND, "NetworkPolicy", "KubernetesNetworkPolicy", "ClusterNetworkPolicy")
"""The kinds of policies that decide."""
_STAGED_KINDS = frozenset((STAGED_KIND, "StagedNetworkPolicy"))


class EvaluatedPolicy(NamedTuple):
    """A policy that is evaluated, and the kind of resource that it is."""

    kind: str
    spec: GlobalNetworkPolicy

    @property
    def staged(self) -> bool:
        """True if it decides nothing."""
        return self.kind in _STAGED_KINDS


def every_tier(resources: Resources) -> tuple[Tier, ...]:
    """The tiers that are declared, and the built-in ones that policies name."""
    declared = {tier.metadata.name for tier in resources.tiers}
    named = {policy.tier for policy in resources.every_policy} - declared
    return (*resources.tiers, *(tier for name, tier in BUILT_IN_TIERS.items() if name in named))


def tiers_in_order(tiers: Iterable[Tier]) -> dict[str, Tier]:
    """The tiers by name, in evaluation order: by order, no order last, then by name."""
    by_name = {tier.metadata.name: tier for tier in (*tiers, DEFAULT_TIER)}
    return dict(sorted(by_name.items(), key=lambda item: (*_order_key(item[1].order), item[0])))


def policies_in_order(resources: Resources, tiers: Iterable[str], direction: Direction) -> tuple[EvaluatedPolicy, ...]:
    """The policies that exist in a direction, in evaluation order."""
    return in_direction(every_policy_in_order(resources, tiers), direction)


def in_direction(policies: Iterable[EvaluatedPolicy], direction: Direction) -> tuple[EvaluatedPolicy, ...]:
    """Those of the policies that exist in a direction."""
    return tuple([policy for policy in policies if direction in policy.spec.types])


def every_policy_in_order(resources: Resources, tiers: Iterable[str]) -> tuple[EvaluatedPolicy, ...]:
    """The policies, tier by tier, in evaluation order, staged ones in their place.

    Equal orders, and no order, go by the bytes of `name/namespace/kind`, as Calico's sorter has it: `ab-c` comes
    before `ab` because `-` is less than `/`, and a policy before the staged one of its name.
    """
    rank = {name: place for place, name in enumerate(tiers)}
    evaluated = (
        *(EvaluatedPolicy(POLICY_KIND, policy) for policy in resources.policies),
        *(EvaluatedPolicy(type(one).__name__, one.policy) for one in resources.of_workloads),
        *(EvaluatedPolicy(type(staged).__name__, staged.policy) for staged in resources.staged if staged.is_evaluated),
    )

    def key(policy: EvaluatedPolicy) -> tuple[int, bool, float, str]:
        kind, spec = policy
        order = spec.order
        metadata = spec.metadata
        return rank[spec.tier], order is None, order or 0.0, f"{metadata.name}/{metadata.namespace}/{kind}"

    return tuple(sorted(evaluated, key=key))


def nft_rules_in_order(found: Iterable[NftRules]) -> tuple[NftRules, ...]:
    """NftRules as packets meet those of one hook: by order, no order last, then by name."""
    return tuple(sorted(found, key=lambda one: (*_order_key(one.order), one.metadata.name)))


def _order_key(order: float | None) -> tuple[bool, float]:
    return order is None, order or 0.0
