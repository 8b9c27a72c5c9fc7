"""Deny rules that packets get past because something before any policy accepts them.

Failsafes have a module of their own. Here are the replies to them, which pass before connection tracking by their
source port alone; neighbour discovery; what belongs to a known connection; and what the host says to itself over `lo`.
DHCP passes by failsafes.
"""

from collections.abc import Iterator

from hostfw.model.prefixes import includes
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Rule
from hostfw.model.settings import FailsafePort, Loopback, NeighbourDiscovery, Settings
from hostfw.model.values import ICMP, ICMPV6, IGMP, Action, Cidr, Direction, Family, PortRange
from hostfw.policy.check.failsafe_warnings import Failsafes, is_of_protocol, meets
from hostfw.policy.check.port_index import PortIndex
from hostfw.policy.check.selections import LOOPBACK_NETS, Selections
from hostfw.policy.check.voided import Exemption, Owner, Voided

_DISCOVERY_TYPES = range(133, 137)
_LISTENER_TYPES = (130, 131, 132, 143)
_LINK_LOCAL = Cidr(Family.V6, 0xFE80 << 112, 10)
_FEW = 16
_MOST = 64
"""More sets of loopback addresses than anybody has, of which none are told: thousands of selectors may select them."""

_ONLY_KNOWN = {ICMP.number: (0, 3, 4, 11, 12), ICMPV6.number: (1, 2, 3, 4, 129)}
"""Answers and errors: connection tracking has them established or related, or else invalid, and never new."""


def exempted(
    owner: Owner, endpoints: int, settings: Settings, failsafes: Failsafes, selections: Selections
) -> Iterator[Voided]:
    """The Deny rules of a policy or profile of some endpoints that packets get past, failsafes apart."""
    untracked = isinstance(owner, GlobalNetworkPolicy) and owner.do_not_track
    governs_lo = endpoints & selections.of_loopback or (
        settings.loopback is Loopback.POLICED and endpoints & (selections.wildcards | selections.by_address)
    )
    for direction in Direction:
        rules = owner.rules(direction)
        index = PortIndex(failsafes.answered(rules, direction) if untracked else (), rules)
        said: set[int] = set()
        for rule in (one for written in rules for one in written.by_protocol):
            if rule.action is not Action.DENY:
                continue
            if untracked:
                groups = [group for group in _replies(rule, direction, index, selections) if group not in said]
                said.update(groups)
                replies, parts = Exemption.REPLIES, tuple(map(str, index.ports_of(groups)))
            else:
                replies, parts = Exemption.ESTABLISHED, _known(rule, direction)
            if parts:
                yield Voided(replies, owner, direction, rule.position, parts)
            discovery = _exempt_types(rule, direction, selections)
            if discovery and settings.neighbour_discovery is NeighbourDiscovery.ACCEPT:
                yield Voided(Exemption.NEIGHBOURS, owner, direction, rule.position, (discovery,))
            if not governs_lo:
                over_any = bool(endpoints & selections.wildcards)
                parts = _over_loopback(rule, direction, selections, over_any=over_any)
                if parts:
                    yield Voided(Exemption.LOOPBACK, owner, direction, rule.position, parts)


def _replies(rule: Rule, direction: Direction, index: PortIndex, selections: Selections) -> Iterator[int]:
    """The source ports of answers to a failsafe of the other direction, in groups, which a doNotTrack Deny misses."""
    peers = rule.source if direction is Direction.INGRESS else rule.destination
    nets = peers.nets if peers.nets and not peers.local else None
    for group in index.matched(rule, rule.source.ports, nets):
        if _meets_replies(rule, direction, index.first[group], selections):
            yield group


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


def _exempt_types(rule: Rule, direction: Direction, selections: Selections) -> str:
    if rule.protocol is not None and rule.protocol.number == IGMP.number:
        return "" if rule.ip_version is Family.V6 else "IGMP to multicast with a TTL of 1"
    if rule.ip_version is Family.V4:
        return ""
    if rule.protocol is None:
        if rule.not_protocol is not None and rule.not_protocol.number == ICMPV6.number:
            return ""
        peers = rule.source if direction is Direction.INGRESS else rule.destination
        limited = peers.nets or peers.local or peers.selector is not None
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


def _known(rule: Rule, direction: Direction) -> tuple[str, ...]:
    """Answers and errors that a Deny means, which are let through with the connection that they belong to.

    What a host sends from a port of its own, with no port of the peer named, are the answers of a service.
    """
    if rule.protocol is None:
        return ()
    if rule.icmp is not None:
        known = rule.icmp.type in _ONLY_KNOWN.get(rule.protocol.number, ())
        return (f"{rule.protocol} type {rule.icmp.type}",) if known else ()
    if direction is Direction.EGRESS and rule.source.ports and not rule.destination.ports:
        return tuple(f"{rule.protocol} from port {port}" for port in rule.source.ports)
    return ()


def _over_loopback(rule: Rule, direction: Direction, selections: Selections, *, over_any: bool) -> tuple[str, ...]:
    """The loopback addresses of a Deny that can come up on `lo` alone.

    A source of those in what comes in may be a forged one, which the Deny does meet. Where it is meant for every
    interface (`over_any`) it may mean `lo` as well.
    """
    to = _loopbacks(rule.destination, selections)
    source = _loopbacks(rule.source, selections) if over_any or direction is Direction.EGRESS else ()
    return tuple([f"from {net}" for net in source] + [f"to {net}" for net in to])


def _loopbacks(side: EntityRule, selections: Selections) -> tuple[Cidr, ...]:
    """The addresses that one side of a rule is limited to, if all of them are loopback addresses."""
    nets = () if side.local else side.nets
    selector = None if nets or side.local else side.selector
    # To gather the addresses of thousands of selectors that each select thousands of sets would take minutes.
    selected = selections.entities(selector.text) if selector is not None else 0
    if selector is not None and not selected & selections.beyond_loopback and selected.bit_count() <= _MOST:
        (*packed, few) = selections.nets(selector.text)
        nets = () if packed or len(few) > _FEW else tuple(few)
    return nets if all(includes(LOOPBACK_NETS, net) for net in nets) else ()
