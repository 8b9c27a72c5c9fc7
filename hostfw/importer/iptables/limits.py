"""The modules of iptables that count by source: recent, hashlimit and connlimit (iptables-extensions(8))."""

import re
from collections.abc import Callable, Mapping

from hostfw.importer.rule_set import Bound
from hostfw.model.kinds.source_limit import MOST_CONNECTIONS, Rate, SourceLimit, Unit
from hostfw.model.values import Family

_RATE = re.compile(r"(?P<count>[0-9]{1,5})(?:/(?P<unit>[a-z]+))?\Z")
_UNITS = ("second", "minute", "hour")
_DEFAULT_BURST = 5
_FLAGS = frozenset({"--set", "--rcheck", "--update", "--remove", "--reap", "--rttl", "--rsource", "--rdest"})
_VALUES = frozenset({"--seconds", "--hitcount", "--name", "--mask"})


class UnsaidLimitError(Exception):
    """Options that count what no policy counts."""


def bound_of(module: str, words: list[str], place: int, family: Family) -> tuple[Bound | None, int]:
    """The options of a module from a place on, and the place behind them.

    None for what matches always. Raises UnsaidLimitError.
    """
    given: dict[str, str] = {}
    negated = False
    while place < len(words):
        word = words[place]
        if word == "!" and place + 1 < len(words) and _is_of(module, words[place + 1]):
            negated = True
        elif not _is_of(module, word):
            break
        elif word in _FLAGS or word in ("--connlimit-saddr", "--connlimit-daddr"):
            given[word] = ""
        else:
            place += 1
            given[word] = words[place] if place < len(words) else ""
        place += 1
    return _READERS[module](given, negated, family), place


def _is_of(module: str, word: str) -> bool:
    return word in _FLAGS | _VALUES if module == "recent" else word.startswith(f"--{module}-")


def _recent(given: dict[str, str], negated: bool, _: Family) -> Bound | None:  # noqa: FBT001 -- as all of them
    """`--set` matches always; what has been seen so often in so many seconds is beyond a limit.

    The packet itself is among them, as it is where `--set` stands before, or with `--update`.
    """
    if negated or "--rdest" in given or given.get("--mask", "255.255.255.255") not in _WHOLE:
        raise UnsaidLimitError
    if "--set" in given:
        # It remembers the source, and matches.
        return None
    seconds, hits = given.get("--seconds", ""), given.get("--hitcount", "")
    if not {"--rcheck", "--update"} & set(given) or "--rttl" in given:
        raise UnsaidLimitError
    if not seconds.isdecimal() or not hits.isdecimal() or not 2 <= int(hits) <= MOST_CONNECTIONS:
        raise UnsaidLimitError
    unit = next((unit for unit in Unit if int(seconds) <= unit.seconds), None)
    if unit is None:
        raise UnsaidLimitError
    was = f"{int(hits) - 1} connections in {int(seconds)} seconds (those that it denies are counted too)"
    return Bound(SourceLimit(Rate(int(hits) - 1, unit)), beyond=True, was=was)


_WHOLE = frozenset({"255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"})


def _hashlimit(given: dict[str, str], negated: bool, family: Family) -> Bound:  # noqa: FBT001
    upto, above = given.get("--hashlimit-upto", given.get("--hashlimit", "")), given.get("--hashlimit-above", "")
    found = _RATE.match(upto or above)
    by_source = given.get("--hashlimit-mode") == "srcip"
    whole = given.get("--hashlimit-srcmask", str(family.bits)) == str(family.bits)
    if negated or found is None or not by_source or not whole or (upto and above):
        raise UnsaidLimitError
    unit = next((name for name in _UNITS if name.startswith(found["unit"] or "second")), None)
    count = int(found["count"])
    burst = given.get("--hashlimit-burst", str(_DEFAULT_BURST))
    if unit is None or not 1 <= count <= MOST_CONNECTIONS or not burst.isdecimal():
        raise UnsaidLimitError
    rate = Rate(count, Unit(unit))
    return Bound(SourceLimit(rate), beyond=bool(above), was=f"{rate} packets after a burst of {int(burst)}")


def _connlimit(given: dict[str, str], negated: bool, family: Family) -> Bound:  # noqa: FBT001
    above, upto = given.get("--connlimit-above", ""), given.get("--connlimit-upto", "")
    count = above or upto
    whole = given.get("--connlimit-mask", str(family.bits)) == str(family.bits)
    if not count.isdecimal() or not 1 <= int(count) <= MOST_CONNECTIONS or not whole or "--connlimit-daddr" in given:
        raise UnsaidLimitError
    beyond = bool(above) is not negated
    return Bound(SourceLimit(max_connections=int(count)), beyond=beyond, was=f"{int(count)} connections at a time")


_READERS: Mapping[str, Callable[[dict[str, str], bool, Family], Bound | None]] = {
    "recent": _recent,
    "hashlimit": _hashlimit,
    "connlimit": _connlimit,
}
MODULES = frozenset(_READERS)
"""The modules whose options are read here."""
