"""Commands of ufw, firewalld, iptables, nft, kubectl and calicoctl, and their equivalents here."""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from hostfw.model.values import Action

_OPEN = "`hostfwctl allow {tcp/8080}`"
_BAN = "`hostfwctl deny {198.51.100.7}`; --cut ends open connections as well"
_UNBAN = "`hostfwctl remove deny {198.51.100.7}`"
_CLOSE = "`hostfwctl remove allow {tcp/8080}` takes back an allow; `hostfwctl deny {tcp/8080}` denies it to everybody"
_REMOVE = (
    "`hostfwctl remove allow tcp/8080`, with the words or the name that `hostfwctl rules` shows; other resources: "
    "remove them from their file in /etc/hostfw, then `hostfwctl apply`"
)
_RULES = "`hostfwctl rules` lists what is in force, `hostfwctl exposure` who can reach which service"
_SYSTEMD = "hostfw is a service: `systemctl {} hostfw`"
_RESET = "remove the files in /etc/hostfw that should go, then `hostfwctl apply`; `hostfwctl disable` removes all"
_POLICY = "/etc/hostfw/hostfw.yaml has the settings; what no rule allows is denied"
_ZONES = "`hostfwctl interfaces` says which HostEndpoint governs which interface"
_DROPS = "`hostfwctl drops` shows what was denied and why"
_FOLLOW = "`hostfwctl drops --follow` shows what is denied as it happens"
_EXPLAIN = "`hostfwctl explain SRC DST:PORT` says what happens to a packet"
_EDIT = "edit the files in /etc/hostfw, then `hostfwctl apply`; `hostfwctl diff` shows what would change"
_ADD = "`hostfwctl apply --add -f FILE`"
_NAT = (
    "hostfw translates no addresses: keep NAT in a table of your own; a policy with applyOnForward filters what passes"
)
_UNDO = "`hostfwctl rollback`, or `hostfwctl rollback --to NUMBER` of `hostfwctl history`"
_COUNTERS = "`hostfwctl counters` shows what each rule let through or denied"
_KINDS = "`hostfwctl get gnp` lists policies; `hostfwctl get --help` names the other kinds"
_LASTS = "every change of hostfw lasts: leave it out"
_INIT = "`hostfwctl init` proposes a first configuration"
_LOCKDOWN = "`hostfwctl lockdown` blocks all traffic except current ssh sessions"
_IPTABLES = f"{_OPEN.replace('{', '').replace('}', '')}; `hostfwctl deny tcp/25` denies"

_INSERT = f"{_OPEN.replace('{', '').replace('}', '')}; peers that are denied come before what is allowed"
_LIMIT = "hostfw has no limit by rule; `hostfwctl allow ssh from 10.0.0.0/8` says who may connect at all"
_SETS = "`hostfwctl set list` shows sets, `hostfwctl set add NAME ADDRESS` puts a member in"
_DEL = "`hostfwctl set del NAME ADDRESS` takes a member out; `hostfwctl set list NAME` shows them"

