"""The limits of the log: no flood may hide anything but itself.

What is over a limit leaves before the log rule, counted. What decides, in this order:

* **The first packet of its kind.** A pair of an address and a port that had nothing denied for a minute, for the same
  reason, is logged without regard to its address. How many such pairs are remembered, and how many first packets are
  logged, is limited for each direction and reason apart.
* **The limit of its own address**: of the source in ingress and in the egress of workloads, of the destination and port
  in egress of the host itself. A set that is full takes no more addresses and would let every packet through, so those
  without room share the limit of one.
* **The limit of all repeats**, for each direction and reason apart.

Of what the host itself sends each user has half of either limit for all, so that no user can hide the others.

A source of IPv6 is a /64, of which its owner has as many addresses as it likes. In the networks of the host itself each
address is a host of its own, and these have room of their own, so that a neighbour takes none from those farther away,
nor those from a neighbour. The host's own networks are the /24 (IPv6: the /64) around each address of the host at which
anything was denied for a day: what is forwarded does not say which addresses the host has.

A shared limit is a dynamic set with one element, the prefix of no bits, so that there is one mechanism for all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from hostfw.compile.table_builder import TableBuilder
from hostfw.model.settings import Logging
from hostfw.model.values import ICMP, ICMPV6, Direction, Family
from hostfw.nft.objects import Dynamic, ElementType
from hostfw.nft.rules import CounterRef, Goto, Key, Match, OverLimit, Remember, Rule, SetRef, Verdict

LOG_RECORDS = "log/records"
"""The counter of the log records that were made, whoever reads them."""
SUPPRESSED = tuple(f"log/suppressed/{limit}" for limit in ("source", "destination", "user", "no-room", "shared"))
"""The counters of the packets that were not logged, by the limit that they were beyond."""
_BY_SOURCE, _BY_DESTINATION, _BY_USER, _BY_NO_ROOM, _BY_SHARED = map(CounterRef, SUPPRESSED)

LOG_SOURCES = 16_384
"""Most addresses with a limit of their own, in each direction and family: some 4 MB of the kernel's memory."""
LOG_FIRSTS = {Direction.INGRESS: 65_536, Direction.EGRESS: 16_384}
"""Most pairs of address and port that are known to have been logged, for each reason: some 7 MB."""
_NETWORKS = 1024
_TIMEOUT_S = 60
"""Time that an entry is kept after the last packet: longer than a client waits before it tries again."""
_LONGEST_TIMEOUT_S = 3600
_NETWORK_TIMEOUT_S = 86_400
_NETWORK_BITS = {Family.V4: 24, Family.V6: 64}
_SOURCE_BITS = {Family.V4: 32, Family.V6: 64}
"""The prefix length by which sources beyond the host's own networks are told apart."""
_NO_BITS = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """Records that have limits of their own: a direction, and the reason of denials, or what else is logged.

    `by_source` is of egress that others than the host send.
    """

    direction: Direction
    what: str
    by_source: bool = False

    def __str__(self) -> str:
        return f"{self.direction.short}.{self.what}{'.guests' if self.by_source else ''}"

    @property
    def has_many_sources(self) -> bool:
        """True if it is the source that has a limit of its own, and not the destination."""
        return self.by_source or self.direction is Direction.INGRESS


def deny_limits(builder: TableBuilder, logging: Logging, kind: Kind, end: Verdict) -> str:
    """The chain that denials of a kind jump to: it ends those that are over a limit, and comes back with the others."""
    return builder.once((kind, end), lambda: _Limits(builder, logging, kind, end).chain())


def log_limits(builder: TableBuilder, logging: Logging, kind: Kind, end: Verdict) -> tuple[Rule, ...]:
    """The rules behind which only what is within the limits comes: those of addresses and the shared one, no more."""
    return tuple(_Limits(builder, logging, kind, end).inline())


