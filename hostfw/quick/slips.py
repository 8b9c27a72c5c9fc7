"""Slips of the pen in the words of a quick rule, and the words that were probably meant."""

import re
from collections.abc import Sequence

from hostfw.manifest.kinds.source_limit import rate_meant
from hostfw.manifest.scalars.net_texts import given_cidr
from hostfw.model.values import Action
from hostfw.quick.requests import RequestError
from hostfw.quick.services import Lookup, is_bare_protocol, is_service
from hostfw.quick.spelling import looks_like_interface, services_meant
from hostfw.quick.words import is_length, parse_words

_BEFORE_WORD = ("from", "to", "proto", "port", "for", "limit", "on")
_SAYING_NOTHING = frozenset(("log", "log-all", "logging", "rule", "service", "permanent", "permanently"))
LIMIT = ("limit", "6/min")
"""The limit that is proposed where none was given."""
_EVERYTHING = frozenset(("all", "any", "everything", "anything"))
_OWN = frozenset(("me", "my", "myself", "my-ip", "myip", "here"))
"""Words for the address that one's own session comes from."""
_UNITS = {"second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h", "day": "d", "week": "w"}
_OTHER_NAMES = {
    "src": "from",
    "source": "from",
    "dport": "port",
    "ports": "port",
    "protocol": "proto",
    "during": "for",
    "until": "for",
    "timeout": "for",
    "iface": "on",
    "rate": "limit",
    "interface": "on",
}
_GLUED = re.compile(
    r"(?P<protocol>tcp|udp|sctp)[-_:]?(?P<ports>[0-9][-0-9,]*)\Z|(?P<first>[0-9][-0-9,]*):\Z", re.IGNORECASE
)


def words_meant(action: Action, words: Sequence[str], lookup: Lookup) -> tuple[str, ...] | None:
    """Words of a quick rule in the place of some that are none; None where nothing else can be meant."""
    found = _repaired(action, [part for word in words for part in _split(word)], lookup)
    if found == list(words):
        return None
    try:
        parse_words(action, found, lookup)
    except RequestError:
        return None
    return tuple(found)


def _split(word: str) -> list[str]:
    """The parts of `port=22`, and of `tcp22`."""
    name, equals, value = word.partition("=")
    if equals and value and (name in _BEFORE_WORD or name in _OTHER_NAMES):
        return [name, value]
    glued = _GLUED.match(word)
    if glued is None:
        return [word]
    return [f"{glued['protocol'].lower()}/{glued['ports']}" if glued["protocol"] else glued["first"]]


def _repaired(action: Action, words: list[str], lookup: Lookup) -> list[str]:
    kept: list[str] = []
    protocol = ""
    limit: Sequence[str] = ()
    out = "out" in words
    while words:
        word = _OTHER_NAMES.get(words[0], words[0])
        del words[0]
        if word == "comment":
            break
        if word == "limit" and (not words or rate_meant(words[0]) is None):
            # A number behind a service is not a port.
            number = words.pop(0) if kept and words and words[0].isdigit() else ""
            limit = ("limit", f"{number}/min") if number else LIMIT
        elif rate_meant(word) is not None:
            limit = ("limit", word)
        elif word == "proto" and words and is_bare_protocol(words[0]):
            protocol = words.pop(0)
        elif word == "for" and len(words) > 1 and words[0].isdigit() and words[1].rstrip("s") in _UNITS:
            kept += ["for", f"{words.pop(0)}{_UNITS[words.pop(0).rstrip('s')]}"]
        elif word == "here" or (word == "from" and words and words[0] in _OWN):
            kept += ["from", "here"]
            words = [one for one in words if one not in (*_OWN, "ip", "address")]
        elif word in _BEFORE_WORD and words:
            kept += [word, words.pop(0)]
        elif is_bare_protocol(word):
            protocol = word
        elif is_length(word) and not is_service(word, lookup):
            kept += ["for", word]
        elif action is Action.ALLOW and given_cidr(word) is not None:
            kept += ["to" if out else "from", word]
        elif looks_like_interface(word) and not is_service(word, lookup):
            kept += ["on", word]
        elif word not in _SAYING_NOTHING and not (word in _EVERYTHING and {"from", "to"} & {*kept, *words}):
            kept += _spelled(word, lookup) if action is Action.ALLOW else (word,)
    return [*_with_protocol(kept, protocol, lookup), *limit]


def _spelled(word: str, lookup: Lookup) -> Sequence[str]:
    """The services that a word was meant for, or the word."""
    return (word,) if word in ("in", "out") else services_meant(word, lookup) or (word,)


def _with_protocol(words: list[str], protocol: str, lookup: Lookup) -> list[str]:
    """The services of the words with the protocol that stands beside them."""
    if not protocol:
        return words
    found: list[str] = []
    joined = False
    for place, word in enumerate(words):
        behind = words[place - 1] if place else ""
        if behind == "port" or (behind not in _BEFORE_WORD and "/" not in word and is_service(word, lookup)):
            if behind == "port":
                found.pop()
            found.append(f"{protocol}/{word}")
            joined = True
        else:
            found.append(word)
    return found if joined else [protocol, *found]