VERBS_ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("open", "accept", "permit", "add", "port", "trust", "whitelist", "unlock"), _OPEN),
    **dict.fromkeys(("ban", "blacklist", "kill"), _BAN),
    **dict.fromkeys(("unban", "unblacklist", "pardon", "undeny", "unreject", "unbanip"), _UNBAN),
    **dict.fromkeys(("delete", "del", "rm"), _REMOVE),
    **dict.fromkeys(("list", "ls", "show", "ports", "listening", "print"), _RULES),
    **dict.fromkeys(("log", "logs", "denied", "dropped", "blocked"), _DROPS),
    **dict.fromkeys(("tail", "monitor", "watch"), _FOLLOW),
    **dict.fromkeys(("stats", "stat", "statistics", "hits", "top"), _COUNTERS),
    **dict.fromkeys(("zones", "zone", "ifaces", "links", "node"), _ZONES),
    **dict.fromkeys(("nat", "masquerade", "forward", "dnat", "snat", "redirect"), _NAT),
    **dict.fromkeys(("undo", "revert", "restore"), _UNDO),
    **dict.fromkeys(("setup", "configure", "wizard", "install", "bootstrap"), _INIT),
    **dict.fromkeys(("edit", "patch", "label", "annotate", "config"), _EDIT),
    **dict.fromkeys(("create", "replace", "load"), _ADD),
    **dict.fromkeys(("test", "simulate", "trace", "debug", "query", "ask"), _EXPLAIN),
    **dict.fromkeys(("panic", "panic on"), _LOCKDOWN),
    **dict.fromkeys(("panic off", "unlockdown", "unpanic"), "`hostfwctl unblock` ends a lockdown"),
    **dict.fromkeys(("sets", "ipset", "list set", "list sets", "add element", "add set", "create set"), _SETS),
    **dict.fromkeys(("delete element", "delete set", "flush set"), _DEL),
    **dict.fromkeys(("rule", "policy", "policies", "iptables-save"), _RULES),
    **dict.fromkeys(("expose", "publish"), _OPEN),
    **dict.fromkeys(("is-active", "is-enabled", "cat", "mask", "unmask"), "hostfw is a service: ask `systemctl`"),
    **dict.fromkeys(("daemon-reload", "sync"), "`hostfwctl reload` reads the files and the Feeds again"),
    **dict.fromkeys(("events", "event", "audit", "journal", "dmesg"), f"{_DROPS}; `journalctl -t hostfw` has all else"),
    **dict.fromkeys(("rate-limit", "ratelimit", "throttle"), _LIMIT),
    **dict.fromkeys(("who", "whois", "netstat", "ss"), "`hostfwctl exposure` says who can reach which service"),
    "rollout": f"{_UNDO}; `hostfwctl status` says what is in force",
    "prepend": _INSERT,
    "ping": "`hostfwctl allow ping` lets echo requests in",
    "fail2ban": "`hostfwctl set list fail2ban` shows its bans; banaction = hostfw is its action",
    "docker": "`hostfwctl exposure` has published ports as well, and policy decides who reaches them",
    "iptables-restore": "`hostfwctl import iptables-save` reads such rules, and writes policy",
    **dict.fromkeys(("reset", "flush", "purge", "clear"), _RESET),
    **dict.fromkeys(
        ("save", "commit", "persist", "backup"),
        "`hostfwctl apply` accepts what it puts into force: it is there after a reboot",
    ),
    "block": f"`hostfwctl deny {{198.51.100.7}}` denies an address; {_LOCKDOWN}",
    **dict.fromkeys(("close", "unallow", "disallow", "revoke"), _CLOSE),
    "insert": _INSERT,
    "route": "`applyOnForward: true` in a policy is about forwarded packets; `hostfwctl deny 198.51.100.7` is too",
    "drop": "`hostfwctl deny {198.51.100.7}`, or `hostfwctl drops` for what was denied",
    "reject": "`hostfwctl deny {tcp/25}`; denyAction: reject in hostfw.yaml has the sender notice",
    "limit": _LIMIT,
    "logging": "logging in /etc/hostfw/hostfw.yaml; `hostfwctl drops` shows what was denied",
    "check": f"`hostfwctl validate` finds mistakes, {_EXPLAIN}",
    "lint": "`hostfwctl validate` finds mistakes",
    "try": "`hostfwctl apply --confirm-within 5m` takes the change back unless it is confirmed",
    "enable": _SYSTEMD.format("enable --now"),
    "on": _SYSTEMD.format("enable --now"),
    "up": _SYSTEMD.format("start"),
    "start": _SYSTEMD.format("start"),
    "restart": _SYSTEMD.format("restart"),
    "stop": f"{_SYSTEMD.format('stop')}; the rules stay: `hostfwctl disable --remove-rules` removes them",
    "off": f"`hostfwctl disable --remove-rules` removes the rules; {_SYSTEMD.format('stop')} keeps them",
    "down": f"`hostfwctl disable --remove-rules` removes the rules; {_LOCKDOWN}",
    "default": _POLICY,
    "app": "`hostfwctl allow http`, with a name of /etc/services",
    "services": "`hostfwctl exposure` lists them with who can reach them",
    "info": "`hostfwctl status`",
    "export": "`hostfwctl compile` prints the nftables script, `hostfwctl get gnp -o yaml` the policies",
    "zero": "counters are never set to zero: `hostfwctl counters --rate 10s` shows what is counted now",
    "api-resources": _KINDS,
    "ipam": "hostfw gives out no addresses; `hostfwctl get gns` lists the sets of addresses",
    "convert": "manifests of projectcalico.org/v3 need no conversion: `hostfwctl validate -f FILE`",
    "update": "`hostfwctl reload` reads the files and the Feeds again",
    "refresh": "`hostfwctl reload` reads the files and the Feeds again",
    "man": "`man hostfwctl`, or `hostfwctl --help`",
    "doc": "`man hostfwctl`, or `hostfwctl --help`",
    # ------------------------------------------------------------------------------------------ options of firewall-cmd
    "--add-port": _OPEN,
    "--add-service": "`hostfwctl allow {http}`, with a name of /etc/services",
    "--add-source": "`hostfwctl allow tcp/22 from {10.0.0.0/8}`",
    "--add-rich-rule": "`hostfwctl allow tcp/22 from 10.0.0.0/8`, or a GlobalNetworkPolicy in /etc/hostfw",
    "--direct": "a GlobalNetworkPolicy in /etc/hostfw; `hostfwctl allow tcp/22 from 10.0.0.0/8` writes one",
    "--remove-port": "`hostfwctl remove allow {tcp/8080}`",
    "--remove-service": "`hostfwctl remove allow {http}`",
    "--remove-source": "`hostfwctl remove allow tcp/22 from {10.0.0.0/8}`",
    **dict.fromkeys(
        (
            "--list-all",
            "--list-all-zones",
            "--list-ports",
            "--list-services",
            "--list-rich-rules",
            "--list-sources",
            "--list",
        ),
        _RULES,
    ),
    **dict.fromkeys(("--query-port", "--query-service", "--info-service"), _EXPLAIN),
    **dict.fromkeys(("--get-active-zones", "--get-zones", "--get-default-zone", "--get-zone-of-interface"), _ZONES),
    **dict.fromkeys(("--info-zone", "--list-interfaces", "--get-policies"), _ZONES),
    **dict.fromkeys(("--add-icmp-block", "--add-icmp-block-inversion"), "`hostfwctl deny ping`"),
    "--remove-icmp-block": "`hostfwctl remove deny ping`",
    "--remove-rich-rule": "`hostfwctl remove allow tcp/8080`, with the words that `hostfwctl rules` shows",
    **dict.fromkeys(("--new-ipset", "--add-entry", "--get-ipsets"), _SETS),
    "--remove-entry": _DEL,
    **dict.fromkeys(
        ("--add-interface", "--change-interface", "--new-zone"),
        "a HostEndpoint in /etc/hostfw; `hostfwctl interfaces` shows which one governs an interface",
    ),
    **dict.fromkeys(("--set-default-zone", "--set-target"), _POLICY),
    **dict.fromkeys(("--add-masquerade", "--add-forward-port"), _NAT),
    **dict.fromkeys(("--permanent", "--runtime-to-permanent", "--zone"), _LASTS),
    **dict.fromkeys(("--reload", "--complete-reload"), "`hostfwctl reload`"),
    **dict.fromkeys(("--state", "--query-panic"), "`hostfwctl status`"),
    "--get-services": "`hostfwctl allow http`, with a name of /etc/services",
    "--set-log-denied": _DROPS,
    "--panic-on": _LOCKDOWN,
    "--panic-off": "`hostfwctl unblock`",
    # ---------------------------------------------------------------------------------- options of iptables, and of nft
    **dict.fromkeys(("-A", "-I", "-R", "--append", "--insert", "-j", "-p", "-s", "--dport", "--sport"), _IPTABLES),
    "-D": "`hostfwctl remove allow tcp/8080`",
    **dict.fromkeys(("-L", "-S", "-nvL", "-nL", "-vnL", "-Ln", "-Lnv"), _RULES),
    **dict.fromkeys(("-F", "-X", "--flush"), _RESET),
    "-P": _POLICY,
    "-C": _EXPLAIN,
    "-Z": "counters are never set to zero: `hostfwctl counters --rate 10s` shows what is counted now",
    "-N": "a GlobalNetworkPolicy in /etc/hostfw stands for a chain; `hostfwctl get gnp` lists them",
    "-f": _ADD,
    "-c": "`hostfwctl validate -f FILE` finds mistakes, `hostfwctl diff -f FILE` shows what would change",
    "-V": "`hostfwctl version`",
}
"""First words that hostfwctl does not know, and what to type instead; in braces what the words behind may replace."""

