"""Failsafe ports that stay open although a policy says otherwise.

Rules that deny everything are left alone: that failsafes survive them is what failsafes are for. A rule that names the
port, or denies some peers, says more than that, and its author should know that it has no effect on the failsafe.
"""

from collections.abc import Iterator

from hostfw.model.decisions import PolicyClass
from hostfw.model.prefixes import Cidrs, includes, overlaps
from hostfw.model.resources import EntityRule, Profile, Rule
from hostfw.model.settings import FailsafePort, Settings
from hostfw.model.values import TCP, Action, Cidr, Direction, PortRange
from hostfw.policy.check.selections import Selections
from hostfw.policy.check.voided import Exemption, Owner, Voided

_SSH = 22


def opened_by_failsafe(owner: Owner, settings: Settings, selections: Selections) -> Iterator[Voided]:
    """The rules of a policy or profile that restrict a port which a failsafe opens."""
    failsafes = {Direction.INGRESS: settings.failsafe.inbound, Direction.EGRESS: settings.failsafe.outbound}
    for direction in Direction:
        for rule in owner.rules(direction):
            if rule.action is Action.ALLOW and not (isinstance(owner, Profile) or owner.is_of(PolicyClass.NORMAL)):
                # Without an end of their tier, Allow rules limit nothing.
                continue
            opened = [port for port in failsafes[direction] if _restricts(rule, direction, port, selections)]
            for exemption in (Exemption.SSH, Exemption.FAILSAFES):
                parts = tuple(str(port) for port in opened if _exemption(port, direction) is exemption)
                if parts:
                    yield Voided(exemption, owner, direction, rule.position, parts)


def _exemption(port: FailsafePort, direction: Direction) -> Exemption:
    is_ssh = direction is Direction.INGRESS and port.protocol == TCP and port.port == _SSH
    return Exemption.SSH if is_ssh else Exemption.FAILSAFES


def _restricts(rule: Rule, direction: Direction, failsafe: FailsafePort, selections: Selections) -> bool:
    """True if a rule means to deny a failsafe port, or to allow it to some peers only."""
    if rule.action not in (Action.ALLOW, Action.DENY) or not is_of_protocol(rule, failsafe):
        return False
    peers = rule.source if direction is Direction.INGRESS else rule.destination
    ports = rule.destination.ports
    if ports:
        if not any(isinstance(port, PortRange) and port.first <= failsafe.port <= port.last for port in ports):
            return False
    elif rule.action is Action.ALLOW or rule.destination.not_ports or not _limits_peers(peers):
        return False
    if rule.action is Action.DENY:
        return meets(peers, failsafe.net, selections)
    return _limits_peers(peers) and not _covers(peers, failsafe.net, selections)


def is_of_protocol(rule: Rule, failsafe: FailsafePort) -> bool:
    """True if a rule may match packets of a failsafe's protocol."""
    if rule.protocol is not None:
        return rule.protocol.number == failsafe.protocol.number
    return rule.not_protocol is None or rule.not_protocol.number != failsafe.protocol.number


def _limits_peers(peers: EntityRule) -> bool:
    nets = peers.nets and not any(net.length == 0 for net in peers.nets)
    return bool(nets or peers.not_nets or peers.selector or peers.not_selector)


def meets(peers: EntityRule, net: Cidr | None, selections: Selections) -> bool:
    """True if some peers of a rule are in a prefix, such as that of a failsafe; None is every address."""
    return net is None or all(any(overlaps(nets, net) for nets in parts) for parts in _limits(peers, selections))


def _covers(peers: EntityRule, net: Cidr | None, selections: Selections) -> bool:
    """True if the peers of a rule include all that a failsafe is open to."""
    if net is None or peers.not_selector is not None or overlaps(peers.not_nets, net):
        return False
    return all(any(includes(nets, net) for nets in parts) for parts in _limits(peers, selections))


def _limits(peers: EntityRule, selections: Selections) -> Iterator[tuple[Cidrs, ...]]:
    if peers.nets:
        yield (peers.nets,)
    if peers.selector is not None:
        yield selections.nets(peers.selector.text)
