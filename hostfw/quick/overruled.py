"""Quick rules that come before a new one and decide the other way, so that it has no effect on some packets."""

from collections.abc import Iterator
from datetime import datetime
from itertools import product

from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Resources, Rule
from hostfw.model.values import Cidr, Direction, PortRange
from hostfw.quick.manifests import is_quick


def overruling(policy: GlobalNetworkPolicy, resources: Resources, now: datetime) -> Iterator[GlobalNetworkPolicy]:
    """The quick policies in force that a packet meets before a quick policy, and that decide its packets otherwise."""
    for other in resources.policies:
        if not is_quick(other) or other.metadata.name == policy.metadata.name or not _is_first(other, policy):
            continue
        if other.metadata.expires is not None and other.metadata.expires <= now:
            continue
        if other.selector.text not in (policy.selector.text, "all()"):
            continue
        if _decides(other.ingress, policy.ingress, Direction.INGRESS) or _decides(
            other.egress, policy.egress, Direction.EGRESS
        ):
            yield other


def _is_first(one: GlobalNetworkPolicy, other: GlobalNetworkPolicy) -> bool:
    return one.order is not None and (other.order is None or one.order < other.order)


def _decides(before: tuple[Rule, ...], after: tuple[Rule, ...], direction: Direction) -> bool:
    """True if a rule before takes all peers of one that comes after, and some of its services."""
    return any(
        first.action is not then.action
        and _takes_service(first, then)
        and _takes_peers(_peer(first, direction), _peer(then, direction))
        for first, then in product(before, after)
    )


def _peer(rule: Rule, direction: Direction) -> EntityRule:
    return rule.source if direction is Direction.INGRESS else rule.destination


def _takes_service(first: Rule, then: Rule) -> bool:
    if first.protocol is None:
        return True
    if first.protocol != then.protocol or first.icmp not in (None, then.icmp):
        return False
    return not first.destination.ports or not then.destination.ports or _meet(first, then)


def _meet(first: Rule, then: Rule) -> bool:
    ranges = ([port for port in rule.destination.ports if isinstance(port, PortRange)] for rule in (first, then))
    return any(one.first <= other.last and other.first <= one.last for one, other in product(*ranges))


def _takes_peers(first: EntityRule, then: EntityRule) -> bool:
    if first.selector is not None:
        return then.selector is not None and first.selector.text == then.selector.text
    return not first.nets or (bool(then.nets) and all(any(_within(net, of) for of in first.nets) for net in then.nets))


def _within(net: Cidr, of: Cidr) -> bool:
    return net.family is of.family and net.length >= of.length and of.contains(net.address)