@dataclass(frozen=True, slots=True)
class _Limits:
    builder: TableBuilder
    logging: Logging
    kind: Kind
    end: Verdict

    def chain(self) -> str:
        if not self._has_many_sources:
            return self.builder.chain(f"log/limits/{self.kind}", self._of_firsts("", self._bits))
        near = self.builder.chain(f"log/limits/{self.kind}.near", self._of_firsts(".near", self._bits))
        far = self._of_firsts("", _SOURCE_BITS[self.builder.family])
        learned, is_near = self._neighbours()
        return self.builder.chain(f"log/limits/{self.kind}", (learned, Rule((is_near,), (Goto(near),)), *far))

    def inline(self) -> Iterator[Rule]:
        if not self._has_many_sources:
            yield from self._of_addresses("", self._bits)
        else:
            learned, is_near = self._neighbours()
            is_far = Match(is_near.key, is_near.value, negated=True)
            yield learned
            yield from self._of_addresses(".near", self._bits, (is_near,))
            yield from self._of_addresses("", _SOURCE_BITS[self.builder.family], (is_far,))
        yield from self._of_repeats("")

    @property
    def _has_many_sources(self) -> bool:
        return self.kind.has_many_sources

    @property
    def _bits(self) -> int:
        return self.builder.family.bits

    def _neighbours(self) -> tuple[Rule, Match]:
        """The rule that learns what the host's own networks are, and the test for being in one of them."""
        bits = _NETWORK_BITS[self.builder.family]
        networks = self._set("networks", ElementType.ADDRESS, _NETWORKS, _NETWORK_TIMEOUT_S)
        # To ask the routes costs two to five times what a lookup does, so what is known is not asked again for a day.
        is_new = Match(Key.DADDR, SetRef(networks, bits), negated=True)
        is_ours = Match(Key.DADDR_TYPE, "local")
        learned = Rule((is_new, is_ours), (Remember(networks, Key.DADDR, bits),))
        return learned, Match(Key.SADDR, SetRef(networks, bits))

    def _of_firsts(self, place: str, bits: int) -> Iterator[Rule]:
        """First packets go one way, and what is known another, or has no room or no ports."""
        # Who was logged has room from then on, before others who come to take all of it.
        room = (Rule(tests, (over,)) for tests, over in self._own(place, bits))
        first = Goto(self.builder.chain(f"log/first/{self.kind}{place}", (self._of_all("first", place), *room)))
        repeat = Goto(
            self.builder.chain(
                f"log/repeat/{self.kind}{place}", (*self._of_addresses(place, bits), *self._of_repeats(place))
            )
        )
        size = LOG_FIRSTS[Direction.INGRESS if self._has_many_sources else Direction.EGRESS]
        seen = self._set(f"seen/{self.kind}{place}", ElementType.SOCKET, size, _TIMEOUT_S)
        pairs = [(tests, Remember(seen, key, bits)) for tests, key in self._pairs()]
        for tests, remember in pairs:
            yield Rule((*tests, Match(remember.key, SetRef(seen, bits))), (remember, repeat))
        if not self._has_many_sources:
            yield self._of_users("first")
        for tests, remember in pairs:
            yield Rule(tests, (remember, first))
        yield Rule((), (repeat,))

    def _pairs(self) -> Iterator[tuple[tuple[Match, ...], Key]]:
        """The pairs of address and port by protocol; for ICMP, type and code take the place of the port."""
        icmp = (ICMP if self.builder.family is Family.V4 else ICMPV6).number
        others = Match(Key.PROTOCOL, icmp, negated=True)
        if self._has_many_sources:
            yield (Match(Key.PROTOCOL, icmp),), Key.SOURCE_SOCKET
            yield (others,), Key.SOURCE_TO_PORT
        else:
            yield (Match(Key.PROTOCOL, icmp),), Key.DESTINATION_FROM_PORT
            yield (others,), Key.DESTINATION_SOCKET

    def _of_users(self, name: str) -> Rule:
        """The limit of a local user: half of what all have. What is forwarded has no user."""
        rate, burst = _half(self.logging.shared_rate_per_second), _half(self.logging.shared_burst_packets)
        rate, burst = _half(rate), _half(burst)
        timeout_s = _remembered_s(rate, burst)
        users = self._set(f"user/{name}.{rate}-{burst}", ElementType.USER, LOG_SOURCES, timeout_s)
        return Rule((), (OverLimit(users, Key.USER, None, rate, burst), _BY_USER, self.end))

    def _of_addresses(self, place: str, bits: int, tests: tuple[Match, ...] = ()) -> Iterator[Rule]:
        """The limit of an address, and that of those which have no room for one."""
        counter = _BY_SOURCE if self._has_many_sources else _BY_DESTINATION
        for of_protocol, over in self._own(place, bits):
            yield Rule((*tests, *of_protocol), (over, counter, self.end))
            without = Match(over.key, SetRef(over.set, bits), negated=True)
            rate, burst = over.rate, over.burst_packets
            no_room = self._set(f"no-room/{self.kind}{place}.{rate}-{burst}", ElementType.ADDRESS, 1)
            over_without = OverLimit(no_room, Key.SADDR, _NO_BITS, rate, burst)
            yield Rule((*tests, *of_protocol, without), (over_without, _BY_NO_ROOM, self.end))

    def _own(self, place: str, bits: int) -> Iterator[tuple[tuple[Match, ...], OverLimit]]:
        """The limit of a source, or of a destination and port, by protocol."""
        rate, burst = self.logging.rate_per_second, self.logging.burst_packets
        if self._has_many_sources:
            keys: Iterable[tuple[tuple[Match, ...], Key]] = [((), Key.SADDR)]
            name, element_type = f"source{place}", ElementType.ADDRESS
        else:
            keys, name, element_type = self._pairs(), "destination", ElementType.SOCKET
        own = self._set(f"{name}.{rate}-{burst}", element_type, LOG_SOURCES, _remembered_s(rate, burst))
        for of_protocol, key in keys:
            yield of_protocol, OverLimit(own, key, bits, rate, burst)

    def _of_repeats(self, place: str) -> Iterator[Rule]:
        if not self._has_many_sources:
            yield self._of_users("repeat")
        yield self._of_all("repeat", place)

    def _of_all(self, name: str, place: str) -> Rule:
        """The limit of all first packets of a kind, or of all others: half each of what is shared."""
        rate, burst = _half(self.logging.shared_rate_per_second), _half(self.logging.shared_burst_packets)
        of_all = self._set(f"{name}/{self.kind}{place}.{rate}-{burst}", ElementType.ADDRESS, 1)
        return Rule((), (OverLimit(of_all, Key.SADDR, _NO_BITS, rate, burst), _BY_SHARED, self.end))

    def _set(self, purpose: str, element_type: ElementType, size: int, timeout_s: int | None = None) -> str:
        """A dynamic set. An element keeps the limit that it was made with, so the name says all of what it is."""
        room = "" if timeout_s is None else f".{size}-{timeout_s}s"
        return self.builder.dynamic_set(f"log/{purpose}{room}", element_type, Dynamic(size, timeout_s))


def _half(number: int) -> int:
    return max(number // 2, 1)


@lru_cache(maxsize=32)
def _remembered_s(rate: int, burst: int) -> int:
    """For how long to remember who has a limit: who was forgotten begins anew with a whole burst."""
    return min(max(_TIMEOUT_S, -(-burst // rate)), _LONGEST_TIMEOUT_S)
