"""Command lines of iptables(8), ip6tables(8) and ipset(8)."""

from collections.abc import Iterator, Sequence

from hostfw.cli.other_words.hints import (
    COUNTERS,
    DEFAULT,
    DROPS,
    FORWARD,
    HELP,
    NAT,
    POLICIES,
    POLICY,
    REMOVE,
    RESET,
    RULES,
    SETS,
    ZERO,
    is_address,
    is_plain,
    quick_rule,
)
from hostfw.model.values import Action

_ADDED = ("-A", "-I", "--append", "--insert", "-R", "--replace")
_DELETED = ("-D", "--delete")
_ASKED = ("-C", "--check")
_TARGETS = {"ACCEPT": Action.ALLOW, "DROP": Action.DENY, "REJECT": Action.DENY}
_OTHERWISE = {
    **dict.fromkeys(("-L", "--list", "-S", "--list-rules"), RULES),
    **dict.fromkeys(("-F", "--flush", "-X", "--delete-chain"), RESET),
    **dict.fromkeys(("-P", "--policy"), DEFAULT),
    **dict.fromkeys(("-Z", "--zero"), ZERO),
    **dict.fromkeys(("-N", "--new-chain", "-E", "--rename-chain"), f"a policy stands for a chain: {POLICIES}"),
    **dict.fromkeys(("-v", "--verbose", "-n", "--numeric", "--line-numbers"), RULES),
    **dict.fromkeys(("-V",), "`hostfwctl version`"),
    **dict.fromkeys(("-h", "-H", "-?"), HELP),
}
_IMPORT = "`hostfwctl import iptables-save --ipv4 FILE` reads what iptables-save prints, and writes policy"
_ESTABLISHED = "packets of established connections pass in any case: `hostfwctl rules` lists what else is in force"
_LOOPBACK = "what a host sends to itself passes in any case: `hostfwctl rules` lists what else is in force"
_SILENT = frozenset(("--syn", "--wait", "-w", "-4", "-6", "--ipv4", "--ipv6"))
"""Options without a value that say nothing about which packets begin a connection."""
_MODULES = frozenset(("tcp", "udp", "multiport", "state", "conntrack", "comment", "set", "icmp", "icmp6", "icmpv6"))
_LONG = {
    "--protocol": "-p",
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--jump": "-j",
    "--goto": "-g",
    "--match": "-m",
    "--destination-port": "--dport",
    "--destination-ports": "--dport",
    "--dports": "--dport",
    "--state": "--ctstate",
    "--icmpv6-type": "--icmp-type",
}
_BEHIND = frozenset(("-p", "-s", "-d", "-i", "-o", "-j", "-m", "--dport", "--ctstate", "--icmp-type", "--comment"))
_REJECTED = frozenset(("--reject-with",))


def is_of_iptables(option: str) -> bool:
    """True for an option that iptables takes first."""
    return option in (*_ADDED, *_DELETED, *_ASKED, "-t", "--table") or option in _LONG or option[1:2] != "-"


def iptables4(words: Sequence[str]) -> str:
    """The answer to a command of iptables itself, which is about IPv4 alone."""
    return iptables(words, "0.0.0.0/0")


def ip6tables(words: Sequence[str]) -> str:
    """The answer to a command of ip6tables."""
    return iptables(words, "::/0")


def iptables(words: Sequence[str], anybody: str = "") -> str:
    """The answer to options of iptables, empty for what are none; `anybody` is everybody of the IP version, if one."""
    options = list(_options(words))
    names = [name for name, _ in options]
    if any(name in ("-t", "--table") and value[:1] not in (["filter"], []) for name, value in options):
        return NAT
    known = next((name for name in names if name in (*_ADDED, *_DELETED, *_ASKED)), "")
    if known:
        return _about_a_rule(known, options, anybody)
    if set(names) & {"-j", "-p", "-s", "-d", "--dport", "--sport", "-i", "-m"}:
        return _about_a_rule("-A", [("-A", ["INPUT"]), *options], anybody)
    return next((_OTHERWISE[name] for name in names if name in _OTHERWISE), "") or _bundled(names)


def iptables_restore(words: Sequence[str]) -> str:
    """The answer to iptables-restore and its likes, with the file that it would read."""
    file = next((word for word in words if not word.startswith("-") and is_plain([word.lstrip("/")])), "FILE")
    return _IMPORT.replace("FILE", file)


def iptables_save(_: Sequence[str]) -> str:
    """The answer to iptables-save."""
    return RULES


