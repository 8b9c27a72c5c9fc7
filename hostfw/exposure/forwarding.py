"""Packets that a host forwards and a change closes or opens, interface by interface.

A policy with applyOnForward closes whatever it does not allow, and without the last of them everything passes again.
"""

from collections.abc import Callable, Iterator

from hostfw.exposure.services import Kind
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.values import FAMILIES, Action, Direction, Family
from hostfw.model.wording import listed
from hostfw.policy.unmanaged import carriers

Forwards = Callable[[Family, str], bool]
"""Tells whether the host forwards what comes in on an interface."""

_WAYS = {Direction.INGRESS: "in from", Direction.EGRESS: "out to"}


def forwarding_changes(
    before: Plan | None, after: Plan | None, facts: HostFacts, forwards: Forwards
) -> Iterator[tuple[Kind, str]]:
    """The changes in words, what is closed first; `before` and `after` are None where no rules are in force."""
    names = [interface.name for interface in carriers(facts)]
    forwarding = [name for name in names if any(forwards(family, name) for family in FAMILIES)]
    if not forwarding:
        return
    was_closed, is_closed = (_closed(plan) for plan in (before, after))
    for kind in Kind:
        for direction, way in _WAYS.items():
            # What goes out on an interface came in on another one.
            passed = forwarding if direction is Direction.INGRESS else [n for n in names if forwarding != [n]]
            changed = [
                name
                for name in passed
                if (old := was_closed(name, direction)) != (new := is_closed(name, direction))
                if (kind is Kind.CLOSES) == (new and not old)
            ]
            if changed:
                rest = "but for what applyOnForward policy allows"
                if kind is Kind.OPENS:
                    rest = "which no applyOnForward policy closes now"
                yield kind, f"{kind} what is forwarded {way} {listed(changed)}, {rest}"


def _closed(plan: Plan | None) -> Callable[[str, Direction], bool]:
    """The answer to whether what is forwarded over an interface meets the end of a tier that denies it."""
    if plan is None:
        return lambda _interface, _direction: False
    governing = plan.governing()
    closed = {
        (endpoint.name, direction)
        for endpoint in plan.host_endpoints
        for direction in Direction
        for tier in endpoint.direction(direction).forward_tiers
        if tier.is_enforced and tier.default_action is not Action.PASS
    }
    return lambda interface, direction: (governing(interface), direction) in closed
