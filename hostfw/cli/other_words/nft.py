"""Command lines of nft(8)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    ADD,
    COUNTERS,
    DROPS,
    FOLLOW,
    FORWARD,
    NAT,
    POLICIES,
    POLICY,
    REMOVE,
    RESET,
    RULES,
    SETS,
    ZERO,
    is_plain,
)
from hostfw.cli.other_words.iptables import ip6tables, iptables, iptables4

_FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
_VERDICTS = {"accept": "ACCEPT", "drop": "DROP", "reject": "REJECT"}
_IMPORT = "`hostfwctl import nft FILE` reads what `nft -j list ruleset` prints, and writes policy"
_LISTED = {
    **dict.fromkeys(("sets", "set", "maps", "map", "meters", "meter"), SETS),
    **dict.fromkeys(("counters", "counter", "quotas", "limits"), COUNTERS),
    **dict.fromkeys(("ruleset", "table", "tables", "chain", "chains", "rules", "flowtables", "hooks"), RULES),
}


def nft(words: Sequence[str]) -> str:
    """The answer to a command of nft, empty for what is none."""
    words = [word for word in " ".join(words).replace(";", " ").split() if word not in ("-a", "-n", "-nn", "-j", "-s")]
    match words:
        case ["list" | "reset" as verb, what, *rest] if what in _LISTED:
            if verb == "reset":
                return ZERO
            name = _behind_family(rest)[1:2]
            if what == "set" and name and is_plain(name) and "/" not in name[0]:
                return f"`hostfwctl set list {name[0]}` shows its members"
            return _LISTED[what]
        case ["add" | "insert" | "replace" | "create", "rule", *rest]:
            return _rule(_behind_family(rest), rest[0] if rest else "") if rest[:1] not in (["allow"], ["deny"]) else ""
        case ["delete", "rule", *_]:
            return f"`hostfwctl rules` shows the rules with their names and their files; {REMOVE}"
        case ["add" | "delete" | "create" as verb, "element", *rest]:
            return _element(verb, _behind_family(rest))
        case ["add" | "create" | "delete" | "flush" | "destroy", "set" | "map" | "element" | "sets", *_]:
            return SETS
        case ["flush", "ruleset" | "table" | "chain", *_] | ["delete" | "destroy", "table" | "chain", *_]:
            return RESET
        case ["add" | "create", "table" | "chain" | "counter" | "flowtable", *_]:
            return f"a policy stands for a chain: {POLICIES}"
        case ["rename" | "describe", *_]:
            return POLICIES
        case ["monitor", *_]:
            return FOLLOW
        case ["-c" | "--check", *_]:
            return "`hostfwctl validate -f FILE` finds mistakes, `hostfwctl diff -f FILE` shows what would change"
        case ["-f" | "--file", *_]:
            return f"{ADD}; {_IMPORT}"
        case _:
            return ""


def _behind_family(words: Sequence[str]) -> Sequence[str]:
    return words[1:] if words and words[0] in _FAMILIES else words


def _element(verb: str, words: Sequence[str]) -> str:
    name = words[1] if len(words) > 1 else ""
    members = [word.strip(",") for word in words[2:] if word not in ("{", "}")]
    members = [member.strip("{},") for member in members if member.strip("{},")]
    if not name or not is_plain([name, *members]) or not members or "timeout" in members:
        return SETS
    return f"`hostfwctl set {'del' if verb == 'delete' else 'add'} {name} {' '.join(members)}`"


def _rule(words: Sequence[str], family: str) -> str:
    """The quick rule for a rule of nft, by way of the options of iptables that say the same."""
    chain = words[1].lower() if len(words) > 1 else ""
    if any(part in chain for part in ("nat", "prerouting", "postrouting", "dstnat", "srcnat")):
        return NAT
    if "forward" in chain:
        return FORWARD
    hook = {"input": "INPUT", "output": "OUTPUT"}.get(chain)
    options = _options(list(words[2:])) if hook else None
    if options is None or hook is None:
        return DROPS if "log" in words and not set(words) & set(_VERDICTS) else f"{_IMPORT}; {POLICY}"
    told = {"ip": iptables4, "ip6": ip6tables}.get(family, iptables)(["-A", hook, *options])
    return told if told and "iptables-save" not in told else f"{_IMPORT}; {POLICY}"


def _options(rest: list[str]) -> list[str] | None:
    """The options of iptables that say what a rule of nft says; None where there are none."""
    options: list[str] = []
    while rest:
        word = rest.pop(0)
        match [word, *rest[:2]]:
            case ["tcp" | "udp" | "sctp" as protocol, "dport" | "sport" as end, _]:
                del rest[0]
                options += ["-p", protocol, f"--{end}", _value(rest)]
            case ["ip" | "ip6", "saddr" | "daddr" as end, _]:
                del rest[0]
                options += ["-s" if end == "saddr" else "-d", _value(rest)]
            case ["iif" | "iifname", *_]:
                options += ["-i", _value(rest).strip('"')]
            case ["oif" | "oifname", *_]:
                options += ["-o", _value(rest).strip('"')]
            case ["ct", "state", _]:
                del rest[0]
                options += ["--ctstate", _value(rest).upper()]
            case ["icmp" | "icmpv6", "type", _]:
                del rest[0]
                # One IP version alone is no ping in both.
                return None
            case ["meta", "l4proto", _] | ["ip", "protocol", _]:
                del rest[0]
                options += ["-p", _value(rest)]
            case ["accept" | "drop" | "reject" as verdict, *_]:
                return [*options, "-j", _VERDICTS[verdict]]
            case ["counter", *_]:
                continue
            case _:
                return None
    return None


def _value(rest: list[str]) -> str:
    """The value that stands next, of which `{ 80, 443 }` is several."""
    if not rest:
        return ""
    word = rest.pop(0).lstrip("@")
    while word.startswith("{") and not word.endswith("}") and rest:
        word += rest.pop(0)
    return word.strip("{}")
