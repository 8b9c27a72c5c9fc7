"""Checks of policies that come before the failsafe ports which are open to everybody: they deny some peers, no more."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from hostfw.model.kinds.metadata import BEFORE_FAILSAFES
from hostfw.model.positions import NOWHERE
from hostfw.model.prefixes import Cidrs, CidrSet
from hostfw.model.problems import Problem
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Resources, Rule, StagedGlobalNetworkPolicy
from hostfw.model.settings import FailsafePort
from hostfw.model.values import FAMILIES, Action, Cidr, Direction, Family, PortRange, merge
from hostfw.model.wording import quoted
from hostfw.policy.cache import ByResource
from hostfw.policy.check.selections import Selections

_VALUES = ("true", "false")
_PEERS = {Direction.INGRESS: "source", Direction.EGRESS: "destination"}


def misplaced_before_failsafes(
    resources: Resources,
    failsafes: Sequence[FailsafePort],
    select: Callable[[], Selections],
    known: ByResource[tuple[Problem, ...]],
    *,
    whole: bool = True,
) -> Iterator[Problem]:
    """The annotation where it means nothing, or more than that some are denied, or all beyond a limit.

    What is allowed within a limit must be for `failsafes` that are open to everybody. `select` gives the addresses that
    selectors stand for, and is called only for policies that have the annotation. `known` has what was found of these
    before. `whole` is whether all could be read: a rule without peers may have those that could not be.
    """
    early: list[GlobalNetworkPolicy] = []
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
            early.append(policy)
    if early:
        selections = select()
        known.next_round((selections, failsafes, whole))
        of_each = known.of_each(early, lambda one: tuple(_of_policy(one, failsafes, selections, whole=whole)))
        yield from chain.from_iterable(of_each)


def _of_policy(
    policy: GlobalNetworkPolicy, failsafes: Sequence[FailsafePort], selections: Selections, *, whole: bool
) -> Iterator[Problem]:
    if policy.do_not_track or policy.pre_dnat:
        name = "doNotTrack" if policy.do_not_track else "preDNAT"
        yield Problem(
            policy.metadata.position,
            f"a policy with {name} does not come before failsafes",
            f"a policy without {name}",
            f"leave out the annotation {BEFORE_FAILSAFES}, or write two policies",
        )
    for direction in policy.types:
        # Rules that differ in their peers alone deny all of these together.
        denied: dict[Rule, tuple[Cidr, ...]] = defaultdict(tuple)
        for rule in policy.rules(direction):
            if rule.limit is not None and not opens_no_more(rule, failsafes):
                yield Problem(
                    rule.position,
                    "an Allow with a limit comes before failsafes, and opens more than they do",
                    "ports of failsafe.inbound that are open to everybody, and no other",
                    f"write it into another policy, or leave out the annotation {BEFORE_FAILSAFES}",
                )
            if rule.action not in (Action.DENY, Action.LOG) and rule.limit is None:
                yield Problem(
                    rule.position,
                    f"{rule.action} in a policy that comes before failsafes",
                    "Deny and Log rules, and Allow with limitPerSource",
                    f"write it into another policy, or leave out the annotation {BEFORE_FAILSAFES}",
                )
            if rule.action is not Action.DENY:
                continue
            peers = _peers(rule, direction)
            if not _names_peers(peers):
                if not whole:
                    continue
                reason = f"names no {_PEERS[direction]}, so it is for everybody"
                yield _of_rule(rule, direction, f"this Deny comes before failsafes and {reason}")
                continue
            alike = _without_peers(rule, direction)
            packed, nets = _nets(peers, selections)
            denied[alike] = merge((*denied[alike], *nets))
            family = next((f for f in FAMILIES if _holds_all(f, denied[alike], *packed)), None)
            if family is not None:
                reason = f"{_PEERS[direction]}s that are denied up to here are all of IPv{family:d}"
                yield _of_rule(rule, direction, f"this Deny comes before failsafes, and the {reason}")


def opens_no_more(rule: Rule, failsafes: Sequence[FailsafePort]) -> bool:
    """True if a rule names ports of the host, and failsafes let everybody reach all of them anyway."""
    ports = rule.destination.ports
    open_ports = {(one.protocol.number, one.port) for one in failsafes if one.net is None}
    return bool(rule.protocols and ports) and all(
        isinstance(port, PortRange) and port.first == port.last and (protocol.number, port.first) in open_ports
        for protocol in rule.protocols
        for port in ports
    )


def _of_rule(rule: Rule, direction: Direction, message: str) -> Problem:
    return Problem(
        rule.position,
        message,
        f"{_PEERS[direction]}.nets or {_PEERS[direction]}.selector, of some addresses",
        "to close a failsafe port to everybody, leave it out of failsafe in hostfw.yaml",
    )


def _peers(rule: Rule, direction: Direction) -> EntityRule:
    return rule.source if direction is Direction.INGRESS else rule.destination


def _without_peers(rule: Rule, direction: Direction) -> Rule:
    peers = replace(_peers(rule, direction), nets=(), not_nets=(), selector=None, not_selector=None, local=False)
    rule = replace(rule, annotations=(), position=NOWHERE)
    return replace(rule, source=peers) if direction is Direction.INGRESS else replace(rule, destination=peers)


def _names_peers(peers: EntityRule) -> bool:
    return bool(peers.nets) or peers.local or bool(peers.selector is not None and peers.selector.text)


def _nets(peers: EntityRule, selections: Selections) -> tuple[tuple[CidrSet, ...], tuple[Cidr, ...]]:
    """The addresses that a rule is for, or more: what `notNets` takes out of all the world leaves everybody else."""
    if peers.nets or peers.local:
        # The networks of an interface are never everybody, nor half of them.
        return (), peers.nets
    found: tuple[Cidrs, ...] = () if peers.selector is None else selections.nets(peers.selector.text)
    packed = tuple(nets for nets in found if isinstance(nets, CidrSet))
    return packed, tuple(net for nets in found if not isinstance(nets, CidrSet) for net in nets)


def _holds_all(family: Family, merged: tuple[Cidr, ...], *packed: CidrSet) -> bool:
    """Tell if merged prefixes are every address, or if one packed set is: its prefixes are disjoint."""
    return any(net.family is family and net.length == 0 for net in merged) or any(
        sum(len(part.addresses) << family.bits - part.length for part in nets.parts if part.family is family)
        == 1 << family.bits
        for nets in packed
    )
