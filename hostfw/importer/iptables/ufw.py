"""Reader of the files of ufw, without a ufw that runs: its settings, and the rules that it loads (ufw-framework(8))."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hostfw.importer.iptables.save import read_iptables
from hostfw.importer.notes import Note
from hostfw.importer.reading import Reading
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from hostfw.model.values import FAMILIES, Family

DEFAULTS = "etc/default/ufw"
SETTINGS = "etc/ufw/ufw.conf"
RULES = {
    Family.V4: ("etc/ufw/before.rules", "etc/ufw/after.rules", "etc/ufw/user.rules"),
    Family.V6: ("etc/ufw/before6.rules", "etc/ufw/after6.rules", "etc/ufw/user6.rules"),
}
"""The files of rules in the order in which ufw loads them."""
FILES = (DEFAULTS, SETTINGS, *RULES[Family.V4], *RULES[Family.V6])

_ASSIGNMENT = re.compile(r"""\s*(?P<name>[A-Z0-9_]+)=(?P<quote>["']?)(?P<value>[^"'#]*)(?P=quote)""")
_HOOKS = ("input", "output", "forward")
_PLACES = ("before-logging", "before", "after", "after-logging", "reject", "track")
"""The chains of each hook, in the order in which packets meet them."""
_USUAL = {"INPUT": "DROP", "OUTPUT": "ACCEPT", "FORWARD": "DROP"}
_POLICIES = ("ACCEPT", "DROP", "REJECT")
_CLOSED = (
    "*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT DROP\n-A INPUT -i lo -j ACCEPT\n-A OUTPUT -o lo -j ACCEPT\nCOMMIT\n"
)
"""The rules for IPv6 where ufw is told to leave it alone, which closes it."""


def read_ufw(files: Mapping[str, Source]) -> tuple[Reading, ...]:
    """The rules of both families, from the files by their names of `FILES`. Problems refuse the whole.

    The chains around them are those that ufw sets up itself, by the policies of its settings.
    """
    settings = dict(_assignments(files))
    problems: list[Problem] = []
    policies = {hook: _policy(settings, hook, problems) for hook in _USUAL}
    given: list[tuple[Family, list[Source]]] = []
    notes = list(_on_settings(files, settings))
    for family in FAMILIES:
        if family is Family.V6 and settings.get("IPV6", (None, "yes"))[1].lower() != "yes":
            given.append((family, [Source(_name(files, DEFAULTS), _CLOSED)]))
            continue
        missing = [name for name in RULES[family] if name not in files]
        problems += (
            Problem(
                Position(name, 1, 1),
                "the file is not there",
                "the files of ufw, as in /etc/ufw",
                "name the directory that has etc/ufw with --root; of a running ufw, `hostfwctl import iptables-save`",
            )
            for name in missing
        )
        before, after, user = (files.get(name, Source(name, "")) for name in RULES[family])
        around = [_around(family, part, policies) for part in ("first", "user", "last")]
        given.append((family, [around[0], before, after, around[1], user, around[2]]))
    first, *others = read_iptables(given)
    return (
        replace(first, notes=(*notes, *first.notes), problems=(*problems, *first.problems)),
        *others,
    )


def _name(files: Mapping[str, Source], name: str) -> str:
    return files[name].path if name in files else name


def _assignments(files: Mapping[str, Source]) -> Iterator[tuple[str, tuple[Position, str]]]:
    """The settings of the shell files, the later file after the earlier one."""
    for name in (DEFAULTS, SETTINGS):
        source = files.get(name)
        for number, line in enumerate(source.text.split("\n") if source is not None else (), 1):
            found = _ASSIGNMENT.match(line)
            if found is not None and source is not None:
                yield found["name"], (Position(source.path, number, 1), found["value"].strip())


def _policy(settings: Mapping[str, tuple[Position, str]], hook: str, problems: list[Problem]) -> str:
    position, policy = settings.get(f"DEFAULT_{hook}_POLICY", (Position(DEFAULTS, 1, 1), _USUAL[hook]))
    if policy not in _POLICIES:
        problems.append(Problem(position, f"{policy} is not a policy of ufw", ", ".join(_POLICIES)))
        return "DROP"
    return policy


def _on_settings(files: Mapping[str, Source], settings: Mapping[str, tuple[Position, str]]) -> Iterator[Note]:
    position, enabled = settings.get("ENABLED", (Position(_name(files, SETTINGS), 1, 1), "no"))
    if enabled.lower() != "yes":
        yield Note(position, "ufw is not enabled: what is read here is not in force")
    if DEFAULTS not in files:
        yield Note(
            Position(DEFAULTS, 1, 1), "the file is not there: the policies of ufw are taken as Debian ships them"
        )
    if settings.get("IPV6", (None, "yes"))[1].lower() != "yes":
        yield Note(settings["IPV6"][0], "IPv6 is closed, as ufw closes it with IPV6=no")
    ended = settings.get("MANAGE_BUILTINS")
    if ended is not None and ended[1].lower() == "yes":
        yield Note(
            ended[0], "ufw empties the chains of other programs at its start (MANAGE_BUILTINS); hostfw never does"
        )


def _around(family: Family, part: str, policies: Mapping[str, str]) -> Source:
    """The chains that ufw sets up itself: before its files of rules are loaded, before the user's, and at the end."""
    prefix = "ufw" if family is Family.V4 else "ufw6"
    lines = ["*filter"]
    if part == "first":
        lines += (f":{prefix}-{place}-{hook} -" for place in _PLACES for hook in _HOOKS)
        lines += (f":{prefix}-logging-{what} -" for what in ("deny", "allow"))
        lines += (f"-A {hook.upper()} -j {prefix}-{place}-{hook}" for hook in _HOOKS for place in _PLACES)
        for hook in _HOOKS:
            policy = policies[hook.upper()]
            lines += (f":{prefix}-skip-to-policy-{hook} -", f"-A {prefix}-skip-to-policy-{hook} -j {policy}")
            if policy == "REJECT":
                lines.append(f"-A {prefix}-reject-{hook} -j REJECT")
            if policy == "ACCEPT":
                begun = f"-A {prefix}-track-{hook} -p {{}} -m conntrack --ctstate NEW -j ACCEPT"
                lines += (begun.format("tcp"), begun.format("udp"))
    elif part == "user":
        lines += (f":{prefix}-user-{hook} -" for hook in _HOOKS)
        lines += (f":{prefix}-user-logging-{hook} -" for hook in _HOOKS)
        lines += (f":{prefix}-user-{what} -" for what in ("limit", "limit-accept"))
    else:
        lines += (f"-A {prefix}-before-{hook} -j {prefix}-user-{hook}" for hook in _HOOKS)
        ends = {hook: "ACCEPT" if policy == "ACCEPT" else "DROP" for hook, policy in policies.items()}
        lines += (f":{hook} {end}" for hook, end in ends.items())
    return Source("ufw-init", "\n".join((*lines, "COMMIT", "")))
