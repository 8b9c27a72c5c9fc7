"""The limits of rules for each source: a dynamic set for each, in which every source has a limit of its own.

A set that is full takes no more sources and would let every packet through, so those without room share the limit of
one. The kernel forgets a source once its limit is whole again, or its last connection has ended, and no source is
forgotten for others. A set is named after its rule, what the rule says and all that the set is, so it lives on for as
long as the rule does.
"""

from collections.abc import Callable, Iterator

from hostfw.compile.program import Limited
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.kinds.source_limit import SOURCE_BITS
from hostfw.nft.objects import SOURCE_LIMITS, Dynamic, ElementType
from hostfw.nft.rules import Key, Match, OverCount, OverLimit, Rule, SetRef, Statement

MOST_SOURCES = 65_536
"""Most sources of a rule that have a limit of their own, in each IP version: some 16 MB of the kernel's memory."""
_LEAST_TIMEOUT_S = 60
_NO_BITS = 0
_Over = Callable[[str, int], OverLimit | OverCount]
"""The test of what is beyond a limit, by the set that holds it and the bits of an address that are one source."""


def limited_chain(
    builder: TableBuilder,
    limited: Limited,
    within: tuple[Statement, ...],
    beyond: tuple[Statement, ...],
    without_room: tuple[Statement, ...],
) -> str:
    """The chain that what a rule with a limit matches goes on to; each of the statements ends it.

    Connections at a time come first: what they deny takes nothing of the rate.
    """
    rules: list[Rule] = []
    for kind, dynamic, over in _limits(limited):
        rules += _rules(builder, f"{SOURCE_LIMITS}{limited.counter}{kind}", dynamic, over, beyond, without_room)
    return builder.chain("limit", (*rules, Rule((), within)))


def _limits(limited: Limited) -> Iterator[tuple[str, Dynamic, _Over]]:
    """Each limit of a rule: the end of its set's name, the set, and what is beyond it."""
    rate, most = limited.limit.new_connections, limited.limit.max_connections
    if most is not None:
        # The kernel takes out a source of which it counts no connection (nft_connlimit): no timeout could know.
        yield "/connections", Dynamic(MOST_SOURCES), lambda name, bits: OverCount(name, Key.SADDR, bits, most)
    if rate is not None:
        dynamic = Dynamic(MOST_SOURCES, max(rate.per.seconds, _LEAST_TIMEOUT_S))
        yield "", dynamic, lambda name, bits: OverLimit(name, Key.SADDR, bits, rate.count, rate.count, rate.per)


def _rules(
    builder: TableBuilder,
    name: str,
    dynamic: Dynamic,
    over: _Over,
    beyond: tuple[Statement, ...],
    without_room: tuple[Statement, ...],
) -> Iterator[Rule]:
    """Deny what is beyond one limit, of a source of its own or of all that no room is left for."""
    bits = SOURCE_BITS[builder.family]
    room = f".{dynamic.size}" if dynamic.timeout_s is None else f".{dynamic.size}-{dynamic.timeout_s}s"
    own = builder.dynamic_set(f"{name}{room}", ElementType.ADDRESS, dynamic)
    shared = builder.dynamic_set(f"{name}/shared", ElementType.ADDRESS, Dynamic(1))
    yield Rule((), (over(own, bits), *beyond))
    yield Rule((Match(Key.SADDR, SetRef(own, bits), negated=True),), (over(shared, _NO_BITS), *without_room))
