"""Interfaces that no HostEndpoint governs, and what becomes of their packets, in words of consequence."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Plan
from hostfw.model.positions import NOWHERE
from hostfw.model.problems import Problem, Severity
from hostfw.model.settings import Settings, Unmanaged
from hostfw.model.values import TCP
from hostfw.model.wording import listed, unlisted

_MASTERS_THAT_RECEIVE = frozenset(("bond", "bridge", "team"))
"""Kinds of masters that take the packets of their members for their own before policy sees them."""

_OF_A_MACHINE = frozenset(("", "bond", "team", "vlan"))
"""Kinds of interfaces that an administrator makes, each for itself; others come and go with guests and tunnels."""


def consequence(settings: Settings, it: str = "it") -> str:
    """The fate of new connections over such an interface, as the rest of a sentence about it."""
    unmanaged, failsafe = settings.unmanaged_interfaces, settings.failsafe
    # Failsafes of UDP let in answers to the host, and no service of it.
    inward = _meets(f"to {it}", unmanaged.ingress, [str(port) for port in failsafe.inbound if port.protocol == TCP])
    outward = _meets(f"from {it}", unmanaged.egress, [str(port) for port in failsafe.outbound])
    return inward if unmanaged.egress is Unmanaged.ALLOW else f"{inward}, and {outward}"


def bare_consequence(settings: Settings, it: str = "it") -> str:
    """The same of interfaces that lose what governed them, with what becomes of packets that the host sends."""
    sent = f", and everything from and through {it} passes"
    return f"{consequence(settings, it)}{sent if settings.unmanaged_interfaces.egress is Unmanaged.ALLOW else ''}"


def carriers(facts: HostFacts) -> tuple[Interface, ...]:
    """The interfaces that packets of others come in on and go out on."""
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    return tuple(
        interface
        for interface in facts.interfaces
        if interface.name != LOOPBACK and kinds.get(interface.master or "") not in _MASTERS_THAT_RECEIVE
    )


def ungoverned(plan: Plan, facts: HostFacts) -> tuple[Interface, ...]:
    """The interfaces that packets of others come in on and that no HostEndpoint governs."""
    governing = plan.governing()
    return tuple(interface for interface in carriers(facts) if governing(interface.name) is None)


def governed(plan: Plan, facts: HostFacts) -> tuple[Interface, ...]:
    """The interfaces that packets of others come in on and that a HostEndpoint governs."""
    bare = set(ungoverned(plan, facts))
    return tuple(interface for interface in carriers(facts) if interface not in bare)


def ungoverned_problems(plan: Plan, facts: HostFacts) -> Iterator[Problem]:
    """Warnings about the interfaces in use that no policy governs, one for all where none is governed.

    Those that come and go with guests and tunnels are told kind by kind, and none where unmanaged interfaces are open
    on purpose, except for the way to everybody.
    """
    settings = plan.settings
    is_open = settings.unmanaged_interfaces.ingress is Unmanaged.ALLOW
    bare = [one for one in ungoverned(plan, facts) if one.up and (one.default_route or not is_open)]
    if not bare:
        return
    if not governed(plan, facts):
        all_of_them = listed(one.name for one in bare)
        them = "it" if len(bare) == 1 else "them"
        yield _problem(
            f"no HostEndpoint governs an interface of this host, so that no policy applies to {all_of_them}: "
            f"{bare_consequence(settings, them)}",
            "write a HostEndpoint for this host: `hostfwctl interfaces` lists the interfaces",
            (one.name for one in bare),
        )
        return
    yield from _open_to_denied(plan, bare)
    of_kinds: defaultdict[str, list[str]] = defaultdict(list)
    for interface in bare:
        if interface.kind in _OF_A_MACHINE or interface.default_route:
            yield _problem(
                f"{interface.name} has no HostEndpoint: {consequence(settings)}",
                f"write a HostEndpoint with interfaceName: {interface.name}",
            )
        else:
            of_kinds[interface.kind].append(interface.name)
    for kind, names in sorted(of_kinds.items()):
        # Without their names, which change: a warning that was told is not told again.
        yield _problem(
            f"interfaces of kind {kind} have no HostEndpoint: {consequence(settings, 'them')}",
            f"write a HostEndpoint for them ({listed(names)}), or for an InterfaceGroup with kind: {kind}",
            names,
        )


def _open_to_denied(plan: Plan, bare: Iterable[Interface]) -> Iterator[Problem]:
    """A warning where failsafe ports are open, on interfaces without policy, to peers that policy closes them to."""
    settings = plan.settings
    ports = [str(p) for p in settings.failsafe.inbound if p.protocol == TCP and not p.is_for_some]
    denying = {policy.name for endpoint in plan.endpoints for policy in endpoint.ingress.before_failsafes}
    if ports and denying and settings.unmanaged_interfaces.ingress is not Unmanaged.ALLOW:
        yield _problem(
            f"on interfaces without a HostEndpoint failsafe {', '.join(ports)} is open to those as well whom "
            f"{listed(denying)} {'denies' if len(denying) == 1 else 'deny'} before failsafes",
            f"write a HostEndpoint for {listed(one.name for one in bare)}",
            denying,
            (one.name for one in bare),
        )


def lost_governance(before: Plan | None, after: Plan, facts: HostFacts) -> tuple[Interface, ...]:
    """The interfaces that would have no HostEndpoint any more, where that leaves nothing or no way out governed.

    None where something is governed still and, if the way to everybody was governed, that as well.
    """
    if before is None:
        return ()
    had, has = governed(before, facts), governed(after, facts)
    if not has or (_uplinks(had) and not _uplinks(has)):
        still = frozenset(has)
        return tuple(interface for interface in had if interface not in still)
    return ()


def _uplinks(interfaces: Iterable[Interface]) -> list[Interface]:
    return [interface for interface in interfaces if interface.default_route]


def _problem(message: str, hint: str, *names: Iterable[str]) -> Problem:
    """A warning, with the lists of names that it shortens."""
    more = tuple(chain.from_iterable(map(unlisted, names)))
    return Problem(NOWHERE, message, hint=hint, severity=Severity.WARNING, more=more)


def _meets(way: str, verdict: Unmanaged, failsafes: list[str]) -> str:
    if verdict is Unmanaged.ALLOW:
        return f"new connections {way} pass whatever policies say"
    kept = f" except failsafe {', '.join(failsafes)}" if failsafes else ""
    return f"new connections {way} are denied{kept}"