_BESIDE = frozenset(("--permanent", "--zone", "-n", "-v", "-q", "--verbose", "--quiet", "-w"))
"""Words that say nothing about what is wanted, where others follow."""
_NAT_TABLE = ("-t", "nat")
_PROGRAMS = frozenset(
    ("ufw", "firewall-cmd", "iptables", "ip6tables", "nft", "kubectl", "calicoctl", "systemctl", "sudo", "hostfwctl")
)
"""Programs whose name somebody typed behind that of hostfwctl."""
_WITH_VALUES = frozenset(("--config-dir", "--state-dir", "--run-dir", "--color", "--colour", "-t"))

_STRAY: dict[str, str | tuple[str, ...]] = {
    "validate": "`hostfwctl validate -f {}`",
    "compile": "`hostfwctl compile -f {}`",
    "diff": "`hostfwctl diff -f {}`",
    "apply": "`hostfwctl apply --add -f {}`",
    "counters": "`hostfwctl counters --policy {}`",
    "exposure": "`hostfwctl exposure` lists every service",
    "lockdown": (
        "`hostfwctl lockdown --for {}`",
        "`hostfwctl deny {}`; lockdown is about everything",
        "`hostfwctl unblock` ends a lockdown, `hostfwctl status` says whether there is one",
    ),
    "unblock": ("`hostfwctl remove deny {}`; unblock is about everything", "`hostfwctl unblock` ends a lockdown"),
    "status": "`hostfwctl rules`",
    "rules": "`hostfwctl rules`",
    "history": ("`hostfwctl rollback --to {}` goes back to a generation", "`hostfwctl history` lists all of them"),
    "rollback": (
        "`hostfwctl rollback --to {}`",
        "`hostfwctl rollback --to NUMBER`; `hostfwctl history` has the numbers",
    ),
    "confirm": "`hostfwctl confirm`",
    "drops": (
        "`hostfwctl drops --since {}`",
        "`hostfwctl drops` shows what was denied and why; `| grep` finds an address",
    ),
    "reload": "`hostfwctl apply --add -f {}`",
    "interfaces": "`hostfwctl interfaces` lists all of them",
    "doctor": "`hostfwctl doctor` looks at everything",
}
"""The probable meaning of an unknown word, by verb; of several the first that is a command with that word."""

