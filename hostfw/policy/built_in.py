"""Resources that exist without being declared: Calico's tier `default`, and its profile that allows everything."""

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.resources import Profile, Rule, Tier
from hostfw.model.values import Action

DEFAULT_TIER = Tier(Metadata("default"), order=1_000_000, default_action=Action.DENY)
"""The tier that exists whether a file declares it or not; its order and action are Calico's and fixed."""

_ALLOW_ALL = (Rule(Action.ALLOW),)
DEFAULT_ALLOW_PROFILE = Profile(Metadata("projectcalico-default-allow"), ingress=_ALLOW_ALL, egress=_ALLOW_ALL)
"""Calico's built-in profile that allows both directions."""
