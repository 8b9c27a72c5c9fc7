"""Checks of policies that come before the failsafe ports which are open to everybody: they deny some peers, no more."""

from collections.abc import Iterator

from hostfw.manifest.fields import quoted
from hostfw.model.kinds.metadata import BEFORE_FAILSAFES
from hostfw.model.problems import Problem
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Resources, Rule, StagedGlobalNetworkPolicy
from hostfw.model.values import Action, Direction

_VALUES = ("true", "false")
_PEERS = {Direction.INGRESS: "source", Direction.EGRESS: "destination"}


def misplaced_before_failsafes(resources: Resources) -> Iterator[Problem]:
    """The annotation where it means nothing, or more than that some peers are denied."""
    for resource in resources.all():
        if not resource.metadata.annotations or not (text := resource.metadata.annotation(BEFORE_FAILSAFES)):
            continue
        position = resource.metadata.position
        policy = resource.policy if isinstance(resource, StagedGlobalNetworkPolicy) else resource
        if text not in _VALUES:
            yield Problem(position, f"the annotation {BEFORE_FAILSAFES} is {quoted(text)}", 'one of "true", "false"')
        elif not isinstance(policy, GlobalNetworkPolicy):
            message = f"a {type(resource).__name__} does not come before failsafes"
            yield Problem(position, message, f"{BEFORE_FAILSAFES} on a GlobalNetworkPolicy", "annotate the policy")
        elif text == "true":
            yield from _of_policy(policy)


def _of_policy(policy: GlobalNetworkPolicy) -> Iterator[Problem]:
    if policy.do_not_track or policy.pre_dnat:
        name = "doNotTrack" if policy.do_not_track else "preDNAT"
        yield Problem(
            policy.metadata.position,
            f"a policy with {name} does not come before failsafes",
            f"a policy without {name}",
            f"leave out the annotation {BEFORE_FAILSAFES}, or write two policies",
        )
    for direction in policy.types:
        for rule in policy.rules(direction):
            if rule.action not in (Action.DENY, Action.LOG):
                yield Problem(
                    rule.position,
                    f"{rule.action} in a policy that comes before failsafes",
                    "Deny and Log rules alone",
                    f"write it into another policy, or leave out the annotation {BEFORE_FAILSAFES}",
                )
            elif rule.action is Action.DENY and not _names_peers(_peers(rule, direction)):
                yield Problem(
                    rule.position,
                    f"this Deny comes before failsafes and names no {_PEERS[direction]}, so it is for everybody",
                    f"{_PEERS[direction]}.nets (none of length 0) or {_PEERS[direction]}.selector",
                    "to close a failsafe port to everybody, leave it out of failsafe in hostfw.yaml",
                )


def _peers(rule: Rule, direction: Direction) -> EntityRule:
    return rule.source if direction is Direction.INGRESS else rule.destination


def _names_peers(peers: EntityRule) -> bool:
    return bool(peers.selector is not None and peers.selector.text) or (
        bool(peers.nets) and all(net.length > 0 for net in peers.nets)
    )
