"""Words that come to mind, whichever program they are from."""

import re
from collections.abc import Sequence

from hostfw.cli.other_words.control_panels import asked_of
from hostfw.cli.other_words.hints import (
    ALLOW_LIMITED,
    COUNTERS,
    DEFAULT,
    DROPS,
    EDIT,
    EXPLAIN,
    EXPOSURE,
    FOLLOW,
    HELP,
    INTERFACES,
    LOCKDOWN,
    NAT,
    REMOVE,
    RESET,
    RULES,
    SETS,
    STATUS,
    UNBLOCK,
    UNDO,
    VALIDATE,
    ZERO,
    is_address,
    is_plain,
    quick_rule,
)
from hostfw.cli.other_words.own_verbs import is_a_command
from hostfw.model.values import Action

_OPEN = (
    "open",
    "accept",
    "permit",
    "port",
    "trust",
    "whitelist",
    "allowlist",
    "unlock",
    "expose",
    "publish",
    "enable-port",
)
_BAN = ("ban", "blacklist", "blocklist", "denylist", "kill", "banip", "shun", "null-route", "nullroute")
_UNBAN = ("unban", "unblacklist", "pardon", "forgive", "unbanip", "unshun", "release")
_CLOSE = ("close", "revoke", "unpublish", "untrust", "unwhitelist", "unexpose", "shut")
_DENY = ("block", "drop", "reject", "forbid", "refuse", "prohibit", "blockip", "block-ip")
_NOT = re.compile(r"(?:un|de|dis|no|non|not|dont|do-not)-?(?P<verb>[a-z]+?)(?:ed|ied)?\Z")
_OPENING, _CLOSING = (
    ("allow", "open", "permit", "accept", "trust", "list"),
    ("den", "deny", "ban", "bann", "reject", "drop"),
)
_ASKING = frozenset(("check", "is", "search", "grep", "find", "lookup", "test", "query", "why", "trace", "whois"))
"""Words for a question about an address."""
_FIRST_PORT = 22
_FAVOURS = frozenset(("trust", "whitelist", "allowlist", "permit", "accept", "unlock"))
"""Words for letting an address in, where others are about ports."""

