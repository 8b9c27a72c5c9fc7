"""Words of csf(1), apf, pfctl(8), shorewall(8) and foomuuri(8)."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    ADD,
    DROPS,
    EXPOSURE,
    FOLLOW,
    HELP,
    LOCKDOWN,
    RELOAD,
    REMOVE,
    RESET,
    RULES,
    VALIDATE,
    is_address,
    is_plain,
    quick_rule,
    systemctl,
)
from hostfw.model.values import Action

_TRIED = "`hostfwctl apply --confirm-within 5m` rolls the change back unless it is confirmed"


def csf(words: Sequence[str]) -> str:
    """The answer to a command of csf or apf, empty for what is none."""
    match words:
        case ["-d" | "--deny" | "-td" | "--tempdeny", peer, *rest]:
            return _peer(Action.DENY, peer, _time(rest))
        case ["-a" | "--add" | "-ta" | "--tempallow", peer, *rest]:
            return _peer(Action.ALLOW, peer, _time(rest))
        case ["-dr" | "--denyrm" | "-tr" | "--temprm" | "-u" | "--unban", peer, *_]:
            return _peer(Action.DENY, peer, (), removed=True)
        case ["-ar" | "--addrm" | "-tra" | "--tempallowrm", peer, *_]:
            return _peer(Action.ALLOW, peer, (), removed=True)
        case ["-g" | "--grep", peer, *_]:
            return asked_of(peer)
        case ["-r" | "--restart" | "-ra" | "--restartall" | "-q" | "--startq" | "-u" | "--update"]:
            return RELOAD
        case ["-s" | "--start"]:
            return systemctl("start")
        case ["-e" | "--enable"]:
            return systemctl("enable --now")
        case ["-f" | "--stop" | "--flush" | "-x" | "--disable"]:
            return RESET
        case ["-df" | "--denyf" | "-tf" | "--tempf"]:
            return REMOVE
        case ["-p" | "--ports"]:
            return EXPOSURE
        case ["-w" | "--watch", *_]:
            return FOLLOW
        case ["-v" | "--version"]:
            return "`hostfwctl version`"
        case ["-l" | "--status" | "-l6" | "--status6" | "-t" | "--temp" | "--list", *_]:
            return RULES
        case ["-c" | "--check", *_]:
            return "`hostfwctl version`"
        case _:
            return HELP


def pfctl(words: Sequence[str]) -> str:
    """The answer to a command of pfctl, empty for what is none."""
    match words:
        case ["-t", name, "-T", "add" | "delete" as act, *peers] if is_plain([name, *peers]) and peers:
            return f"`hostfwctl set {'add' if act == 'add' else 'del'} {name} {' '.join(peers)}`"
        case ["-t", name, "-T", *_] if is_plain([name]):
            return f"`hostfwctl set list {name}`"
        case ["-nf" | "-vnf", *_] | ["-n", "-f", *_]:
            return VALIDATE
        case ["-f", *_]:
            return ADD
        case ["-e", *_]:
            return systemctl("enable --now")
        case ["-d" | "-F", *_]:
            return RESET
        case _:
            return RULES


def shorewall(words: Sequence[str]) -> str:
    """The answer to a command of shorewall, empty for what is none."""
    match words:
        case ["drop" | "reject" | "logdrop" | "logreject" | "blacklist", peer, *_]:
            return _peer(Action.DENY, peer, ())
        case ["allow", peer, *_]:
            # The opposite of `shorewall drop`.
            return _peer(Action.DENY, peer, (), removed=True)
        case ["check" | "compile", *_]:
            return VALIDATE
        case ["safe-restart" | "safe-start" | "safe-reload" | "try", *_]:
            return _TRIED
        case ["clear", *_]:
            return RESET
        case ["hits" | "logwatch" | "show", *_]:
            return DROPS if words[0] != "show" else RULES
        case _:
            return ""


def foomuuri(words: Sequence[str]) -> str:
    """The answer to a command of foomuuri, empty for what is none."""
    match words:
        case ["iplist", "add" | "del" as act, name, peer, *_] if is_plain([name, peer]):
            return f"`hostfwctl set {act} {name} {peer}`"
        case ["iplist", *_]:
            return "`hostfwctl set list`"
        case ["try-reload", *_]:
            return _TRIED
        case ["block"]:
            return LOCKDOWN
        case _:
            return ""


def asked_of(peer: str) -> str:
    """The answer to a question about an address."""
    if not is_plain([peer]) or not is_address(peer) or "/" in peer:
        return RULES
    return (
        f"`hostfwctl explain {peer} host:22` says whether it may come in and which rule decides, "
        f"`hostfwctl drops --src {peer}` what was denied of it"
    )


def _peer(action: Action, peer: str, time: Sequence[str], *, removed: bool = False) -> str:
    if not is_address(peer):
        return REMOVE if removed else f"`hostfwctl {action.lower()} --help` says how a rule is written"
    said = [peer] if action is Action.DENY else ["from", peer]
    return quick_rule(action, [*said, *time], removed=removed)


def _time(words: Sequence[str]) -> Sequence[str]:
    """The time behind an address: csf has seconds, or a number with m, h or d."""
    given = next((word for word in words[:1] if word[:1].isdigit() and is_plain([word])), "")
    return ("for", f"{given}s" if given.isdigit() else given) if given else ()