_OPTIONS: dict[tuple[str, str], str] = {
    ("apply", "--dry-run"): "`hostfwctl diff`",
    ("apply", "--check"): "`hostfwctl diff`",
    ("apply", "--server-side"): "`hostfwctl apply`",
    ("apply", "--force"): "the message says which --accept option does it",
    ("reload", "--dry-run"): "`hostfwctl diff`",
    ("validate", "--dry-run"): "`hostfwctl validate` changes nothing",
    ("rules", "add"): "`hostfwctl allow tcp/8080`",
    **dict.fromkeys((("rules", "delete"), ("rules", "remove"), ("rules", "del")), _REMOVE),
    **dict.fromkeys((("counters", "all"), ("counters", "list"), ("counters", "show")), "`hostfwctl counters`"),
    **dict.fromkeys(
        (("counters", "zero"), ("counters", "reset")),
        "counters are never set to zero: `hostfwctl counters --rate 10s` shows what is counted now",
    ),
    ("status", "numbered"): "`hostfwctl rules`",
    ("status", "verbose"): "`hostfwctl status -v`",
    ("drops", "since"): "`hostfwctl drops --since {}`",
    ("drops", "follow"): "`hostfwctl drops --follow`",
    ("drops", "--today"): "`hostfwctl drops --since today`",
    ("drops", "-n"): "`hostfwctl drops --count 20`",
    ("validate", "--file"): "`hostfwctl validate -f FILE`",
    ("apply", "--file"): "`hostfwctl apply --add -f FILE`",
    (
        "counters",
        "--reset",
    ): "counters are never set to zero: `hostfwctl counters --rate 10s` shows what is counted now",
    ("get", "-A"): "`hostfwctl get gnp`: there are no namespaces",
    ("get", "--all-namespaces"): "`hostfwctl get gnp`: there are no namespaces",
    ("get", "-n"): "`hostfwctl get gnp`: there are no namespaces",
    ("get", "-w"): "`hostfwctl drops --follow` shows what is denied as it happens",
}
"""The same for words that mean something of their own."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z0-9][-A-Za-z0-9./:,_]*\Z")
_VERB = re.compile(r"allow|deny")


class Elsewhere(NamedTuple):
    """A word of another program, and what to type instead."""

    word: str
    hint: str


def elsewhere(arguments: Sequence[str], own: Collection[str]) -> Elsewhere | None:
    """The first word that another program knows, in the place of a verb; None where one of our `own` comes first."""
    beside: Elsewhere | None = None
    words = iter(enumerate(arguments))
    for place, argument in words:
        word, _, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        if word in _PROGRAMS:
            return _without_program(argument, arguments[place + 1 :], own)
        if word in _WITH_VALUES:
            if not value:
                next(words, None)
            continue
        if word in _BESIDE:
            beside = beside or (Elsewhere(argument, VERBS_ELSEWHERE[word]) if word in VERBS_ELSEWHERE else None)
            continue
        if word in own:
            return None
        if word in ("-A", "-I", "-R") and tuple(arguments[:2]) == _NAT_TABLE:
            return Elsewhere(argument, _NAT)
        behind = arguments[place + 1 : place + 2]
        known = VERBS_ELSEWHERE.get(" ".join((word, *behind)), VERBS_ELSEWHERE.get(word))
        if known is not None:
            return Elsewhere(argument, _filled(known, [value] if value else arguments[place + 1 :]))
        if not word.startswith("-"):
            break
    return beside


def _without_program(program: str, words: Sequence[str], own: Collection[str]) -> Elsewhere:
    """The answer to a command line of another program behind the name of ours."""
    if words and words[0] in own and all(map(_WORD.match, words)):
        known = _OPTIONS.get((words[0], words[1])) if len(words) > 1 else None
        return Elsewhere(program, known or f"leave {program} out: `hostfwctl {' '.join(words)}`")
    return Elsewhere(program, found.hint if (found := elsewhere(words, own)) is not None else _RULES)


def meant(verb: str, unknown: Sequence[str]) -> str:
    """The command that was probably meant by words which a verb does not take, empty where that is not known."""
    first, *others = unknown
    known = _OPTIONS.get((verb, first.partition("=")[0]))
    if known is not None:
        return known.format(" ".join(others) or "TIME")
    if first.startswith("-"):
        return ""
    hints = _STRAY.get(verb, "")
    told = [hint.format(" ".join(unknown)) for hint in ((hints,) if isinstance(hints, str) else hints)]
    return next(filter(_is_a_command, told[:-1]), told[-1])


def _is_a_command(hint: str) -> bool:
    """True if the first command of a hint is one that means something."""
    from hostfw.cli.parser import UsageError, parse

    words = hint.split("`")[1].split()[1:]
    if words[:1] == ["deny"] or words[:2] == ["remove", "deny"]:
        denied = words[words.index("deny") + 1 :]
        # A name could be that of a set, and rarely is.
        return any(map(str.isdigit, "".join(denied))) and _means_something("deny", denied)
    try:
        parse(words)
    except UsageError:
        return False
    return True


def _filled(hint: str, words: Sequence[str]) -> str:
    """A hint with the words of the caller in its braces, where they mean something there."""

    def fill(slot: re.Match[str]) -> str:
        *_, verb = _VERB.findall(hint[: slot.start()]) or ("",)
        before = hint[: slot.start()].rpartition(f"{verb} ")[2].split()
        for given in (words, () if "from" in before else ("from", *words)):
            if words and given and _means_something(verb, [*before, *given]):
                return " ".join(given)
        return slot[1]

    return _SLOT.sub(fill, hint)


def _means_something(verb: str, words: Sequence[str]) -> bool:
    from hostfw.host.network.service_names import ports_of_service
    from hostfw.quick.requests import RequestError
    from hostfw.quick.words import parse_words

    if not all(map(_WORD.match, words)):
        return False
    try:
        parse_words(Action(verb.title()), words, ports_of_service)
    except RequestError:
        return False
    return True
