"""Words behind `hostfwctl set` that it does not take."""

from collections.abc import Sequence

from hostfw.cli.other_words.bans import fail2ban
from hostfw.cli.other_words.hints import is_address, is_plain

_PUT_IN = frozenset(("add", "ban", "insert", "put", "append", "banip", "create-entry", "addip"))
_TAKEN_OUT = frozenset(("del", "delete", "remove", "rm", "unban", "unbanip", "drop", "pop", "delip"))
_SHOWN = frozenset(("list", "show", "ls", "get", "test", "members", "entries", "print", "check", "contains"))
_MADE = "a Feed with `external: true` in /etc/hostfw makes such a set: `hostfwctl set list` shows those in force"
_EMPTIED = "`hostfwctl set list {0}` shows the members, `hostfwctl set del {0} ADDRESS...` takes them out"


def of_a_set(words: Sequence[str]) -> str:
    """The command about a set that was meant by some words, empty where that is not known."""
    verb, *rest = words
    known = _about(verb, rest)
    if known or len(words) == 1:
        return known
    name, act, *others = words
    # `set bans add 192.0.2.7`; a jail of fail2ban has no set of its own.
    jail = fail2ban(["set", *words])
    return jail or _about(act, [name, *others])


def _about(verb: str, rest: Sequence[str]) -> str:
    name = rest[0] if rest and is_plain(rest[:1]) and not is_address(rest[0]) else "NAME"
    if verb in _SHOWN:
        return f"`hostfwctl set list {name}`" if rest else "`hostfwctl set list`"
    if verb in _PUT_IN or verb in _TAKEN_OUT:
        act = "add" if verb in _PUT_IN else "del"
        members = [word for word in rest if is_plain([word]) and is_address(word)]
        time = (
            f" for {rest[-1]}" if act == "add" and len(rest) > 1 and rest[-2] == "for" and is_plain(rest[-1:]) else ""
        )
        return f"`hostfwctl set {act} {name} {' '.join(members) or 'ADDRESS'}{time}`"
    if verb in ("flush", "clear", "empty", "purge"):
        return _EMPTIED.format(name)
    if verb in ("create", "new", "destroy", "make", "rename", "swap"):
        return _MADE
    return ""
