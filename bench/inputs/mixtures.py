"""Mixtures of policies of many shapes, as plans: what a layout has to be flat on.

A shape is what one policy asks for. A mixture draws each of its policies from some of them, and for any of its rules
a packet can be made that it decides, unless one in front of it does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from hostfw.model.packets.packet import Packet
from hostfw.model.plan import (
    ANY_SIDE,
    AddressSet,
    Binding,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    PortMember,
    PortSet,
    RuleIdentity,
)
from hostfw.model.settings import InvalidPackets, Settings
from hostfw.model.values import TCP, UDP, Action, Cidr, Direction, Family, PortRange, mask_of

HERE = {Family.V4: 0xC000020A, Family.V6: 0x20010DB8 << 96 | 0xA}
"""The host's own address."""
INTERFACE = "eth0"
_NOBODY = {Family.V4: 0xF0000001, Family.V6: 0xFC << 120 | 1}
_LENGTHS = {
    Family.V4: (8, 12, 14, 16, 18, 19, 20, 21, 22, 24, 26, 28, 32),
    Family.V6: (32, 36, 40, 44, 48, 52, 56, 60, 64, 80, 96, 112, 128),
}
_WIDTH = {Family.V4: 24, Family.V6: 64}
"""The length of the prefixes of most policies."""
_HTTP = PortSet("http", tuple(PortMember(family, HERE[family], TCP.number, 8080) for family in Family))


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria of one policy's rule."""

    action: Action = Action.ALLOW
    source: PlannedSide = ANY_SIDE
    destination: PlannedSide = ANY_SIDE


Shape = Callable[[int, Random, Family], Criteria]


def _net(number: int, family: Family, length: int | None = None) -> Cidr:
    """The prefix of a number: different numbers have different ones, as far as the length has room."""
    bits, wide = family.bits, _WIDTH[family] if length is None else length
    start = (0x0A << bits - 8) if family is Family.V4 else (0x20010000 << bits - 32)
    address = start + (number << bits - _WIDTH[family])
    return Cidr(family, address & mask_of(family, wide), wide)


def _nets(*cidrs: Cidr) -> PlannedSide:
    return PlannedSide(nets=tuple(sorted(set(cidrs))))


def _port(first: int, last: int | None = None) -> tuple[PortRange, ...]:
    return (PortRange(first, first if last is None else last),)


def _own_port(number: int) -> int:
    return 1024 + number % 60_000


def _wide(number: int) -> tuple[PortRange, ...]:
    first = 1024 + number * 37 % 50_000
    return _port(first, first + 500 + number * 13 % 9000)


SHAPES: Mapping[str, Shape] = {
    "port": lambda n, _r, _f: Criteria(destination=PlannedSide(ports=_port(_own_port(n)))),
    "net": lambda n, _r, f: Criteria(source=_nets(_net(n, f))),
    "deny net": lambda n, _r, f: Criteria(Action.DENY, _nets(_net(n, f))),
    "net and port": lambda n, _r, f: Criteria(
        source=_nets(_net(n, f)), destination=PlannedSide(ports=_port(_own_port(n)))
    ),
    "nets and one port": lambda n, _r, f: Criteria(
        source=_nets(*(_net(n * 4 + k, f) for k in range(4))), destination=PlannedSide(ports=_port(443))
    ),
    "few nets and few ports": lambda n, _r, f: Criteria(
        Action.DENY if n % 3 == 0 else Action.ALLOW,
        _nets(_net(n % 97, f)),
        PlannedSide(ports=_port(2000 + n % 101)),
    ),
    "any length": lambda n, r, f: Criteria(source=_nets(_net(n, f, r.choice(_LENGTHS[f])))),
    "set": lambda n, _r, f: Criteria(
        source=PlannedSide(
            address_set=AddressSet(f"set == '{n}'", tuple(sorted({_net(n * 99 + k, f) for k in range(99)})))
        ),
        destination=PlannedSide(ports=_port(443)),
    ),
    "named port": lambda n, _r, f: Criteria(source=_nets(_net(n, f)), destination=PlannedSide(port_sets=(_HTTP,))),
    "wide range": lambda n, _r, _f: Criteria(destination=PlannedSide(ports=_wide(n))),
    "net and wide range": lambda n, _r, f: Criteria(
        source=_nets(_net(n % 3, f)), destination=PlannedSide(ports=_wide(n))
    ),
    "source port": lambda n, _r, _f: Criteria(source=PlannedSide(ports=_port(_own_port(n)))),
    "source port of a wide net": lambda n, _r, f: Criteria(
        source=PlannedSide(nets=(_net(0, f, 8),), ports=_port(_own_port(n)))
    ),
    "but a net": lambda n, _r, f: Criteria(
        source=PlannedSide(nets=(_net(n, f, _WIDTH[f] - 4),), not_nets=(_net(n, f),)),
        destination=PlannedSide(not_ports=_port(_own_port(n))),
    ),
    "pass": lambda n, _r, f: Criteria(Action.PASS, _nets(_net(n, f)), PlannedSide(ports=_port(_own_port(n)))),
    "pair": lambda n, _r, f: Criteria(source=_nets(_net(n % 113, f)), destination=_nets(_net(n % 127, f))),
}
"""The shapes of policies, by name."""


