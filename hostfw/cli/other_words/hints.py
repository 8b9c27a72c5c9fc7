"""Answers that several programs share, and commands made of the words that somebody typed."""

import re
import shlex
from collections.abc import Sequence

from hostfw.model.values import Action

RULES = "`hostfwctl rules` lists what is in force, `hostfwctl exposure` who can reach which service"
EXPOSURE = "`hostfwctl exposure` says who can reach which service"
DROPS = "`hostfwctl drops` shows what was denied and why"
FOLLOW = "`hostfwctl drops --follow` shows what is denied as it happens"
STATUS = "`hostfwctl status` says what is in force"
COUNTERS = "`hostfwctl counters` shows what each rule let through or denied"
ZERO = "counters are never set to zero: `hostfwctl counters --rate 10s` shows what is counted now"
EXPLAIN = "`hostfwctl explain SRC DST:PORT` says what happens to a packet"
INTERFACES = "`hostfwctl interfaces` says which HostEndpoint governs which interface"
POLICIES = "`hostfwctl get gnp` lists the policies; `hostfwctl get --help` names the other kinds"
VALIDATE = "`hostfwctl validate` finds every mistake in /etc/hostfw"
RELOAD = "`hostfwctl reload` reads the files and the Feeds again"
LOCKDOWN = "`hostfwctl lockdown` blocks all traffic except current ssh sessions"
UNBLOCK = "`hostfwctl unblock` ends a lockdown"
UNDO = "`hostfwctl rollback`, or `hostfwctl rollback --to NUMBER` of `hostfwctl history`"
ADD = "`hostfwctl apply --add -f FILE` copies a file into /etc/hostfw and applies all that is there"
POLICY = f"a GlobalNetworkPolicy says it: {ADD}"
EDIT = "`hostfwctl diff` shows what your edit of the files in /etc/hostfw would change; then `hostfwctl apply`"
FORWARD = f"a GlobalNetworkPolicy with `applyOnForward: true` is about forwarded packets: {ADD}"
NAT = "hostfw translates no addresses: keep NAT in a table of your own; `hostfwctl exposure` shows the published ports"
DEFAULT = "what no rule allows is denied; `hostfwctl rules` ends with what becomes of the rest"
LASTS = "every change of hostfw lasts: leave it out; `hostfwctl rules` lists what is in force"
SETS = "`hostfwctl set list` shows the sets; a Feed with `external: true` in /etc/hostfw makes one"
ALLOW_LIMITED = "`hostfwctl allow ssh limit 6/min`"
RESET = "`hostfwctl disable --remove-rules` removes all rules; to remove some, `hostfwctl remove NAME`"
REMOVE = "`hostfwctl remove NAME` removes a rule, by the name or the words that `hostfwctl rules` shows"
HELP = "`hostfwctl --help` lists the verbs, `man hostfwctl` says everything"

_WORD = re.compile(r"[A-Za-z0-9@:][-A-Za-z0-9./:,_@]*\Z")


def systemctl(verb: str) -> str:
    """The command of systemd for the service."""
    return f"hostfw is a service: `systemctl {verb} hostfw`"


def quick_rule(action: Action | None, words: Sequence[str], *, removed: bool = False, dry: bool = False) -> str:
    """The command for a quick rule of these words, or for removing it; empty where they mean nothing."""
    from hostfw.host.network.sockets.service_names import ports_of_service
    from hostfw.quick.services import is_service
    from hostfw.quick.slips import words_meant

    if action is None or not words or not all(is_plain([w]) or is_service(w, ports_of_service) for w in words):
        return ""
    said = words if is_rule(action, words) else words_meant(action, words, ports_of_service)
    if said is None:
        return ""
    verb = action.lower()
    return f"`hostfwctl {'remove ' if removed else ''}{verb} {shlex.join(said)}{' --dry-run' if dry else ''}`"


def is_rule(action: Action, words: Sequence[str]) -> bool:
    """True for the words of a quick rule, as they are."""
    from hostfw.host.network.sockets.service_names import ports_of_service
    from hostfw.quick.requests import RequestError
    from hostfw.quick.words import parse_words

    try:
        parse_words(action, words, ports_of_service)
    except RequestError:
        return False
    return True


def is_plain(words: Sequence[str]) -> bool:
    """True for words that a shell takes as they are."""
    return all(map(_WORD.match, words))


def is_address(word: str) -> bool:
    """True for an address or a prefix."""
    from hostfw.manifest.scalars.net_texts import given_cidr

    return all(given_cidr(part) is not None for part in word.split(","))
