"""Resources that exist without being declared: three tiers of Calico's, and its profile that allows everything."""

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.resources import Profile, Rule, Tier
from hostfw.model.values import Action

DEFAULT_TIER = Tier(Metadata("default"), order=1_000_000, default_action=Action.DENY)
"""The tier of policies that name none."""

KUBE_ADMIN_TIER = Tier(Metadata("kube-admin"), order=1_000, default_action=Action.PASS)
KUBE_BASELINE_TIER = Tier(Metadata("kube-baseline"), order=10_000_000, default_action=Action.PASS)
"""The tiers before and after `default` in which Calico has the ClusterNetworkPolicies of Kubernetes."""
BUILT_IN_TIERS = {tier.metadata.name: tier for tier in (DEFAULT_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER)}
"""The tiers by name whose order and default action are Calico's and fixed."""

_ALLOW_ALL = (Rule(Action.ALLOW),)
DEFAULT_ALLOW_PROFILE = Profile(Metadata("projectcalico-default-allow"), ingress=_ALLOW_ALL, egress=_ALLOW_ALL)
"""Calico's built-in profile that allows both directions."""
