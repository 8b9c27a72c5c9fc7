"""A simulation of the kernel: our ruleset, evaluated for a packet as nf_tables does it.

Only the expressions that hostfw writes are known, and only for whole packets: conntrack puts fragments together
before any rule here sees them. Limits of the log are never reached, those of rules if the packet says so, and dynamic
sets have room for all, so every log is made.
No interface is renamed, so none is known by its index alone. Rules of NftRules do nothing.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import itemgetter

from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.values import Cidr, PortRange, ip_version, mask_of
from hostfw.nft.objects import SOURCE_LIMITS, Chain, Element, ElementType, Hook, Priority, Ruleset, Table, VerdictMap
from hostfw.nft.packet_fields import field_of, socket
from hostfw.nft.rules import (
    SCRATCH_SHIFT,
    Accept,
    Beginning,
    Below,
    CounterRef,
    Drop,
    Forget,
    Goto,
    Jump,
    Key,
    Log,
    Match,
    Note,
    Notrack,
    OverCount,
    OverLimit,
    Readdress,
    Reject,
    Remember,
    Return,
    Rule,
    SetRef,
    Verbatim,
    Verdict,
    Vmap,
)

_PORTS = frozenset((Key.SPORT, Key.DPORT, Key.ORIGINAL_DPORT))
_PORT_BITS = 16
_WITHOUT_CONNECTION = (ConntrackState.UNTRACKED, ConntrackState.INVALID)

_HOOKS = {
    Path.LOCAL_IN: (
        (Hook.PREROUTING, Priority.RAW),
        (Hook.PREROUTING, Priority.MANGLE),
        (Hook.INPUT, Priority.FILTER),
    ),
    Path.FORWARDED: (
        (Hook.PREROUTING, Priority.RAW),
        (Hook.PREROUTING, Priority.MANGLE),
        (Hook.FORWARD, Priority.RAW),
        (Hook.FORWARD, Priority.MANGLE),
        (Hook.FORWARD, Priority.FILTER),
        (Hook.POSTROUTING, Priority.MANGLE),
    ),
    Path.LOCAL_OUT: (
        (Hook.OUTPUT, Priority.RAW),
        (Hook.OUTPUT, Priority.FILTER),
        (Hook.POSTROUTING, Priority.MANGLE),
    ),
}
"""The base chains on each path that can be ours, in the order in which a packet meets them."""


class Fate(StrEnum):
    """The fate of a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a packet, the counters that it moved and the prefixes that it was logged with, in order.

    `mark` is the packet's mark afterwards.
    """

    fate: Fate
    counters: tuple[str, ...]
    prefixes: tuple[str, ...]
    mark: int = 0

    @property
    def accepted(self) -> bool:
        """True if the packet goes on."""
        return self.fate is Fate.ACCEPT


@dataclass(frozen=True, slots=True)
class Effort:
    """The work that a packet is: lookups in sets and maps, and all rules that it is compared with."""

    lookups: int
    rules: int


def simulate(ruleset: Ruleset, packet: Packet, mark: int = 0) -> Outcome:
    """The fate of a packet at all the hooks that it passes, with the mark that another program gave it."""
    return _walked(ruleset, packet, mark)[1]


def effort(ruleset: Ruleset, packet: Packet) -> Effort:
    """The work that a packet is at all the hooks that it passes."""
    walk, _ = _walked(ruleset, packet, 0)
    return Effort(walk.lookups, walk.rules)


def _walked(ruleset: Ruleset, packet: Packet, mark: int) -> "tuple[_Walk, Outcome]":
    table = next(table for table in ruleset.tables if table.family is packet.family)
    walk = _Walk(table, packet, mark=mark)
    fate = Fate.ACCEPT
    for hook, priority in _HOOKS[packet.path]:
        base = next((c for c in table.base_chains if (c.hook, c.priority) == (hook, priority)), None)
        if base is not None:
            walk.arrive(hook, priority)
            fate = walk.through(base.rules) or (Fate.DROP if base.policy_drop else Fate.ACCEPT)
        if fate is not Fate.ACCEPT:
            break
    return walk, Outcome(fate, tuple(walk.counters), tuple(walk.prefixes), walk.mark)


@dataclass(slots=True)
class _Walk:
    """One packet on its way through the chains of a table.

    `here` is the packet as the present hook sees it, or None before the first. A packet that was kept from connection
    tracking is not translated either. `noted` are the sets that its connection is in. `readdressed` is whether it has
    the destination again that it had before translation.
    """

    table: Table
    packet: Packet
    here: Packet | None = None
    tracked: bool = True
    state_known: bool = False
    noted: set[str] = field(default_factory=set)
    readdressed: bool = False
    mark: int = 0
    lookups: int = 0
    rules: int = 0
    counters: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    _chains: dict[str, Chain] = field(default_factory=dict)
    _elements: dict[str, frozenset[Element]] = field(default_factory=dict)
    _maps: dict[str, VerdictMap] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chains = {chain.name: chain for chain in self.table.chains}
        self._maps = {contents.name: contents for contents in self.table.maps}

    def arrive(self, hook: Hook, priority: Priority) -> None:
        """Bring the packet to a hook: destination NAT and connection tracking have happened, or not yet."""
        before_tracking = priority is Priority.RAW and hook is not Hook.FORWARD
        self.state_known = not before_tracking
        if hook is Hook.PREROUTING or before_tracking or not self.tracked:
            self.here = self.packet.untranslated
        elif hook is Hook.OUTPUT and self.packet.original is not None:
            # The destination is the new one, the route still the old.
            self.here = replace(self.packet, out_interface=self.packet.untranslated.out_interface)
        else:
            self.here = self.packet

    def through(self, rules: tuple[Rule, ...]) -> Fate | None:
        """The fate that a list of rules decides, or None where the packet comes back from it."""
        for rule in rules:
            self.rules += 1
            if not all(self._holds(match) for match in rule.matches):
                continue
            for verdict in self._verdicts(rule):
                match verdict:
                    case Fate():
                        return verdict
                    case Return():
                        return None
                    case Goto(chain):
                        return self.through(self._chains[chain].rules)
                    case Jump(chain):
                        fate = self.through(self._chains[chain].rules)
                        if fate is not None:
                            return fate
        return None

    def _verdicts(self, rule: Rule) -> Iterator[Fate | Return | Goto | Jump]:
        for statement in rule.statements:
            match statement:
                case CounterRef(name):
                    self.counters.append(name)
                case OverLimit(name) | OverCount(name):
                    if not (self.packet.over_limit and name.startswith(SOURCE_LIMITS)):
                        return
                case Remember(name, Key.CT_ID):
                    if not self._has_connection:
                        return
                    self.noted.add(name)
                case Forget(name):
                    self.noted.discard(name)
                case Remember() | Verbatim():
                    pass
                case Log(prefix):
                    self.prefixes.append(prefix)
                case Notrack():
                    self.tracked = False
                case Note(number):
                    self.mark = (self.mark & (1 << SCRATCH_SHIFT) - 1) | number << SCRATCH_SHIFT
                case Readdress(original):
                    self.readdressed = original
                case Reject():
                    yield Fate.REJECT
                case Vmap():
                    yield from self._looked_up(statement)
                case Accept() | Drop() | Return() | Goto() | Jump():
                    yield _as_step(statement)

    def _looked_up(self, lookup: Vmap) -> Iterator[Fate | Return | Goto | Jump]:
        self.lookups += 1
        contents, key = self._maps[lookup.map], lookup.key
        value: Element | None
        if isinstance(key, tuple):
            fields = [self._field(one.key, one.length) for one in key]
            value = tuple(one for one in fields if isinstance(one, int))
            if len(value) < len(key):
                return
        else:
            value = self._field(key, lookup.length)
            if lookup.mask is not None and isinstance(value, int):
                value &= lookup.mask
        if value is None:
            return
        if contents.interval:
            found = next((verdict for element, verdict in contents.elements if _element_holds(element, value)), None)
        else:
            # Maps are sorted by their keys.
            place = bisect_left(contents.elements, value, key=itemgetter(0))
            there = place < len(contents.elements) and contents.elements[place][0] == value
            found = contents.elements[place][1] if there else None
        if found is not None:
            yield _as_step(found)

    def _field(self, key: Key, length: int | None) -> Element | None:
        """A part of the packet, as far as its first bits count."""
        value = self._value(key)
        if length is None or not isinstance(value, int):
            return value
        return value & self._mask(key, length)

    def _mask(self, key: Key, length: int) -> int:
        """The mask of the first bits of a port or an address."""
        if key in _PORTS:
            return (1 << _PORT_BITS) - (1 << _PORT_BITS - length)
        return mask_of(ip_version(self.table.family), length)

    def _holds(self, match: Match) -> bool:
        """True if a test holds; a rule that cannot load what it tests does not match, negated or not."""
        if match.key is Key.CT_ID:
            noted = isinstance(match.value, SetRef) and match.value.name in self.noted
            return self._has_connection and noted is not match.negated
        value = self._value(match.key)
        if value is None:
            return False
        return self._equal(match, value) is not match.negated

    def _equal(self, match: Match, value: Element) -> bool:
        match match.value:
            case SetRef(name, length):
                if length is not None:
                    value = _first_bits(value, self._mask(match.key, length))
                self.lookups += 1
                return self._in_set(name, value)
            case Beginning(beginning):
                return isinstance(value, str) and value.startswith(beginning)
            case Below(limit):
                return isinstance(value, int) and value < limit
            case Cidr() as cidr:
                return isinstance(value, int) and cidr.contains(value)
            case PortRange(first, last):
                return isinstance(value, int) and first <= value <= last
            case str() as text if match.key is Key.CT_STATE:
                return value in text.split(",")
            case wanted:
                return value == wanted

    @property
    def _has_connection(self) -> bool:
        return self.tracked and self.packet.state not in _WITHOUT_CONNECTION

    def _in_set(self, name: str, value: Element) -> bool:
        contents = next(item for item in self.table.sets if item.name == name)
        if contents.dynamic is not None and contents.dynamic.external:
            # Nothing that is simulated is in it, unless a test says so.
            return value in contents.elements
        if contents.dynamic is not None:
            return contents.type is not ElementType.IFINDEX
        if contents.interval:
            return any(_element_holds(element, value) for element in contents.elements)
        if name not in self._elements:
            self._elements[name] = frozenset(contents.elements)
        return value in self._elements[name]

    def _value(self, key: Key) -> Element | None:
        """The value of a key: of the connection or of the walk, otherwise of the packet as it is here."""
        packet = self.here or self.packet
        original = self.packet.untranslated
        match key:
            case Key.ORIGINAL_DADDR if self._has_connection:
                return original.destination
            case Key.ORIGINAL_DPORT if self._has_connection:
                return original.destination_port if packet.has_ports else None
            case Key.ORIGINAL_SOCKET if self._has_connection:
                return socket(original.destination, packet.protocol, original.destination_port)
            case Key.DADDR_TYPE if self.readdressed:
                return "local" if self.packet.original is not None and self.packet.original.own else "unicast"
            case Key.CT_STATE if self.state_known:
                return packet.state.value if self.tracked else ConntrackState.UNTRACKED.value
            case Key.SCRATCH:
                return self.mark >> SCRATCH_SHIFT
            case Key.CT_STATUS if self.tracked and packet.original is not None:
                return "dnat"
            case _:
                return field_of(packet, key)


def _first_bits(value: Element, mask: int) -> Element:
    """A value as far as the bits of a mask go, an address behind the name of an interface too."""
    match value:
        case int():
            return value & mask
        case (str() as interface, int() as address):
            return interface, address & mask
        case _:
            return value


def _element_holds(element: Element, value: Element) -> bool:
    if isinstance(element, PortRange):
        return isinstance(value, int) and element.first <= value <= element.last
    return element == value


def _as_step(verdict: Verdict) -> Fate | Return | Goto | Jump:
    match verdict:
        case Accept():
            return Fate.ACCEPT
        case Drop():
            return Fate.DROP
        case _:
            return verdict
