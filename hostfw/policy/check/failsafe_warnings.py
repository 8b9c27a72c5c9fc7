"""Failsafe ports that stay open although a policy says otherwise.

Rules that deny everything are left alone: that failsafes survive them is what failsafes are for. A rule that names the
port, or denies some peers, says more than that, and its author should know that it has no effect on the failsafe. That
goes without saying where a rule before it lets everybody reach the port anyway.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import or_

from hostfw.model.packets.decisions import PolicyClass
from hostfw.model.prefixes import Cidrs, includes, overlaps
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, Profile, Rule, Tier
from hostfw.model.settings import FailsafePort, Settings
from hostfw.model.values import UDP, Action, Cidr, Direction, PortRange, mask_of
from hostfw.policy.check.port_index import FEW, FailsafePorts, PortIndex
from hostfw.policy.check.selections import Selections
from hostfw.policy.check.voided import Exemption, Owner, Voided
from hostfw.policy.order import tiers_in_order

Opening = tuple[Direction, str]
"""A failsafe port that a policy opens to everybody to whom the failsafe does, in the words of the warning."""

Ports = tuple[FailsafePort, ...]

_DHCP_CLIENTS = ((UDP.number, 68), (UDP.number, 546))
"""The ports at which this host gets its own answers, of DHCP and DHCPv6: nobody else is served there."""

_Place = tuple[int, bool, float, str]
"""The place of a policy in the order of evaluation: its tier, if it has no order, the order, the name."""


class Failsafes:
    """The failsafe ports of the settings, sorted once for all policies."""

    def __init__(self, settings: Settings) -> None:
        self._ports = {
            Direction.INGRESS: FailsafePorts(settings.failsafe.inbound),
            Direction.EGRESS: FailsafePorts(settings.failsafe.outbound),
        }

    def restricted(self, rules: Sequence[Rule], direction: Direction, selections: Selections) -> Ports:
        """The ports that some rules may deny, or allow to some peers only, or within a limit."""
        return self._ports[direction].met(
            (rule, rule.destination.ports, _denied_nets(rule, direction, selections))
            for rule in rules
            if rule.action is Action.DENY
            or (rule.action is Action.ALLOW and (rule.destination.ports or rule.limit is not None))
        )

    def allowed(self, rules: Sequence[Rule], direction: Direction) -> Ports:
        """The ports that some rules may allow to everybody to whom they are open."""
        return self._ports[direction].met(
            (rule, rule.destination.ports, _allowed_nets(rule, direction))
            for rule in rules
            if rule.action is Action.ALLOW and _is_plain(rule, direction)
        )

    def answered(self, rules: Sequence[Rule], direction: Direction) -> Ports:
        """The ports of the other direction whose answers Deny rules may be about, by the port that these come from."""
        other = Direction.EGRESS if direction is Direction.INGRESS else Direction.INGRESS
        return self._ports[other].met(
            (one, one.source.ports, peers.nets if peers.nets and not peers.local else None)
            for rule in rules
            if rule.action is Action.DENY
            for one in rule.by_protocol
            for peers in (_peers(one, direction),)
        )


def opened_by_failsafe(owner: Owner, failsafes: Failsafes, selections: Selections) -> Iterator[Voided]:
    """The rules of a policy or profile that restrict a port which a failsafe opens; of each port the first rule."""
    limits = isinstance(owner, Profile) or owner.is_of(PolicyClass.NORMAL)
    for direction in Direction:
        rules = owner.rules(direction)
        ports = failsafes.restricted(rules, direction, selections)
        if isinstance(owner, GlobalNetworkPolicy) and owner.before_failsafes:
            ports = tuple(port for port in ports if port.is_for_some)
        if not ports:
            continue
        index = PortIndex(ports, rules, _DHCP_CLIENTS)
        wide = _first_wide(rules, direction, index, selections) if limits else {}
        allowed = _AllowedFirst(rules, direction, index)
        said: set[int] = set()
        for number, rule in enumerate(rules):
            if rule.action is not Action.DENY and (rule.action is not Action.ALLOW or not limits):
                # Without an end of their tier, Allow rules limit nothing.
                continue
            found = [
                group
                for group in index.matched(
                    rule,
                    rule.destination.ports,
                    _denied_nets(rule, direction, selections) if len(index) > FEW else None,
                )
                if group not in said
                if _is_meant(rule, direction, index.first[group])
                if _is_left_open(rule, number, wide.get(group))
                if _restricts(rule, direction, index.first[group], selections)
                if not allowed.has(number, group)
            ]
            if found:
                said.update(found)
                yield Voided(
                    Exemption.FAILSAFES, owner, direction, rule.position, tuple(map(str, index.ports_of(found)))
                )


def openings(policy: GlobalNetworkPolicy, failsafes: Failsafes, selections: Selections) -> tuple[Opening, ...]:
    """The failsafe ports that a policy opens as wide as the failsafe does, so that no later one can limit them."""
    if not policy.is_of(PolicyClass.NORMAL):
        return ()
    return tuple(
        (direction, str(port))
        for direction in Direction
        for port in _opened_wholly(policy.rules(direction), direction, failsafes, selections)
    )


def opened_by(
    policies: Iterable[GlobalNetworkPolicy], opened: Iterable[tuple[Opening, ...]]
) -> dict[Opening, list[GlobalNetworkPolicy]]:
    """The policies that open each failsafe port."""
    found: defaultdict[Opening, list[GlobalNetworkPolicy]] = defaultdict(list)
    for policy, of_policy in zip(policies, opened, strict=True):
        for opening in of_policy:
            found[opening].append(policy)
    return dict(found)


def not_opened_before(
    found: Iterable[Voided],
    opened: Mapping[Opening, Sequence[GlobalNetworkPolicy]],
    tiers: Sequence[Tier],
    selections: Selections,
) -> Iterator[Voided]:
    """Leave out the failsafe ports that earlier policies open to everybody anyway, on all the endpoints of a policy."""
    places = {name: place for place, name in enumerate(tiers_in_order(tiers))}

    def place_of(policy: GlobalNetworkPolicy) -> _Place:
        tier = places.get(policy.tier, len(places))
        return tier, policy.order is None, policy.order or 0.0, f"{policy.metadata.name}//"

    # For each port the places of the policies that open it, and the endpoints of all up to each of them.
    covered: dict[Opening, tuple[list[_Place], list[int]]] = {}
    for opening, policies in opened.items():
        ordered = sorted((place_of(policy), policy.selector.text) for policy in policies)
        endpoints = accumulate((selections.endpoints(text) for _, text in ordered), or_, initial=0)
        covered[opening] = [place for place, _ in ordered], list(endpoints)

    def is_opened(owner: GlobalNetworkPolicy, opening: Opening) -> bool:
        at, of_earlier = covered.get(opening, ([], [0]))
        return not selections.endpoints(owner.selector.text) & ~of_earlier[bisect_left(at, place_of(owner))]

    for one in found:
        owner = one.owner
        is_of_tier = isinstance(owner, GlobalNetworkPolicy) and owner.is_of(PolicyClass.NORMAL)
        if one.exemption is not Exemption.FAILSAFES or isinstance(owner, Profile) or not is_of_tier:
            yield one
        elif parts := tuple(part for part in one.parts if not is_opened(owner, (one.direction, part))):
            yield one._replace(parts=parts)


def _is_meant(rule: Rule, direction: Direction, failsafe: FailsafePort) -> bool:
    """True if a rule may be about a failsafe port: one that names no protocol does not mean answers of DHCP."""
    answers = direction is Direction.INGRESS and (failsafe.protocol.number, failsafe.port) in _DHCP_CLIENTS
    return not answers or rule.protocol is not None


def _first_wide(
    rules: Iterable[Rule], direction: Direction, index: PortIndex, selections: Selections
) -> dict[int, int]:
    """The number of the first rule that allows a port to all to whom its failsafe is open, by the group of the port."""
    found: dict[int, int] = {}
    for number, rule in enumerate(rules):
        if rule.action is not Action.ALLOW or not _is_plain(rule, direction):
            continue
        for group in index.matched(rule, rule.destination.ports, _allowed_nets(rule, direction)):
            if group not in found and _is_wide(rule, direction, index.first[group], selections):
                found[group] = number
        if len(found) == len(index):
            break
    return found


def _opened_wholly(
    rules: Sequence[Rule], direction: Direction, failsafes: Failsafes, selections: Selections
) -> tuple[FailsafePort, ...]:
    """The ports that rules allow to all to whom their failsafes are open, with nothing but Allow and Log before."""
    index = PortIndex(failsafes.allowed(rules, direction), rules)
    others: dict[int, int] = {}
    for number, rule in enumerate(rules):
        if rule.action is not Action.LOG and rule.action is not Action.ALLOW:
            for group in _may_match(rule, index):
                others.setdefault(group, number)
    wide = _first_wide(rules, direction, index, selections)
    return index.ports_of(group for group, number in wide.items() if number < others.get(group, len(rules)))


def _is_left_open(rule: Rule, number: int, wide: int | None) -> bool:
    """True unless an Allow of everybody makes a rule idle for a port: before a Deny, or behind a narrower one."""
    return wide is None or (rule.may_deny and number < wide)


def _is_wide(rule: Rule, direction: Direction, failsafe: FailsafePort, selections: Selections) -> bool:
    if rule.action is not Action.ALLOW or (rule.limit is not None and failsafe.net is None):
        return False
    if not _is_plain(rule, direction) or not _has_port(rule, failsafe):
        return False
    peers = _peers(rule, direction)
    return not _limits_peers(peers) or _covers(peers, failsafe.net, selections)


class _AllowedFirst:
    """The peers that the rules of a policy allow a port before any Deny of it; gathered when the first one asks."""

    def __init__(self, rules: Sequence[Rule], direction: Direction, index: PortIndex) -> None:
        self._rules = rules
        self._direction = direction
        self._index = index
        self._nets: dict[int, dict[Cidr, int]] | None = None

    def has(self, number: int, group: int) -> bool:
        """True if the peers of a Deny, named by nets, are allowed a port by rules before it, no Deny in between."""
        denied = _peers(self._rules[number], self._direction)
        if self._rules[number].action is not Action.DENY or not denied.nets or denied.local:
            return False
        if self._nets is None:
            self._nets = self._gathered()
        allowed = self._nets.get(group, {})
        return all(any(allowed.get(wider, number) < number for wider in _around(net)) for net in denied.nets)

    def _gathered(self) -> dict[int, dict[Cidr, int]]:
        """The prefixes that are allowed each group of ports first, each with the number of its first rule."""
        found: defaultdict[int, dict[Cidr, int]] = defaultdict(dict)
        denied: set[int] = set()
        for number, rule in enumerate(self._rules):
            if len(denied) == len(self._index):
                break
            if rule.action is Action.DENY:
                denied.update(_may_match(rule, self._index))
                continue
            peers = _peers(rule, self._direction)
            if (
                rule.action is Action.ALLOW
                and rule.limit is None
                and _is_plain(rule, self._direction)
                and peers == EntityRule(nets=peers.nets, ports=peers.ports)
            ):
                for group in self._index.matched(rule, rule.destination.ports):
                    if group not in denied and _has_port(rule, self._index.first[group]):
                        for net in peers.nets:
                            found[group].setdefault(net, number)
        return found


def _around(net: Cidr) -> Iterator[Cidr]:
    """A prefix and all that hold it."""
    for length in range(net.length, -1, -1):
        yield Cidr(net.family, net.address & mask_of(net.family, length), length)


def _is_plain(rule: Rule, direction: Direction) -> bool:
    """True if a rule asks nothing but the peer, the protocol and the destination port."""
    near = rule.destination if direction is Direction.INGRESS else rule.source
    of_near = near.nets or near.not_nets or near.selector is not None or near.not_selector is not None
    of_ports = rule.source.ports or rule.source.not_ports or rule.destination.not_ports
    return not of_near and not of_ports and not _asks_of_the_way(rule)


def _asks_of_the_way(rule: Rule) -> bool:
    named = rule.ip_version is not None or rule.not_protocol is not None
    return named or rule.ipsec is not None or bool(rule.source.macs)


def _has_port(rule: Rule, failsafe: FailsafePort) -> bool:
    ports = rule.destination.ports
    if rule.protocols and not is_of_protocol(rule, failsafe):
        return False
    return not ports or any(isinstance(one, PortRange) and one.first <= failsafe.port <= one.last for one in ports)


def _may_match(rule: Rule, index: PortIndex) -> Iterator[int]:
    """The groups of ports that a rule may match; what a port is called that it names, the host alone knows."""
    named = any(isinstance(port, str) for port in rule.destination.ports)
    for group in index.matched(rule, () if named else rule.destination.ports):
        if is_of_protocol(rule, index.first[group]) and (named or _has_port(rule, index.first[group])):
            yield group


def _denied_nets(rule: Rule, direction: Direction, selections: Selections) -> Sequence[Cidr] | None:
    """The nets of a Deny, beyond which it denies nobody; None if it may deny others too, or allows."""
    if rule.action is not Action.DENY:
        return None
    peers = _peers(rule, direction)
    if peers.nets and not peers.local:
        return peers.nets
    parts = selections.nets(peers.selector.text) if peers.selector is not None else ()
    return next((nets for nets in parts if isinstance(nets, tuple)), None) if len(parts) == 1 else None


def _allowed_nets(rule: Rule, direction: Direction) -> Sequence[Cidr] | None:
    """The nets of an Allow, beyond which it allows nobody; None if it may allow others too."""
    peers = _peers(rule, direction)
    return peers.nets if _limits_peers(peers) and peers.nets else None


def _peers(rule: Rule, direction: Direction) -> EntityRule:
    return rule.source if direction is Direction.INGRESS else rule.destination


def _restricts(rule: Rule, direction: Direction, failsafe: FailsafePort, selections: Selections) -> bool:
    """True if a rule means to deny a failsafe port, or to allow it to some peers only, or within a limit."""
    if rule.action not in (Action.ALLOW, Action.DENY) or not is_of_protocol(rule, failsafe):
        return False
    peers = _peers(rule, direction)
    ports = rule.destination.ports
    if ports:
        if not any(isinstance(port, PortRange) and port.first <= failsafe.port <= port.last for port in ports):
            return False
    elif (rule.action is Action.ALLOW and rule.limit is None) or rule.destination.not_ports or not _limits_peers(peers):
        return False
    if rule.action is Action.DENY:
        return not _spares(peers, failsafe.net) and meets(peers, failsafe.net, selections)
    if rule.limit is not None:
        return failsafe.net is None or (bool(peers.nets) and all(includes((failsafe.net,), net) for net in peers.nets))
    return _limits_peers(peers) and not _covers(peers, failsafe.net, selections)


def _spares(peers: EntityRule, net: Cidr | None) -> bool:
    """True if the notNets of a Deny leave out all that a failsafe is open to, or all that its nets name."""
    if net is not None and includes(peers.not_nets, net):
        return True
    return bool(peers.nets) and not peers.local and all(includes(peers.not_nets, one) for one in peers.nets)


def is_of_protocol(rule: Rule, failsafe: FailsafePort) -> bool:
    """True if a rule may match packets of a failsafe's protocol."""
    if rule.protocol is not None:
        return any(one.number == failsafe.protocol.number for one in rule.protocols)
    return rule.not_protocol is None or rule.not_protocol.number != failsafe.protocol.number


def _limits_peers(peers: EntityRule) -> bool:
    nets = peers.nets and not any(net.length == 0 for net in peers.nets)
    on_link = peers.local or peers.not_local
    return bool(nets or on_link or peers.macs or peers.not_nets or peers.selector or peers.not_selector)


def meets(peers: EntityRule, net: Cidr | None, selections: Selections) -> bool:
    """True if some peers of a rule are in a prefix, such as that of a failsafe; None is every address."""
    return net is None or all(any(overlaps(nets, net) for nets in parts) for parts in _limits(peers, selections))


def _covers(peers: EntityRule, net: Cidr | None, selections: Selections) -> bool:
    """True if the peers of a rule include all that a failsafe is open to."""
    if net is None or peers.local or peers.not_local or peers.macs or peers.not_selector is not None:
        return False
    if overlaps(peers.not_nets, net):
        return False
    return all(any(includes(nets, net) for nets in parts) for parts in _limits(peers, selections))


def _limits(peers: EntityRule, selections: Selections) -> Iterator[tuple[Cidrs, ...]]:
    # Which addresses are in the networks of an interface, the host alone knows.
    if peers.nets and not peers.local:
        yield (peers.nets,)
    if peers.selector is not None:
        yield selections.nets(peers.selector.text)
