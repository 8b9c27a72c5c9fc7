"""Rich rules of firewalld (firewalld.richlanguage(5)) as words of a quick rule."""

import re

from hostfw.model.values import Action

_PART = re.compile(r"""([a-z-]+)(?:=(?:"([^"]*)"|'([^']*)'|(\S+)))?""")
_ACTIONS = {"accept": Action.ALLOW, "drop": Action.DENY, "reject": Action.DENY}
_ELEMENTS = frozenset(("source", "service", "port", "protocol", "icmp-type"))
_ATTRIBUTES = frozenset(("family", "address", "ipset", "name", "port", "protocol", "value", "type"))
_ANYBODY = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}
_UNSAID = frozenset(("rule", "audit"))


def rich_rule(text: str) -> tuple[Action, list[str]] | None:
    """The action and the words of a rich rule, None where a quick rule would mean other packets."""
    parts = [(found[1], found[2] or found[3] or found[4]) for found in _PART.finditer(text)]
    if _PART.sub("", text).strip() or not parts or parts[0] != ("rule", None):
        return None
    action: Action | None = None
    element, given = "", dict[tuple[str, str], str]()
    for name, value in parts:
        if value is None and name in _ACTIONS:
            action, element = _ACTIONS[name], name
        elif value is None and name in _ELEMENTS:
            element = name
        elif value is not None and name in _ATTRIBUTES:
            given[element, name] = value
        elif name not in _UNSAID:
            return None
    words = _words(given)
    if action is None or words is None:
        return None
    return action, words if len(words) != 2 or action is Action.ALLOW else ["in", *words]


def _words(given: dict[tuple[str, str], str]) -> list[str] | None:
    service = given.get(("service", "name"), "")
    port, protocol = given.get(("port", "port"), ""), given.get(("port", "protocol"), "")
    icmp = given.get(("icmp-type", "name"), "")
    if icmp not in ("", "echo-request") or bool(port) != bool(protocol):
        return None
    named = given.get(("protocol", "value"), "")
    said = [word for word in (service, f"{port}/{protocol}" if port else "", named, "ping" if icmp else "") if word]
    peer = given.get(("source", "address")) or given.get(("source", "ipset"))
    if len(said) > 1:
        return None
    if said and not peer:
        peer = _ANYBODY.get(given.get(("", "family"), ""))
    return [*said, *(["from", peer] if peer else [])]