WORDS: dict[str, str] = {
    **dict.fromkeys(
        ("list", "ls", "show", "print", "rule", "policy", "policies", "firewall", "table", "tables"), RULES
    ),
    **dict.fromkeys(("ports", "listening", "netstat", "ss", "nmap", "scan", "who", "whois", "services"), EXPOSURE),
    **dict.fromkeys(("log", "logs", "denied", "dropped", "blocked", "rejected", "journal", "dmesg", "audit"), DROPS),
    **dict.fromkeys(("event", "alerts"), DROPS),
    **dict.fromkeys(("tail", "monitor", "watch", "tcpdump", "live"), FOLLOW),
    **dict.fromkeys(("stats", "stat", "statistics", "hits", "metrics", "usage"), COUNTERS),
    **dict.fromkeys(
        ("zones", "zone", "ifaces", "iface", "interface", "links", "ifconfig", "nics", "devices"), INTERFACES
    ),
    **dict.fromkeys(("nat", "masquerade", "forward", "dnat", "snat", "redirect", "port-forward"), NAT),
    **dict.fromkeys(("undo", "revert", "restore", "back", "previous", "abort"), UNDO),
    **dict.fromkeys(
        ("setup", "configure", "wizard", "install", "bootstrap", "quickstart", "new"),
        "`hostfwctl init` proposes a first configuration",
    ),
    **dict.fromkeys(("test", "simulate", "trace", "debug", "query", "ask", "why"), EXPLAIN),
    **dict.fromkeys(("sets", "ipsets", "addresses", "groups"), SETS),
    **dict.fromkeys(("sync", "update", "refresh", "rehash"), "`hostfwctl reload` reads the files and the Feeds again"),
    **dict.fromkeys(("rate-limit", "ratelimit", "throttle"), f"{ALLOW_LIMITED} limits each source by itself"),
    **dict.fromkeys(("purge", "clear", "clean", "flush", "wipe", "uninstall"), RESET),
    **dict.fromkeys(("remove-all", "delete-all", "rm-all"), RESET),
    **dict.fromkeys(
        ("save", "commit", "persist", "write", "make-persistent"),
        "`hostfwctl apply` accepts what it puts into force: it is there after a reboot",
    ),
    **dict.fromkeys(("lint", "verify", "check-config", "configtest", "syntax"), VALIDATE),
    **dict.fromkeys(("dry-run", "plan", "preview", "whatif"), "`hostfwctl diff` shows what would change"),
    "try": "`hostfwctl apply --confirm-within 5m` rolls the change back unless it is confirmed",
    **dict.fromkeys(("info", "state", "summary", "overview", "current", "running", "active"), STATUS),
    **dict.fromkeys(("health", "selftest", "self-test", "diagnose", "troubleshoot", "problems"), "`hostfwctl doctor`"),
    **dict.fromkeys(
        ("export", "dump", "backup"),
        "`hostfwctl compile` prints the nftables script, `hostfwctl get gnp -o yaml` the policies",
    ),
    **dict.fromkeys(("zero", "reset-counters"), ZERO),
    **dict.fromkeys(("man", "doc", "docs", "manual", "usage", "examples", "?"), HELP),
    **dict.fromkeys(
        ("ok", "yes", "accept-changes", "keep", "approve"), "`hostfwctl confirm` accepts what waits for it"
    ),
    **dict.fromkeys(("generations", "versions", "revisions", "changes", "changelog"), "`hostfwctl history`"),
    **dict.fromkeys(("whoami", "my-ip", "myip", "me"), "`hostfwctl allow ssh from here --dry-run` shows your address"),
    **dict.fromkeys(("unlockdown", "unpanic", "resume"), UNBLOCK),
    **dict.fromkeys(("emergency", "isolate", "quarantine", "lock"), LOCKDOWN),
    **dict.fromkeys(("default", "defaults", "default-policy"), DEFAULT),
    **dict.fromkeys(("files", "paths", "settings", "conf"), f"{STATUS}; the files are in /etc/hostfw"),
    "ping": "`hostfwctl allow ping` lets echo requests in",
    "docker": "`hostfwctl exposure` has published ports as well, and policy decides who reaches them",
    "calico": "`hostfwctl validate -f FILE` reads manifests of projectcalico.org/v3",
}
"""Words whose answer does not hang on what stands behind them, unless it is two words below."""
_PAIRS = {
    ("panic", "off"): UNBLOCK,
    ("panic", "on"): LOCKDOWN,
    ("panic", "mode"): LOCKDOWN,
    ("log", "off"): f"{DROPS}; `logging` in /etc/hostfw/hostfw.yaml sets what is logged",
    ("list", "sets"): SETS,
    ("list", "services"): EXPOSURE,
    ("list", "interfaces"): INTERFACES,
    ("list", "drops"): DROPS,
    ("show", "drops"): DROPS,
    ("show", "interfaces"): INTERFACES,
    ("show", "counters"): COUNTERS,
    ("show", "sets"): SETS,
    ("show", "ports"): EXPOSURE,
    ("show", "status"): STATUS,
    ("show", "log"): DROPS,
    ("show", "logs"): DROPS,
    ("show", "history"): "`hostfwctl history`",
    ("show", "config"): "`hostfwctl get gnp -o yaml` prints the policies",
}


