"""Words of other programs, by whose they are, and the answer: the command here that does what they ask for."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from hostfw.cli.other_words.bans import cscli, fail2ban
from hostfw.cli.other_words.calico import calico
from hostfw.cli.other_words.control_panels import csf, foomuuri, pfctl, shorewall
from hostfw.cli.other_words.firewalld import firewalld
from hostfw.cli.other_words.general import general
from hostfw.cli.other_words.hints import HELP, LASTS, RULES, is_plain
from hostfw.cli.other_words.iptables import (
    ip6tables,
    ipset,
    iptables,
    iptables4,
    iptables_restore,
    iptables_save,
    is_of_iptables,
)
from hostfw.cli.other_words.nft import nft
from hostfw.cli.other_words.own_verbs import HARMLESS, is_a_command, meant, missing
from hostfw.cli.other_words.systemd import journalctl, systemd
from hostfw.cli.other_words.ufw import ufw

_Answer = Callable[[Sequence[str]], str]

PROGRAMS: dict[str, _Answer] = {
    "ufw": ufw,
    "gufw": ufw,
    "firewall-cmd": firewalld,
    "firewall-offline-cmd": firewalld,
    **dict.fromkeys(("iptables", "iptables-nft", "iptables-legacy"), iptables4),
    **dict.fromkeys(("ip6tables", "ip6tables-nft", "ip6tables-legacy"), ip6tables),
    **dict.fromkeys(("iptables-save", "ip6tables-save"), iptables_save),
    **dict.fromkeys(("iptables-restore", "ip6tables-restore"), iptables_restore),
    "netfilter-persistent": general,
    **dict.fromkeys(("csf", "apf"), csf),
    "pfctl": pfctl,
    **dict.fromkeys(("shorewall", "shorewall6"), shorewall),
    "foomuuri": foomuuri,
    "ipset": ipset,
    "nft": nft,
    "nftables": nft,
    **dict.fromkeys(("kubectl", "calicoctl", "kubectl-calico"), calico),
    **dict.fromkeys(("fail2ban-client", "fail2ban"), fail2ban),
    **dict.fromkeys(("cscli", "crowdsec"), cscli),
    **dict.fromkeys(("systemctl", "service"), systemd),
    "journalctl": journalctl,
    **dict.fromkeys(("sudo", "hostfwctl", "hostfw"), lambda _: ""),
}
"""Programs whose name somebody typed behind that of hostfwctl."""
_WORDS: tuple[_Answer, ...] = (ufw, nft, cscli, calico, general, fail2ban, systemd)
"""The answers to bare words, in the order in which they are asked."""
_WITH_OUR_VERBS = frozenset(
    (
        "shorewall",
        "shorewall6",
        "foomuuri",
        "fail2ban-client",
        "fail2ban",
        "cscli",
        "crowdsec",
        "systemctl",
        "service",
        "journalctl",
    )
)
"""Programs with words of ours that mean something else there."""
_SPELLED = frozenset(
    ("open", "close", "ban", "unban", "block", "enable", "restart", "delete", "whitelist", "blacklist", "limit")
)
"""Words of others that are frequent enough to be misspelled."""
_LIKENESS = 0.7
_WITH_VALUES = frozenset(("--config-dir", "--state-dir", "--run-dir", "--color", "--colour"))
_OWN_FLAGS = frozenset(("-q", "-v", "--quiet", "--verbose"))
_ASKED = frozenset(("-h", "--help", "--version"))
"""Options of our own that stand before a verb."""
_HELPS = frozenset(("-?", "-H", "/?", "--h", "-help", "--usage", "--man", "--manual", "--helpme", "-hh", "?"))


class Elsewhere(NamedTuple):
    """A word of another program, and what to type instead."""

    word: str
    hint: str

    @property
    def message(self) -> str:
        """The message for the word."""
        if self.word == "block" and self.hint.startswith("`hostfwctl lockdown"):
            return '"block" is called "lockdown"'
        return f"unknown: {self.word}" if self.word.startswith("-") else f'unknown verb "{self.word}"'


def elsewhere(arguments: Sequence[str], own: Collection[str]) -> Elsewhere | None:
    """The answer to words that another program takes; None where one of our `own` comes first, or nobody knows them."""
    rest = _behind_common(arguments)
    if not rest:
        return None
    first = rest[0]
    if first in _ASKED:
        return None
    if first in _HELPS:
        return Elsewhere(first, HELP)
    if first in PROGRAMS:
        return Elsewhere(first, _of_program(first, rest[1:], own))
    if first in own:
        return None
    if first.startswith("-"):
        hint = _behind_options(rest, own) or _dashed(rest) or _lasts(rest)
    else:
        hint = _first(_WORDS, rest) or _misspelled(rest, own)
    return Elsewhere(first, hint) if hint else None


def _behind_common(arguments: Sequence[str]) -> Sequence[str]:
    """The words behind options of every verb; where nothing else is left, those that others have as well."""
    rest = list(arguments)
    while rest and (rest[0].partition("=")[0] in _WITH_VALUES or rest[0] in _OWN_FLAGS):
        option = rest.pop(0)
        if option in _WITH_VALUES and rest:
            del rest[0]
    return rest


def _misspelled(words: Sequence[str], own: Collection[str]) -> str:
    """The whole line with its first word as it is spelled, where that is a command; empty where nothing is like it."""
    from difflib import get_close_matches

    first, *rest = words
    near = next(iter(get_close_matches(first.lower(), [*own, *_SPELLED], n=1, cutoff=_LIKENESS)), "")
    if near in _SPELLED:
        return _first(_WORDS, [near, *rest])
    hint = f"`hostfwctl {' '.join([near, *rest])}`"
    # Alone it is a question whether it was meant: it may change something.
    return hint if near and rest and is_plain([word.lstrip("-/") for word in rest]) and is_a_command(hint) else ""


def _first(answers: Sequence[_Answer], words: Sequence[str]) -> str:
    return next((hint for answer in answers if (hint := answer(words))), "")


def _of_program(program: str, words: Sequence[str], own: Collection[str]) -> str:
    """The answer to a command line of another program behind the name of ours."""
    if not words:
        return PROGRAMS[program](["status"]) or RULES
    if program == "service":
        words = [*words[1:], words[0]]
    if words[0] in _ASKED:
        return HELP if words[0] != "--version" else "`hostfwctl version`"
    if words[0] in PROGRAMS:
        return _of_program(words[0], words[1:], own)
    if program in ("sudo", "hostfwctl", "hostfw") and (other := elsewhere(words, own)) is not None:
        return other.hint
    if program in _WITH_OUR_VERBS and (told := PROGRAMS[program](words)):
        return told
    if words[0] in own and is_plain([word.lstrip("-") for word in words]):
        hint = f"leave {program} out: `hostfwctl {' '.join(words)}`"
        if is_a_command(hint):
            return hint
        unknown = [word for word in words[1:] if word.startswith("-")] or words[1:]
        if len(words) > 1 and (told := missing(words[0], words) or meant(words[0], unknown, words)):
            return PROGRAMS[program](words) or told
    return PROGRAMS[program](words) or (found.hint if (found := elsewhere(words, own)) is not None else RULES)


def _dashed(words: Sequence[str]) -> str:
    """The answer to options alone, of which iptables and firewall-cmd have some with the same name."""
    return _first((iptables, firewalld, nft) if is_of_iptables(words[0]) else (firewalld, iptables, nft), words)


def _behind_options(words: Sequence[str], own: Collection[str]) -> str:
    """The answer to words behind options that say little: `--force delete allow 22`, `-a list ruleset`."""
    place = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words))
    options, rest = words[:place], words[place:]
    if not rest or not set(options) <= {*HARMLESS, "--dry-run", "-a", "-j", "-s", "-nn"}:
        return ""
    if rest[0] in own:
        return _before_verb(words, own)
    if "--dry-run" in options:
        return ufw(words)
    return _first(_WORDS, rest) if rest[0].islower() else ""


def _before_verb(words: Sequence[str], own: Collection[str]) -> str:
    """The answer to options of others before a verb of ours: `--permanent allow 22`, `--dry-run allow 22`."""
    options = [word for word in words[: _place(words, own)] if word.startswith("-")]
    rest = list(words[len(options) :])
    if not rest or rest[0] not in own:
        return ""
    for line in ([*rest, *options], rest if all(option in HARMLESS for option in options) else None):
        if line is not None and is_plain([word.lstrip("-") for word in line]):
            hint = f"options stand behind the verb: `hostfwctl {' '.join(line)}`"
            if is_a_command(hint):
                return hint
    return meant(rest[0], options, [*rest, *options])


def _place(words: Sequence[str], own: Collection[str]) -> int:
    return next((place for place, word in enumerate(words) if word in own), 0)


def _lasts(words: Sequence[str]) -> str:
    """The answer to options alone that ask for nothing."""
    return LASTS if words[0] in HARMLESS else ""
