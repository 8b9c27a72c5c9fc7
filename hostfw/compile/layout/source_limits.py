"""The limits of rules for each source: a dynamic set for each, in which every source has a limit of its own.

A set that is full takes no more sources and would let every packet through, so those without room share the limit of
one. The kernel forgets a source once its limit is whole again, and no source is forgotten for others. The set is named
after its rule, what the rule says and all that the set is, so it lives on for as long as the rule does.
"""

from hostfw.compile.program import Limited
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.kinds.source_limit import SOURCE_BITS, Rate
from hostfw.nft.objects import SOURCE_LIMITS, Dynamic, ElementType
from hostfw.nft.rules import Key, Match, OverLimit, Rule, SetRef, Statement

MOST_SOURCES = 65_536
"""Most sources of a rule that have a limit of their own, in each IP version: some 16 MB of the kernel's memory."""
_LEAST_TIMEOUT_S = 60
_NO_BITS = 0


def limited_chain(
    builder: TableBuilder,
    limited: Limited,
    within: tuple[Statement, ...],
    beyond: tuple[Statement, ...],
    without_room: tuple[Statement, ...],
) -> str:
    """The chain that what a rule with a limit matches goes on to; each of the statements ends it."""
    rate, bits = limited.limit.new_connections, SOURCE_BITS[builder.family]
    own = _set(builder, limited, "", Dynamic(MOST_SOURCES, max(rate.per.seconds, _LEAST_TIMEOUT_S)))
    shared = _set(builder, limited, "/shared", Dynamic(1, None))
    has_none = Match(Key.SADDR, SetRef(own, bits), negated=True)
    return builder.chain(
        "limit",
        (
            Rule((), (_over(own, bits, rate), *beyond)),
            Rule((has_none,), (_over(shared, _NO_BITS, rate), *without_room)),
            Rule((), within),
        ),
    )


def _set(builder: TableBuilder, limited: Limited, what: str, dynamic: Dynamic) -> str:
    room = "" if dynamic.timeout_s is None else f".{dynamic.size}-{dynamic.timeout_s}s"
    return builder.dynamic_set(f"{SOURCE_LIMITS}{limited.counter}{what}{room}", ElementType.ADDRESS, dynamic)


def _over(name: str, bits: int, rate: Rate) -> OverLimit:
    return OverLimit(name, Key.SADDR, bits, rate.count, rate.count, rate.per)
