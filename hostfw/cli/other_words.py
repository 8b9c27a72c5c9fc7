"""Commands of ufw, firewalld and iptables, and their equivalents here."""

from collections.abc import Sequence

_ALLOW = "`hostfwctl allow tcp/8080`, with `from 10.0.0.0/8` for some only"
_RULES = "`hostfwctl rules` lists what is in force, `hostfwctl exposure` who can reach which service"
_SYSTEMD = "hostfw is a service: `systemctl {} hostfw`"
_RESET = "remove the files in /etc/hostfw that should go, then `hostfwctl apply`; `hostfwctl disable` removes all"
_POLICY = "/etc/hostfw/hostfw.yaml has the settings; what no rule allows is denied"

VERBS_ELSEWHERE: dict[str, str] = {
    "open": _ALLOW,
    "accept": _ALLOW,
    "permit": _ALLOW,
    "insert": f"{_ALLOW}; peers that are denied come before what is allowed",
    "route": "`applyOnForward: true` in a policy is about forwarded packets; `hostfwctl deny ADDRESS` is too",
    "--add-port": _ALLOW,
    "--add-service": "`hostfwctl allow http`, with a name of /etc/services",
    "--add-source": "`hostfwctl allow tcp/22 from 10.0.0.0/8`",
    "--add-rich-rule": "`hostfwctl allow tcp/22 from 10.0.0.0/8`, or a GlobalNetworkPolicy in /etc/hostfw",
    "--remove-port": "`hostfwctl remove allow tcp/8080`",
    "--remove-service": "`hostfwctl remove allow http`",
    "-A": f"{_ALLOW}; `hostfwctl deny tcp/25` denies",
    "-I": f"{_ALLOW}; `hostfwctl deny tcp/25` denies",
    "-D": "`hostfwctl remove allow tcp/8080`",
    "-L": _RULES,
    "-S": _RULES,
    "-F": _RESET,
    "ban": "`hostfwctl deny 198.51.100.7`; --cut ends open connections as well",
    "drop": "`hostfwctl deny 198.51.100.7`, or `hostfwctl drops` for what was denied",
    "reject": "`hostfwctl deny tcp/25`; denyAction: reject in hostfw.yaml has the sender notice",
    "limit": "hostfw has no limit by rule; `hostfwctl allow ssh from 10.0.0.0/8` says who may connect at all",
    "unban": "`hostfwctl remove deny 198.51.100.7`",
    "delete": "`hostfwctl remove allow tcp/8080`; `hostfwctl rules` has the names",
    "del": "`hostfwctl remove allow tcp/8080`; `hostfwctl rules` has the names",
    "list": _RULES,
    "ls": _RULES,
    "show": _RULES,
    "--list-all": _RULES,
    "--list-ports": _RULES,
    "--list-services": _RULES,
    "--get-active-zones": "`hostfwctl interfaces` says which HostEndpoint governs which interface",
    "zones": "`hostfwctl interfaces` says which HostEndpoint governs which interface",
    "log": "`hostfwctl drops` shows what was denied and why",
    "logs": "`hostfwctl drops` shows what was denied and why",
    "logging": "logging in /etc/hostfw/hostfw.yaml; `hostfwctl drops` shows what was denied",
    "check": "`hostfwctl validate` finds mistakes, `hostfwctl explain SRC DST:PORT` says what happens to a packet",
    "test": "`hostfwctl explain SRC DST:PORT` says what happens to a packet",
    "enable": _SYSTEMD.format("enable --now"),
    "start": _SYSTEMD.format("start"),
    "restart": _SYSTEMD.format("restart"),
    "stop": f"{_SYSTEMD.format('stop')}; the rules stay: `hostfwctl disable --remove-rules` removes them",
    "--reload": "`hostfwctl reload`",
    "--state": "`hostfwctl status`",
    "--permanent": "every change of hostfw lasts: leave it out",
    "--panic-on": "`hostfwctl block`",
    "panic": "`hostfwctl block`",
    "lockdown": "`hostfwctl block`",
    "default": _POLICY,
    "--set-default-zone": _POLICY,
    "reset": _RESET,
    "flush": _RESET,
    "save": "`hostfwctl apply` accepts what it puts into force: it is there after a reboot",
    "edit": "edit the files in /etc/hostfw, then `hostfwctl apply`",
    "undo": "`hostfwctl rollback`, or `hostfwctl rollback --to NUMBER` of `hostfwctl history`",
    "app": "`hostfwctl allow http`, with a name of /etc/services",
    "info": "`hostfwctl status`",
    "simulate": "`hostfwctl explain SRC DST:PORT` says what happens to a packet",
}
"""First words that hostfwctl does not know, and what to type instead."""

_STRAY: dict[str, str] = {
    "validate": "`hostfwctl validate -f {}`",
    "compile": "`hostfwctl compile -f {}`",
    "diff": "`hostfwctl diff -f {}`",
    "apply": "`hostfwctl apply --add -f {}`",
    "counters": "`hostfwctl counters --policy {}`",
    "exposure": "`hostfwctl exposure` lists every service",
    "block": "`hostfwctl deny {}`; block is about everything",
    "status": "`hostfwctl rules`",
    "reload": "`hostfwctl apply --add -f {}`",
    "interfaces": "`hostfwctl get interfacegroups`",
}
"""The probable meaning of an unknown word, by verb."""

_OPTIONS: dict[tuple[str, str], str] = {
    ("apply", "--dry-run"): "`hostfwctl diff`",
    ("apply", "--check"): "`hostfwctl diff`",
    ("apply", "--force"): "the message says which --accept option does it",
    ("reload", "--dry-run"): "`hostfwctl diff`",
    ("status", "numbered"): "`hostfwctl rules`",
    ("status", "verbose"): "`hostfwctl status -v`",
    ("drops", "since"): "`hostfwctl drops --since {}`",
    ("validate", "--file"): "`hostfwctl validate -f FILE`",
    ("apply", "--file"): "`hostfwctl apply --add -f FILE`",
}
"""The same for words that mean something of their own."""


def meant(verb: str, unknown: Sequence[str]) -> str:
    """The command that was probably meant by words which a verb does not take, empty where that is not known."""
    first, *others = unknown
    known = _OPTIONS.get((verb, first.partition("=")[0]))
    if known is not None:
        return known.format(" ".join(others) or "TIME")
    return "" if first.startswith("-") else _STRAY.get(verb, "").format(" ".join(unknown))
