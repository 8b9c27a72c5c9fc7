"""The reverse path filter: a new packet is denied if no route leads back to its source.

Loopback, neighbour discovery and failsafe ports are exempt: a host without an address has no route yet, and a way in
has to stay whatever the routes say.
"""

from collections.abc import Callable, Iterable, Iterator

from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.settings import ReversePathFilter, Settings
from hostfw.model.values import Family
from hostfw.nft.rules import Key, Match, Return, Rule, Verdict


def reverse_path(
    settings: Settings, family: Family, neighbours: Iterable[Rule], deny: Callable[[], Verdict]
) -> list[Rule]:
    """The rules of the filter, none without the setting; `neighbours` are those for neighbour discovery."""
    wanted = settings.reverse_path_filter
    if wanted is ReversePathFilter.DISABLED:
        return []
    exempt = ((Match(Key.IIFNAME, LOOPBACK),), *(rule.matches for rule in neighbours), *_failsafes(settings, family))
    lacks = Match(Key.ROUTE_BACK_BY_IIF if wanted is ReversePathFilter.STRICT else Key.ROUTE_BACK, "missing")
    return [*(Rule(matches, (Return(),)) for matches in exempt), Rule((lacks,), (deny(),))]


def _failsafes(settings: Settings, family: Family) -> Iterator[tuple[Match, ...]]:
    for port in settings.failsafe.inbound:
        if port.net is None or port.net.family is family:
            of_net = () if port.net is None or port.net.length == 0 else (Match(Key.SADDR, port.net),)
            yield Match(Key.PROTOCOL, port.protocol.number), Match(Key.DPORT, port.port), *of_net