def plan_of(weights: Mapping[str, int], count: int, seed: int = 0, family: Family = Family.V4, tiers: int = 1) -> Plan:
    """A plan of so many policies of one rule each, drawn from shapes by weight; tiers share them evenly."""
    random = Random(seed)
    names = random.choices(list(weights), list(weights.values()), k=count)
    policies = [_policy(number, SHAPES[name](number, random, family), family) for number, name in enumerate(names)]
    share = -(-count // tiers)
    planned = tuple(
        PlannedTier(f"t{tier}", Action.DENY, tuple(policies[tier * share : (tier + 1) * share]))
        for tier in range(tiers)
    )
    endpoint = PlannedEndpoint(INTERFACE, PlannedDirection(planned), PlannedDirection())
    settings = Settings(invalid_packets=InvalidPackets.POLICED)
    return Plan("host", settings, (endpoint,), (Binding(INTERFACE, INTERFACE, "named"),))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shapes with their weights, to make plans of any size of."""

    seed: int
    weights: Mapping[str, int]
    family: Family
    tiers: int

    def plan(self, count: int) -> Plan:
        """A plan of so many policies."""
        return plan_of(self.weights, count, self.seed, self.family, self.tiers)


def drawn_mixture(seed: int) -> Mixture:
    """A mixture drawn by a seed: of two to all shapes, in one family, in one to three tiers.

    Only where there is a shape that passes on is there a second tier: no packet comes to it otherwise.
    """
    random = Random(seed)
    shapes = random.sample(sorted(SHAPES), random.randint(2, len(SHAPES)))
    weights = {name: random.randint(1, 20) for name in shapes}
    return Mixture(
        seed, weights, (Family.V4, Family.V6)[seed // 4 % 2], random.randint(1, 3) if "pass" in shapes else 1
    )


def with_logs(plan: Plan, seed: int = 0) -> Plan:
    """The plan with each third policy staged, or its rule a Log, at random: what goes on with the next rule."""
    random = Random(seed)
    (endpoint,) = plan.endpoints
    tiers = [
        replace(tier, policies=tuple(_that_goes_on(policy, random.randrange(6)) for policy in tier.policies))
        for tier in endpoint.ingress.tiers
    ]
    return replace(plan, endpoints=(replace(endpoint, ingress=PlannedDirection(tuple(tiers))),))


def forwarded(plan: Plan) -> Plan:
    """The plan with all its policies for what is forwarded (applyOnForward), and none for the host itself."""
    (endpoint,) = plan.endpoints
    ingress = PlannedDirection(forward_tiers=endpoint.ingress.tiers)
    return replace(plan, endpoints=(replace(endpoint, ingress=ingress),))


def _that_goes_on(policy: PlannedPolicy, how: int) -> PlannedPolicy:
    (rule,) = policy.rules
    match how:
        case 0:
            kind = "StagedGlobalNetworkPolicy"
            return replace(
                policy, kind=kind, staged=True, rules=(replace(rule, identity=replace(rule.identity, kind=kind)),)
            )
        case 1:
            return replace(policy, rules=(replace(rule, action=Action.LOG),))
        case _:
            return policy


def _policy(number: int, criteria: Criteria, family: Family) -> PlannedPolicy:
    name = f"p{number:05}"
    identity = RuleIdentity("GlobalNetworkPolicy", "default", name, Direction.INGRESS, f"{number:012x}", 0, 0)
    rule = PlannedRule(
        identity, criteria.action, (family,), TCP, source=criteria.source, destination=criteria.destination
    )
    return PlannedPolicy("GlobalNetworkPolicy", name, "default", None, (rule,))


def packets(plan: Plan, count: int, seed: int = 0) -> list[Packet]:
    """Packets that match rules drawn at random, as far as none in front of them decides."""
    random = Random(seed)
    rules = [rule for tier in plan.endpoints[0].ingress.tiers for policy in tier.policies for rule in policy.rules]
    return [_packet(random.choice(rules), random) for _ in range(count)]


def first_packets(plan: Plan, count: int, seed: int = 0) -> list[Packet]:
    """Packets that match the first rule."""
    random = Random(seed)
    (rule,) = plan.endpoints[0].ingress.tiers[0].policies[0].rules
    return [_packet(rule, random) for _ in range(count)]


def last_packets(plan: Plan, count: int, seed: int = 0) -> list[Packet]:
    """Packets that match one of the last rules."""
    random = Random(seed)
    rules = [rule for tier in plan.endpoints[0].ingress.tiers for policy in tier.policies for rule in policy.rules]
    return [_packet(rule, random) for rule in random.choices(rules[-10:], k=count)]


def missing_packets(plan: Plan, count: int) -> list[Packet]:
    """Packets that few rules match: from nowhere, to a port that nobody has."""
    family = plan.endpoints[0].ingress.tiers[0].policies[0].rules[0].families[0]
    return [
        Packet(family, TCP.number, _NOBODY[family] + k, HERE[family], 1000, 65_001, in_interface=INTERFACE)
        for k in range(count)
    ]


def _packet(rule: PlannedRule, random: Random) -> Packet:
    (family,) = rule.families
    source, destination = rule.source, rule.destination
    own = HERE[family] if destination.nets is None else _address(destination.nets, random)
    nets = source.nets if source.address_set is None else tuple(source.address_set.of(family))
    peer = _NOBODY[family] if nets is None else _address(nets, random)
    ports = (8080 if destination.port_sets else 7) if not destination.ports else _within(destination.ports, random)
    source_port = 50_000 if not source.ports else _within(source.ports, random)
    return Packet(family, TCP.number, peer, own, source_port, ports, in_interface=INTERFACE)


def _address(nets: Sequence[Cidr], random: Random) -> int:
    net = random.choice(nets)
    free = net.family.bits - net.length
    return net.address | random.getrandbits(free) if free else net.address


def _within(ranges: Sequence[PortRange], random: Random) -> int:
    one = random.choice(ranges)
    return random.randint(one.first, one.last)


def changed(plan: Plan, number: int) -> Plan:
    """The plan with another port in one policy: the smallest change of a program."""
    (endpoint,) = plan.endpoints
    tiers = list(endpoint.ingress.tiers)
    (rule,) = tiers[0].policies[number].rules
    changed = replace(
        rule,
        identity=replace(rule.identity, digest=f"{1 << 40 | number:012x}"),
        protocol=UDP,
        destination=PlannedSide(ports=_port(61_234)),
    )
    policies = list(tiers[0].policies)
    policies[number] = replace(policies[number], rules=(changed,))
    tiers[0] = replace(tiers[0], policies=tuple(policies))
    return replace(plan, endpoints=(replace(endpoint, ingress=PlannedDirection(tuple(tiers))),))
