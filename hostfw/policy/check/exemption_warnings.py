"""Warnings about a Deny that packets get past because something before any policy accepts them.

Failsafes have a module of their own. Here are the replies to them, which pass before connection tracking by their
source port alone; neighbour discovery; and what belongs to a known connection.
"""

from collections.abc import Iterator

from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import GlobalNetworkPolicy, Rule
from hostfw.model.settings import FailsafePort, NeighbourDiscovery, Settings
from hostfw.model.values import ICMP, ICMPV6, Action, Cidr, Direction, Family, PortRange
from hostfw.policy.check.failsafe_warnings import is_of_protocol, meets
from hostfw.policy.check.selections import Selections

_DISCOVERY_TYPES = range(133, 137)
_LISTENER_TYPES = (130, 131, 132, 143)
_LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 10)

_ONLY_KNOWN = {ICMP.number: (0, 3, 4, 11, 12), ICMPV6.number: (1, 2, 3, 4, 129)}
"""Answers and errors: connection tracking has them established or related, or else invalid, and never new."""


def exempted(policy: GlobalNetworkPolicy, settings: Settings, selections: Selections) -> Iterator[Problem]:
    """The Deny rules of a policy that replies to failsafes, neighbours or known connections get past."""
    if not selections.endpoints(policy.selector.text):
        return
    for direction in policy.types:
        for rule in policy.rules(direction):
            if rule.action is not Action.DENY:
                continue
            if policy.do_not_track:
                yield from _replies(rule, direction, settings, selections)
            else:
                yield from _known(rule)
            if settings.neighbour_discovery is NeighbourDiscovery.ACCEPT:
                yield from _neighbours(rule, direction, selections)


def _replies(rule: Rule, direction: Direction, settings: Settings, selections: Selections) -> Iterator[Problem]:
    """A doNotTrack Deny of what has the source port of an answer to a failsafe of the other direction."""
    inward = direction is Direction.INGRESS
    ports = settings.failsafe.outbound if inward else settings.failsafe.inbound
    passing = [port for port in ports if _meets_replies(rule, direction, port, selections)]
    if passing:
        key = "outbound" if inward else "inbound"
        message = (
            f"packets from the source ports {', '.join(map(str, passing))} get past this Deny: "
            f"before connection tracking they pass as replies to {key} failsafes, and the sender chooses the port"
        )
        hint = f"deny the same without doNotTrack as well, or narrow failsafe.{key} of hostfw.yaml with net"
        yield _warning(rule, message, hint)


def _meets_replies(rule: Rule, direction: Direction, failsafe: FailsafePort, selections: Selections) -> bool:
    if not is_of_protocol(rule, failsafe):
        return False
    peers = rule.source if direction is Direction.INGRESS else rule.destination
    ports = rule.source.ports
    named = any(isinstance(port, PortRange) and port.first <= failsafe.port <= port.last for port in ports)
    spared = any(
        isinstance(port, PortRange) and port.first <= failsafe.port <= port.last for port in rule.source.not_ports
    )
    return (named or not ports) and not spared and meets(peers, failsafe.net, selections)


def _neighbours(rule: Rule, direction: Direction, selections: Selections) -> Iterator[Problem]:
    """A Deny of ICMPv6, or of peers on the link, that neighbour discovery and multicast listeners get past."""
    what = _exempt_types(rule, direction, selections)
    if what:
        message = f"neighbour discovery is accepted before any policy, so this Deny does not meet {what}"
        hint = "to decide about it, say neighbourDiscovery: policed in hostfw.yaml, and allow the other types in policy"
        yield _warning(rule, message, hint)


def _exempt_types(rule: Rule, direction: Direction, selections: Selections) -> str:
    if rule.ip_version is Family.V4:
        return ""
    if rule.protocol is None:
        if rule.not_protocol is not None and rule.not_protocol.number == ICMPV6.number:
            return ""
        peers = rule.source if direction is Direction.INGRESS else rule.destination
        limited = peers.nets or peers.selector is not None
        on_link = limited and not rule.destination.ports and meets(peers, _LINK_LOCAL, selections)
        return "that of peers on the link" if on_link and not _is_everything(rule, direction) else ""
    if rule.protocol.number != ICMPV6.number:
        return ""
    if rule.icmp is None:
        return "ICMPv6 types 133 to 136 with a hop limit of 255, nor 130 to 132 and 143 from the link"
    kind = rule.icmp.type
    if kind in _DISCOVERY_TYPES:
        return f"ICMPv6 type {kind} with a hop limit of 255"
    return f"ICMPv6 type {kind} from the link" if kind in _LISTENER_TYPES else ""


def _is_everything(rule: Rule, direction: Direction) -> bool:
    peers = rule.source if direction is Direction.INGRESS else rule.destination
    return any(net.length == 0 for net in peers.nets)


def _known(rule: Rule) -> Iterator[Problem]:
    """A Deny of ICMP answers or errors, which are let through with the connection that they belong to."""
    kinds = _ONLY_KNOWN.get(rule.protocol.number, ()) if rule.protocol is not None else ()
    if rule.icmp is not None and rule.icmp.type in kinds:
        message = (
            f"{rule.protocol} type {rule.icmp.type} that belongs to a known connection is accepted before any policy, "
            "so this Deny meets none of it"
        )
        yield _warning(rule, message, "deny the requests that it answers, or what the errors are about")


def _warning(rule: Rule, message: str, hint: str) -> Problem:
    return Problem(rule.position, message, hint=hint, severity=Severity.WARNING)
