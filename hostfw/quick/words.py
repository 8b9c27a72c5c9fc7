"""The words behind `hostfwctl allow` and `deny`, in any order; ufw's long form is understood too."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hostfw.manifest.kinds.source_limit import RATE_EXPECTED, rate_meant
from hostfw.manifest.scalars.net_texts import form_hint, given_cidr
from hostfw.model.kinds.source_limit import Rate
from hostfw.model.resources import LOCAL
from hostfw.model.values import Action, Cidr, Direction, address_text
from hostfw.quick.requests import ANYBODY, Here, Local, Named, Peers, QuickRule, RequestError
from hostfw.quick.services import (
    EXPECTED,
    Lookup,
    is_bare_port,
    is_bare_protocol,
    is_service,
    parse_services,
    services_text,
)

_EVERYBODY = ("any", "anywhere", "all", "everybody")
_BOTH = (Direction.INGRESS, Direction.EGRESS)
_LABEL = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}\Z")
_SET_NAME = re.compile(rf"{_LABEL}(/{_LABEL})?\Z")
"""The name of a set, behind that of a namespace if it is in one."""
_LIKE_ADDRESS = re.compile(r"[0-9./]+\Z")
_LENGTH = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_S = 10 * 366 * 86_400
_LENGTH_EXPECTED = "a number and s, m, h, d or w, as in 30m or 4h, up to ten years"
_EXPECTED_BEHIND = {
    "for": _LENGTH_EXPECTED,
    "limit": RATE_EXPECTED,
    "on": "the name of a HostEndpoint, or all",
    "proto": EXPECTED,
    "port": EXPECTED,
}
_ONCE = ("for", "limit", "on", "proto")
_PEER_EXPECTED = "an address, a prefix, the name of a GlobalNetworkSet, NetworkSet or Feed, `here`, `local` or `any`"


@dataclass(slots=True)
class _Found:
    """The words by what they are about."""

    services: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    protocol: str = ""
    endpoint: str | None = None
    direction: Direction | None = None
    for_s: int | None = None
    limit: Rate | None = None


def parse_words(action: Action, words: Iterable[str], lookup: Lookup) -> QuickRule:
    """The rule that some words ask for.

    They are `[in|out] [WHAT...] [from|to PEER,...] [on ENDPOINT] [for TIME] [limit RATE] [proto P] [port P]`, in any
    order.
    `deny PEER` denies a peer altogether, in both directions. Raises RequestError.
    """
    found = _sorted_out(action, list(words), lookup)
    services = [*found.services, *_of_ufw(found)]
    _refuse_whole_protocol(services)
    peers = _peers(found.peers)
    if not services and not found.peers:
        raise RequestError(
            f"{_VERBS[action]} what?", EXPECTED if action is Action.ALLOW else f"{_PEER_EXPECTED}; or {EXPECTED}"
        )
    if not services and peers == ANYBODY:
        raise RequestError(
            f"{_VERBS[action]} everything, of everybody, is not a quick rule",
            "`hostfwctl lockdown` blocks all traffic except current ssh sessions"
            if action is Action.DENY
            else EXPECTED,
        )
    if not services and action is Action.DENY and found.direction is None:
        directions: tuple[Direction, ...] = _BOTH
    else:
        directions = (found.direction or Direction.INGRESS,)
    if found.limit is not None and (action is Action.DENY or directions != (Direction.INGRESS,)):
        raise RequestError("a limit is for what is allowed in", "allow ssh limit 6/minute")
    of = parse_services(services, lookup)
    return QuickRule(action, directions, of, peers, found.endpoint, found.for_s, found.limit)


def is_length(word: str) -> bool:
    """True for a word that looks like a length of time."""
    return _LENGTH.fullmatch(word) is not None


def length_s(word: str) -> int:
    """The seconds of a length of time such as `30m`, `4h` or `7d`. Raises RequestError."""
    found = _LENGTH.fullmatch(word)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found is not None else 0
    if not 0 < seconds <= _LONGEST_S:
        raise RequestError(f'"{word}" is no length of time', _LENGTH_EXPECTED)
    return seconds


def _rate(word: str) -> Rate:
    """The rate of `6/minute` or `6/min`. Raises RequestError."""
    found = rate_meant(word)
    if found is None:
        raise RequestError(f'"{word}" is no limit', RATE_EXPECTED)
    return found


def rule_words(rule: QuickRule) -> str:
    """The rule in the words that give it again, without the name of the program."""
    is_out = rule.directions == (Direction.EGRESS,)
    is_in_alone = not rule.services and rule.action is Action.DENY and rule.directions == (Direction.INGRESS,)
    bare = rule.directions == _BOTH
    way = ["out"] if is_out else (["in"] if is_in_alone else [])
    peers = peers_text(rule.peers)
    towards = [] if rule.peers == ANYBODY else ([peers] if bare else ["to" if is_out else "from", peers])
    on = ["on", rule.endpoint] if rule.endpoint is not None else []
    limit = [] if rule.limit is None else ["limit", str(rule.limit)]
    return " ".join([_VERBS[rule.action], *way, *filter(None, [services_text(rule.services)]), *towards, *on, *limit])


def peers_text(peers: Peers) -> str:
    """The other side in words."""
    match peers:
        case Here():
            return "here"
        case Local():
            return LOCAL
        case Named(name):
            return name
        case _:
            return ",".join(_cidr_text(cidr) for cidr in peers) or "any"


_VERBS = {Action.ALLOW: "allow", Action.DENY: "deny"}


def _sorted_out(action: Action, words: list[str], lookup: Lookup) -> _Found:
    found = _Found()
    takes: dict[str, Callable[[str], None]] = {
        "from": lambda word: found.peers.extend(word.split(",")),
        "to": lambda word: _add_target(found, word),
        "proto": lambda word: setattr(found, "protocol", word),
        "port": found.ports.append,
        "for": lambda word: setattr(found, "for_s", length_s(word)),
        "limit": lambda word: setattr(found, "limit", _rate(word)),
        "on": lambda word: setattr(found, "endpoint", None if word == "all" else word),
    }
    said: set[str] = set()
    while words:
        word = words.pop(0)
        if word in ("in", "out"):
            if said & {"in", "out"} - {word}:
                raise RequestError("in and out are two rules", "write one for each direction")
            said.add(word)
            found.direction = Direction.INGRESS if word == "in" else Direction.EGRESS
        elif word in takes:
            if word in said and word in _ONCE:
                raise RequestError(f'"{word}" is said twice', "a rule has one; write another rule for the other")
            said.add(word)
            if not words:
                raise RequestError(f"{word} what?", _EXPECTED_BEHIND.get(word, _PEER_EXPECTED))
            takes[word](words.pop(0))
        elif word == "until":
            raise RequestError("a rule says how long it holds, not until when", f"for 4h: {_LENGTH_EXPECTED}")
        elif action is Action.DENY and _is_peer(word, lookup):
            found.peers.extend(word.split(","))
        else:
            found.services.append(word)
    return found


def _refuse_whole_protocol(services: list[str]) -> None:
    """Refuse `tcp 22`: it would be all ports of TCP, where one is meant. Raises RequestError."""
    whole = [word for word in services if is_bare_protocol(word)]
    ports = [word for word in services if is_bare_port(word)]
    if whole and ports:
        raise RequestError(
            f'"{whole[0]}" alone is all ports of it, and "{ports[0]}" a port of every protocol',
            f"{whole[0]}/{ports[0]}",
        )


def _add_target(found: _Found, word: str) -> None:
    """Take a word behind `to`: where packets go out to, or ufw's `to any`, which says nothing."""
    if found.direction is Direction.EGRESS:
        found.peers.extend(word.split(","))
    elif word not in _EVERYBODY:
        raise RequestError(
            f"to {word}: a quick rule lets packets in to this host, whatever its address",
            "a GlobalNetworkPolicy names addresses of this host: `hostfwctl apply --add -f FILE`; what goes out has "
            "`out` before it: out tcp/443 to 192.0.2.0/24",
        )


