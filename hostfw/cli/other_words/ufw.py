"""Words of ufw(8)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    ALLOW_LIMITED,
    DEFAULT,
    DROPS,
    EXPOSURE,
    FORWARD,
    POLICY,
    REMOVE,
    RESET,
    RULES,
    is_plain,
    quick_rule,
    systemctl,
)
from hostfw.model.values import Action

_ACTIONS = {"allow": Action.ALLOW, "limit": Action.ALLOW, "deny": Action.DENY, "reject": Action.DENY}
_UNSAID = frozenset(("log", "log-all"))
_PLACE = "; peers that are denied come before what is allowed, so no rule has a place of its own"
_SHOWN = {
    "listening": EXPOSURE,
    "added": RULES,
    "user-rules": RULES,
    "before-rules": RULES,
    "after-rules": RULES,
    "logging-rules": DROPS,
    "raw": "`hostfwctl compile` prints the nftables script",
    "builtins": "`hostfwctl compile` prints the nftables script",
}


def ufw(words: Sequence[str]) -> str:
    """The answer to a command of ufw, empty for what is none."""
    said = [word for word in words if word not in ("--force", "--dry-run")]
    told = _told(said) if said else ""
    if "--dry-run" in words and told.startswith(("`hostfwctl allow", "`hostfwctl deny", "`hostfwctl remove")):
        command, behind = told[1:].split("`", 1)
        return f"`{command} --dry-run`{behind}"
    return told


def _told(words: Sequence[str]) -> str:
    first, *rest = words
    match first:
        case "insert" if rest[:1] != ["rule"]:
            return _rule(rest[1:] if rest and rest[0].isdigit() else rest, _PLACE)
        case "prepend":
            return _rule(rest, _PLACE)
        case "delete":
            return _deleted(rest)
        case "reject" | "limit":
            return _rule(words, "")
        case "allow" | "deny" if rest:
            return _rule(words, "")
        case "route":
            return FORWARD
        case "rule":
            return _rule(rest, "") if rest and rest[0] in (*_ACTIONS, "insert") else RULES
        case "enable":
            return systemctl("enable --now")
        case "reset" if not rest:
            return RESET
        case "default":
            return DEFAULT
        case "logging":
            return f"{DROPS}; `logging` in /etc/hostfw/hostfw.yaml sets what is logged"
        case "app":
            return _application(rest)
        case "show" if rest and rest[0] in _SHOWN:
            return _SHOWN[rest[0]]
        case "status" if rest and rest[0] == "verbose":
            return "`hostfwctl status -v` says what is in force and how it came"
        case "status" if rest:
            return RULES
        case _:
            return ""


def _rule(words: Sequence[str], behind: str) -> str:
    """The quick rule for what stands behind ufw, and why it is not quite the same."""
    action = _ACTIONS.get(words[0]) if words else None
    if action is None:
        return f"`hostfwctl allow --help` says how a rule is written{behind}"
    said, reason = _without_comment(words[1:])
    said = [word for word in said if word not in _UNSAID]
    if words[0] == "limit":
        # UDP at port 22 is no failsafe port, so a limit of both would come too late for ssh.
        said = ["tcp/22" if word == "22" and "port" not in said else word for word in said]
        return f"{quick_rule(action, [*said, 'limit']) or ALLOW_LIMITED} limits each source by itself{behind}"
    known = quick_rule(action, said)
    if not known:
        return f"{POLICY}{behind}" if said else f"`hostfwctl {words[0]} --help` says how a rule is written"
    if reason and is_plain([reason]):
        known = f"{known[:-1]} --reason {reason}`"
    notice = "; denyAction: reject in hostfw.yaml has the sender notice" if words[0] == "reject" else ""
    return f"{known}{behind}{notice}"


def _without_comment(words: Sequence[str]) -> tuple[list[str], str]:
    if "comment" not in words:
        return list(words), ""
    place = list(words).index("comment")
    return [*words[:place]], " ".join(words[place + 1 : place + 2])


def _deleted(words: Sequence[str]) -> str:
    """The way to remove a rule, by its words."""
    if words and words[0] == "route":
        return REMOVE
    if words and words[0] in _ACTIONS:
        said, _ = _without_comment(words[1:])
        known = quick_rule(_ACTIONS[words[0]], [word for word in said if word not in _UNSAID], removed=True)
        if known:
            return f"{known} removes the rule"
    return f"`hostfwctl rules` shows the rules with their names; {REMOVE}" if words[:1] and words[0].isdigit() else ""


def _application(words: Sequence[str]) -> str:
    name = " ".join(words[1:2])
    shown = quick_rule(Action.ALLOW, [name], dry=True) if words[:1] == ["info"] and name else ""
    return f"{shown or '`hostfwctl allow http --dry-run`'} shows what a name of /etc/services stands for"
