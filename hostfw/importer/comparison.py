"""Comparison of an import with its source: packets at the edges of every rule, judged by both."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random
from typing import NamedTuple

from hostfw.explain.verdict import explain
from hostfw.importer.conditions import (
    EVERY_MAC,
    FOREIGN,
    IPSEC_OR_NOT,
    MAPPED,
    NONE,
    OTHERS,
    Condition,
    Interfaces,
    anything,
)
from hostfw.importer.rule_set import ForeignRule, ForeignRules, Hook, Verdict
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.explanation import Step
from hostfw.model.packets.packet import Packet
from hostfw.model.ranges import Ranges, bounds, holds
from hostfw.model.resources import Resources
from hostfw.model.settings import Failsafe, Settings
from hostfw.model.values import ICMPV6, PORT_PROTOCOLS, Family, Mac
from hostfw.policy.resolve.plan import resolve

PACKETS = 10_000
"""Packets that are compared, unless somebody asks for another number."""

_LONGEST_NAME = 15
_OURS = 0.05
"""The share of packets that hostfw may exempt from policy."""
_NEIGHBOURS = (133, 137)
"""The first and the last type of messages of neighbour discovery (RFC 4861)."""
_COMMON_PROTOCOLS = (6, 17, 1, 58, 132, 47, 2)


class Difference(NamedTuple):
    """A packet that the two judge differently: `before` is the source's verdict, `step` what decides in ours."""

    hook: Hook
    packet: Packet
    before: Verdict
    step: Step


@dataclass(frozen=True, slots=True)
class Comparison:
    """The packets that were compared, and those judged differently, by what makes the difference in ours."""

    packets: int
    differences: tuple[Difference, ...] = ()
    groups: tuple[tuple[str, tuple[Difference, ...]], ...] = field(default=())

    @property
    def alike(self) -> int:
        """The number of packets that both judge the same."""
        return self.packets - len(self.differences)


def compare(
    sources: Sequence[ForeignRules], resources: Resources, settings: Settings, packets: int = PACKETS, seed: int = 0
) -> Comparison:
    """Judge packets at the edges of the rules by both. The same seed gives the same packets.

    The packets begin connections: what is established passes in hostfw in any case. Rules of the source that policy
    cannot say are passed over on both sides; they are named elsewhere.
    """
    interfaces = _interface_names(sources)
    facts = HostFacts(
        "import", tuple(Interface(name, place) for place, name in enumerate(sorted(interfaces.values()), 1))
    )
    plan, _ = resolve(resources, settings, facts)
    found: list[Difference] = []
    drawn = 0
    for rules, hook, packet, into, out in boundary_packets(sources, settings.failsafe, packets, seed):
        drawn += 1
        before = rules.verdict(hook, packet, into, out)
        explanation = explain(plan, packet)
        if explanation.allowed is not (before is Verdict.ALLOW):
            found.append(Difference(hook, packet, before, explanation.decided_by))
    return Comparison(drawn, tuple(found), tuple(_grouped(found)))


class BoundaryPacket(NamedTuple):
    """A packet at an edge of the rules of its family, the hook that it meets, and the classes of its interfaces."""

    rules: ForeignRules
    hook: Hook
    packet: Packet
    into: str
    out: str