def ipset(words: Sequence[str]) -> str:
    """The answer to a command of ipset."""
    match words:
        case ["add" | "-A", name, member, *rest] if is_plain([name, member]) and is_address(member):
            time = f" for {rest[1]}s" if rest[:1] == ["timeout"] and rest[1:2] and rest[1].isdigit() else ""
            return f"`hostfwctl set add {name} {member}{time}`"
        case ["del" | "-D", name, member, *_] if is_plain([name, member]) and is_address(member):
            return f"`hostfwctl set del {name} {member}`"
        case ["list" | "save" | "test" | "-L" | "-T" | "-S", name, *_] if is_plain([name]):
            return f"`hostfwctl set list {name}`"
        case _:
            return SETS


def _bundled(names: Sequence[str]) -> str:
    """The answer to short options in one word, such as `-nvL`."""
    letters = {letter for name in names if not name.startswith("--") for letter in name[1:]}
    if names and letters and letters <= set("nvxLS46w") and letters & set("LS"):
        return RULES
    return ""


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with what stands behind it; `!` is one of its own."""
    name, behind = "", list[str]()
    for word in words:
        if word == "!" or (word.startswith("-") and len(word) > 1):
            if name:
                yield name, behind
            left, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            name, behind = _LONG.get(left, left), [value] if equals else []
        else:
            behind.append(word)
    if name:
        yield name, behind


def _about_a_rule(act: str, options: Sequence[tuple[str, list[str]]], anybody: str) -> str:
    """The quick rule for a rule of iptables, or where it is written instead."""
    chain, *number = next((value for name, value in options if name == act), []) or ["INPUT"]
    if act in _DELETED and number:
        return f"`hostfwctl rules` shows the rules with their names and their files; {REMOVE}"
    if chain == "FORWARD":
        return FORWARD
    if chain in ("POSTROUTING", "PREROUTING"):
        return NAT
    rest = [(name, value) for name, value in options if name != act]
    given = {name: value[0] for name, value in rest if value}
    if given.get("-j") == "LOG":
        return DROPS
    if given.get("-i") == "lo" or given.get("-o") == "lo":
        return _LOOPBACK
    states = set(given.get("--ctstate", "NEW").split(","))
    if given.get("-j") == "ACCEPT" and states <= {"ESTABLISHED", "RELATED"}:
        return _ESTABLISHED
    action = _TARGETS.get(given.get("-j", ""))
    said = _words(chain, rest, anybody) if chain in ("INPUT", "OUTPUT") and "NEW" in states else []
    if act in _ASKED:
        return f"`hostfwctl rules` lists what is in force; {COUNTERS}"
    known = quick_rule(action, said, removed=act in _DELETED)
    if act in _DELETED:
        return known or f"`hostfwctl rules` shows the rules with their names and their files; {REMOVE}"
    return known or (f"{_IMPORT}; {POLICY}" if action else POLICY)


def _words(chain: str, options: Sequence[tuple[str, list[str]]], anybody: str) -> list[str]:
    """The words of a quick rule, none where it would mean other packets."""
    out = chain == "OUTPUT"
    given: dict[str, str] = {}
    for name, value in options:
        if name in _SILENT or name in _REJECTED:
            continue
        if name == "-m":
            if value[:1] and value[0] not in _MODULES:
                return []
        elif name == "--match-set" and value[1:] == [("dst" if out else "src")]:
            given["-d" if out else "-s"] = value[0]
        elif name in _BEHIND and len(value) == 1 and name not in given:
            given[name] = value[0]
        elif name != "--comment":
            return []
    if ("-s" if out else "-d") in given or ("-i" if out else "-o") in given:
        return []
    service = _service(given.get("-p", ""), given.get("--dport", ""), given.get("--icmp-type", ""))
    if service is None:
        return []
    peer = given.get("-d" if out else "-s", anybody if service else "")
    if not service and peer in ("0.0.0.0/0", "::/0"):
        return []
    endpoint = given.get("-o" if out else "-i", "")
    return [
        *(["out" if out else "in"] if out or (not service and given.get("-j") != "ACCEPT" and peer) else []),
        *service,
        *(["to" if out else "from", peer] if peer else []),
        *(["on", endpoint] if endpoint else []),
    ]


def _service(protocol: str, ports: str, icmp: str) -> list[str] | None:
    """The service in words, None where it has none."""
    if icmp:
        return ["ping"] if icmp in ("8", "echo-request", "128") else None
    if protocol in ("", "all") or ports:
        return None if ports and protocol not in ("tcp", "udp", "sctp") else ([f"{protocol}/{ports}"] if ports else [])
    return [protocol]