def _of_ufw(found: _Found) -> list[str]:
    """The services of `port 22 proto tcp`."""
    if not found.ports:
        return [found.protocol] if found.protocol else []
    return [f"{port}/{found.protocol}" if found.protocol else port for port in found.ports]


def _is_peer(word: str, lookup: Lookup) -> bool:
    if is_length(word):
        # A set of this name is named behind `from`.
        return False
    if all(given_cidr(part) is not None or form_hint(part) for part in word.split(",")):
        return True
    return word in ("here", LOCAL) or (_NAME.match(word) is not None and not is_service(word, lookup))


def _peers(words: list[str]) -> Peers:
    if words and all(word in _EVERYBODY for word in words):
        return ANYBODY
    if words == ["here"]:
        return Here()
    if words == [LOCAL]:
        return Local()
    cidrs = [(word, given_cidr(word)) for word in words]
    wrong = [word for word, cidr in cidrs if cidr is None]
    named = len(words) == 1 and wrong and _SET_NAME.match(wrong[0]) and not _LIKE_ADDRESS.match(wrong[0])
    if named and not form_hint(wrong[0]):
        return Named(wrong[0])
    if wrong:
        raise RequestError(f'"{wrong[0]}" is neither an address nor a prefix', form_hint(wrong[0]) or _PEER_EXPECTED)
    found = tuple(sorted({cidr for _, cidr in cidrs if cidr is not None}))
    return ANYBODY if found and all(cidr.length == 0 for cidr in found) and len(found) == 2 else found


def _cidr_text(cidr: Cidr) -> str:
    return address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