def boundary_packets(
    sources: Sequence[ForeignRules], failsafe: Failsafe, packets: int = PACKETS, seed: int = 0
) -> Iterator[BoundaryPacket]:
    """Draw packets at the edges of the rules, as many for each family. The same seed gives the same packets."""
    names = _interface_names(sources)
    random = Random(seed)  # noqa: S311  packets are drawn with it, and nothing is kept secret
    for rules in sources:
        pool = _Pool(rules, failsafe, random)
        for _ in range(packets // len(sources)):
            yield BoundaryPacket(rules, *pool.draw(names))


def _interface_names(sources: Sequence[ForeignRules]) -> dict[str, str]:
    """An interface of each class, by the class."""
    interfaces = sources[0].interfaces
    return {one: _representative(one, interfaces) for one in interfaces.governed}


def _representative(one: str, interfaces: Interfaces) -> str:
    """The name of an interface of a class, which no other class has."""
    if one not in interfaces.names or one.endswith("+"):
        prefix = "" if one == OTHERS else one.removesuffix("+")
        letters = ("".join(letters) for length in (2, 3) for letters in product("xyz0123456789", repeat=length))
        names = (f"{prefix}{text}"[:_LONGEST_NAME] for text in letters)
        return next((name for name in names if interfaces.of(name) == one), one)
    return one


class _Pool:
    """Packets at and beside the edges of what rules match."""

    def __init__(self, rules: ForeignRules, failsafe: Failsafe, random: Random) -> None:
        self._family = rules.family
        self._failsafe = failsafe
        self._random = random
        self._all = anything(rules.family)
        self._rules: dict[Hook, list[ForeignRule]] = {hook: list(rules.reached(hook)) for hook in Hook}
        self._classes = rules.interfaces.governed
        conditions = [rule.condition for listed in self._rules.values() for rule in listed]
        addresses = {edge for one in conditions for side in (one.source, one.destination) for edge in _edges(side)}
        self._addresses = sorted(
            edge for edge in addresses if 0 <= edge < 1 << rules.family.bits and not self._is_mapped(edge)
        )

    def draw(self, names: dict[str, str]) -> tuple[Hook, Packet, str, str]:
        """A packet, the chain that it meets, and the classes of its interfaces."""
        random = self._random
        hook = random.choice((Hook.INPUT, Hook.INPUT, Hook.OUTPUT, Hook.FORWARD))
        listed = self._rules[hook]
        rule = random.choice(listed) if listed else None
        near = rule.condition if rule is not None else self._all
        hop_limit = 64
        if random.random() < _OURS:
            near, hop_limit = self._exempt(hook, near)
        into = self._class(near.into) if hook is not Hook.OUTPUT else NONE
        out = self._class(near.out) if hook is not Hook.INPUT else NONE
        protocol = self._value(near.protocols, 256)
        if near.protocols == self._all.protocols:
            protocol = random.choice(_COMMON_PROTOCOLS)
        if holds(FOREIGN[self._family], protocol):
            protocol = _COMMON_PROTOCOLS[0]
        ports = protocol in PORT_PROTOCOLS
        icmp = self._value(near.icmp, 65536) if protocol == (1 if self._family is Family.V4 else 58) else None
        packet = Packet(
            self._family,
            protocol,
            self._address(near.source),
            self._address(near.destination),
            self._value(near.source_ports, 65536) if ports else None,
            self._value(near.destination_ports, 65536) if ports else None,
            None if icmp is None else icmp // 256,
            None if icmp is None else icmp % 256,
            hop_limit,
            in_interface=names[into] if into else None,
            mac=self._mac(near.macs) if into else None,
            ipsec=bool(into) and near.ipsec != IPSEC_OR_NOT and True in near.ipsec,
            out_interface=names[out] if out else None,
        )
        return hook, packet, into, out

    def _exempt(self, hook: Hook, near: Condition) -> tuple[Condition, int]:
        """Packets that hostfw may exempt from policy, failsafes and neighbours, with their hop limit."""
        if self._family is Family.V6 and self._random.random() < 0.5:
            number = ICMPV6.number
            types = (_NEIGHBOURS[0] * 256, (_NEIGHBOURS[1] + 1) * 256)
            return replace(near, protocols=(number, number + 1), icmp=types), 255
        listed = self._failsafe.outbound if hook is Hook.OUTPUT else self._failsafe.inbound
        if not listed:
            return near, 64
        one = self._random.choice(listed)
        ports = (one.port, one.port + 1)
        return replace(near, protocols=(one.protocol.number, one.protocol.number + 1), destination_ports=ports), 64

    def _mac(self, near: Ranges) -> Mac | None:
        """An Ethernet address only near rules that ask for one: any other is like none."""
        return None if near == EVERY_MAC else Mac(self._value(near, EVERY_MAC[1]))

    def _class(self, near: frozenset[str] | None) -> str:
        wanted = [] if near is None else sorted(near.intersection(self._classes))
        return self._random.choice(wanted if wanted and self._random.random() < 0.7 else self._classes)

    def _address(self, near: Ranges) -> int:
        if near == self._all.source and self._addresses and self._random.random() < 0.5:
            return self._random.choice(self._addresses)
        found = self._value(near, 1 << self._family.bits)
        return MAPPED[1] if self._is_mapped(found) else found

    def _is_mapped(self, address: int) -> bool:
        return self._family is Family.V6 and holds(MAPPED, address)

    def _value(self, near: Ranges, end: int) -> int:
        """Mostly an edge or what is beside it, otherwise anything."""
        if near and self._random.random() < 0.85:
            return self._random.choice([edge for edge in _edges(near) if 0 <= edge < end])
        return self._random.randrange(end)


def _edges(ranges: Ranges) -> list[int]:
    """The first and the last of each range, what is beside them, and one within."""
    return [edge for first, last in bounds(ranges) for edge in (first - 1, first, (first + last) // 2, last, last + 1)]


def _grouped(differences: Iterable[Difference]) -> Iterator[tuple[str, tuple[Difference, ...]]]:
    """The differences by what decides in ours, most first."""
    found: dict[str, list[Difference]] = defaultdict(list)
    for one in differences:
        found[_cause(one)].append(one)
    for cause, listed in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        yield cause, tuple(listed)


def _cause(difference: Difference) -> str:
    step = difference.step
    now = "denied" if difference.before is Verdict.ALLOW else "allowed"
    was = "allowed" if difference.before is Verdict.ALLOW else "denied"
    match step.reason:
        case Reason.FAILSAFE if step.failsafe is not None:
            why = f"failsafe {step.failsafe.protocol.name.lower()} {step.failsafe.port} of hostfw.yaml"
        case Reason.NEIGHBOUR_DISCOVERY:
            why = "neighbour discovery and membership reports, which hostfw exempts (neighbourDiscovery)"
        case Reason.RULE:
            why = f"the rule of {step.policy} for {step.position.file_line}"
        case reason:
            why = f"{reason.value.replace('-', ' ')}"
    return f"{was} before, {now} by the import: {why}"