def general(words: Sequence[str]) -> str:
    """The answer to words that no program has for itself, empty for those that nobody knows."""
    first, *rest = words
    pair = _PAIRS.get((first, rest[0])) if rest else None
    if pair is not None:
        return pair
    if first in ("panic", "killswitch"):
        return LOCKDOWN
    if first == "unlock" and not rest:
        return UNBLOCK
    if first in _OPEN:
        return _rule(Action.ALLOW, _as_peer(rest) if first in _FAVOURS else rest, "tcp/8080")
    if first in _BAN:
        return f"{_rule(Action.DENY, rest, '198.51.100.7')}; --cut ends open connections as well"
    if first in _UNBAN:
        return _rule(Action.DENY, rest, "198.51.100.7", removed=True)
    if first in _CLOSE:
        return _rule(Action.ALLOW, _as_peer(rest), "tcp/8080", removed=True) + _denied(rest)
    if first in _DENY:
        return _refused(first, rest)
    negated = _NOT.match(first)
    if negated is not None and negated["verb"] in (*_OPENING, *_CLOSING):
        action = Action.ALLOW if negated["verb"] in _OPENING else Action.DENY
        return _rule(action, rest, "tcp/8080" if action is Action.ALLOW else "198.51.100.7", removed=True)
    if first in ("delete", "del", "rm", "drop-rule", "uninstall-rule"):
        said = [word for word in rest if word not in ("rule", "port", "service")]
        if said and said[0].startswith(("allow-", "deny-")) and is_plain(said):
            return f"`hostfwctl remove {' '.join(said)}`"
        named = _rule(Action.ALLOW, said, "", removed=True) if _is_port(said) else ""
        if named:
            return named
        return f"{REMOVE}; other resources: remove them from their file in /etc/hostfw, then `hostfwctl apply`"
    if first in ("add", "append", "put"):
        return _added(rest)
    if first in _ASKING and (peer := next(filter(is_address, rest), "")):
        return asked_of(peer)
    if first in ("check", "validate-file") and rest and is_plain([rest[0].lstrip("/")]) and "." in rest[0]:
        return f"`hostfwctl validate -f {rest[0]}` finds mistakes"
    if first == "check":
        return f"{VALIDATE}, {EXPLAIN}"
    if first in ("vi", "vim", "nano", "visudo"):
        return EDIT
    return WORDS.get(first, "")


def _is_port(words: Sequence[str]) -> bool:
    """True for a port that is no place in a list: with its protocol, or from 22 on."""
    return len(words) == 1 and ("/" in words[0] or (words[0].isdigit() and int(words[0]) >= _FIRST_PORT))


def _rule(action: Action, words: Sequence[str], example: str, *, removed: bool = False) -> str:
    """The quick rule of these words, or how one is written: nothing else is ever opened or closed in its place."""
    known = quick_rule(action, words or [example], removed=removed)
    verb = "remove" if removed else action.lower()
    return known or f"`hostfwctl {verb} --help` says how a rule is written"


def _as_peer(words: Sequence[str]) -> list[str]:
    return ["from", *words] if words and is_address(words[0]) else list(words)


def _denied(words: Sequence[str]) -> str:
    known = quick_rule(Action.DENY, words or ["tcp/8080"])
    return f" removes an allow; {known} denies it to everybody" if known and not _is_peer(words) else ""


def _is_peer(words: Sequence[str]) -> bool:
    return bool(words) and is_address(words[0])


def _refused(first: str, words: Sequence[str]) -> str:
    """The answer to `block` and its likes: of an address, of a service, or of everything."""
    if words and words[0] in ("all", "everything", "any", "*"):
        return LOCKDOWN
    if first == "block" and words and words[0].startswith("-"):
        # That was its name once, with these options.
        line = f"`hostfwctl lockdown {' '.join(words)}`"
        return line if is_a_command(line) else LOCKDOWN
    if words:
        return _rule(Action.DENY, words, "")
    if first == "drop":
        return f"{DROPS}; `hostfwctl deny 198.51.100.7` denies an address"
    if first == "block":
        return f"{LOCKDOWN}; `hostfwctl deny 198.51.100.7` denies an address"
    return "`hostfwctl deny 198.51.100.7` denies an address, `hostfwctl deny tcp/25` a service"


def _added(words: Sequence[str]) -> str:
    """The answer to `add`: a rule, where it says which; an address alone could be let in or kept out."""
    rest = [word for word in words if word not in ("rule", "port", "service")]
    if rest and rest[0] in ("allow", "deny"):
        return _rule(Action(rest[0].title()), rest[1:], "tcp/8080")
    if not rest or not is_address(rest[0]):
        return _rule(Action.ALLOW, rest, "tcp/8080")
    return "`hostfwctl set add NAME ADDRESS` puts it into a set; `hostfwctl allow --help` and `deny` are about rules"
