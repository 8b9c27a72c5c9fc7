"""Reader of the rules that `iptables-save` and `ip6tables-save` print, and `iptables-restore` reads."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from hostfw.importer.conditions import Interfaces
from hostfw.importer.iptables.matches import read_rule
from hostfw.importer.notes import Note
from hostfw.importer.reading import PROGRAMS, Reading, loops, notes_on
from hostfw.importer.rule_set import Continue, ForeignRule, ForeignRules, Hook, Jump, Return, Stage, Target, Verdict
from hostfw.importer.source_limits import with_limits
from hostfw.importer.special_addresses import ROUTED_KINDS, without_kinds_elsewhere
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, in_order
from hostfw.model.sources import Source
from hostfw.model.values import Family

_ENDS = {"ACCEPT": Verdict.ALLOW, "DROP": Verdict.DENY}
_TARGETS: Mapping[str, Target] = {
    "ACCEPT": Verdict.ALLOW,
    "DROP": Verdict.DENY,
    "REJECT": Verdict.DENY,
    "RETURN": Return(),
    **dict.fromkeys(
        ("LOG", "NFLOG", "ULOG", "TRACE", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "AUDIT"), Continue()
    ),
}


class _Line(NamedTuple):
    """A rule of a chain: its words behind the name of the chain, and its place there, counted from 1, if it has one."""

    position: Position
    text: str
    chain: str
    words: list[str]
    place: int | None = None


@dataclass(slots=True)
class _Lines:
    """The table filter while it is read, and how many rules the others have."""

    path: str
    table: str = ""
    ends: dict[str, Verdict] = field(default_factory=dict)
    declared: dict[str, Position] = field(default_factory=dict)
    rules: list[_Line] = field(default_factory=list)
    elsewhere: dict[str, list[Position]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        at = Position(self.path, number, 1)
        text = line.strip()
        if not text or text.startswith("#") or text == "COMMIT":
            return
        if text.startswith("*"):
            self.table = text[1:].strip()
            return
        text = text.partition("] ")[2] if text.startswith("[") else text
        try:
            words = shlex.split(text)
        except ValueError as error:
            self.problems.append(Problem(at, f"the line cannot be read: {error}", "quotes in pairs"))
            return
        if not words:
            return
        if not self.table:
            self.problems.append(
                Problem(
                    at, "a rule before any table", "a line such as *filter first", "give the output of iptables-save"
                )
            )
        elif self.table != "filter":
            if words[0] in ("-A", "--append", "-I", "--insert"):
                self.elsewhere.setdefault(self.table, []).append(at)
        elif words[0].startswith(":"):
            self._declare(at, words)
        elif words[0] in ("-A", "--append") and len(words) > 1:
            self.rules.append(_Line(at, text, words[1], words[2:]))
        elif words[0] in ("-I", "--insert") and len(words) > 1:
            numbered = len(words) > 2 and words[2].isdecimal()
            self.rules.append(
                _Line(at, text, words[1], words[3:] if numbered else words[2:], int(words[2]) if numbered else 1)
            )
        else:
            self.problems.append(
                Problem(
                    at,
                    f"{words[0]} is not read",
                    "a chain (:NAME) or a rule (-A NAME, -I NAME)",
                    "give the output of iptables-save",
                )
            )

    def _declare(self, at: Position, words: list[str]) -> None:
        name = words[0][1:]
        self.declared[name] = at
        if name in tuple(Hook) and len(words) > 1:
            if words[1] in _ENDS:
                self.ends[name] = _ENDS[words[1]]
            elif words[1] != "-":
                self.problems.append(Problem(at, f"{words[1]} is not a policy of a chain", "ACCEPT or DROP"))


def read_iptables(given: Sequence[tuple[Family, Sequence[Source]]]) -> tuple[Reading, ...]:
    """The table filter of each family. What policy cannot say is in it, with the reason; problems refuse the whole.

    Of several sources of a family the later rules come after the earlier ones in each chain, as ufw loads its files; a
    chain that a later source declares anew begins anew (`iptables-restore --noflush`).
    Interfaces are told apart as the rules of any of the families do.
    """
    read = [(family, [_lines_of(source) for source in sources]) for family, sources in given]
    interfaces = Interfaces.told_apart_by(
        pattern for _, files in read for lines in files for line in lines.rules for pattern in _patterns(line.words)
    )
    return tuple(_reading(family, files, interfaces) for family, files in read)


def _lines_of(source: Source) -> _Lines:
    lines = _Lines(source.path)
    for number, line in enumerate(source.text.split("\n"), 1):
        lines.take(number, line)
    return lines


def _reading(family: Family, files: Sequence[_Lines], interfaces: Interfaces) -> Reading:
    declared = {name for lines in files for name in lines.declared} | set(Hook)
    chains: dict[str, list[ForeignRule]] = {}
    problems = [problem for lines in files for problem in lines.problems]
    for lines in files:
        for name in set(lines.declared) - set(Hook):
            chains.pop(name, None)
        for line in lines.rules:
            found = _rule(line, family, interfaces, declared)
            if isinstance(found, Problem):
                problems.append(found)
            elif line.place is None:
                chains.setdefault(line.chain, []).append(found)
            else:
                chains.setdefault(line.chain, []).insert(line.place - 1, found)
    ends: dict[Hook, Verdict] = dict.fromkeys(Hook, Verdict.ALLOW)
    for lines in files:
        ends |= {Hook(name): end for name, end in lines.ends.items()}
    stages = {hook: (Stage(hook, end),) for hook, end in ends.items()}
    rules = ForeignRules(family, {name: tuple(listed) for name, listed in chains.items()}, stages, interfaces)
    problems += loops(rules)
    rules = with_limits(without_kinds_elsewhere(rules))
    return Reading(rules, tuple(_notes(files, rules)), in_order(problems))


def _patterns(words: list[str]) -> Iterator[str]:
    for option, value in pairwise(words):
        if option in ("-i", "--in-interface", "-o", "--out-interface"):
            yield value


def _rule(line: _Line, family: Family, interfaces: Interfaces, declared: set[str]) -> ForeignRule | Problem:
    try:
        read = read_rule(line.words, family, interfaces)
    except ValueError as error:
        return Problem(line.position, str(error), "a rule as iptables-save prints it")
    kinds = [value for option, value in pairwise(line.words) if option == "--dst-type"]
    by_kind = not ROUTED_KINDS.isdisjoint(kind for value in kinds for kind in value.split(","))
    rule = ForeignRule(line.position, line.text, read.condition, Continue(), read.unsaid, by_kind, read.bound)
    return _with_target(rule, read.target, declared, goto=read.goto)


def _with_target(rule: ForeignRule, target: str, declared: set[str], *, goto: bool) -> ForeignRule | Problem:
    if not target:
        # It counts, or remembers an address: it decides nothing.
        return replace(rule, unsaid="", bound=None)
    if target.startswith(PROGRAMS):
        # Their rules are in tables of iptables, which stay, and which they fill by themselves.
        return replace(rule, target=Continue(), bound=None)
    if target in _TARGETS:
        found = _TARGETS[target]
        # What decides nothing does no harm if it cannot be said.
        harmless = replace(rule, unsaid="", bound=None)
        return harmless if isinstance(found, Continue) else replace(rule, target=found)
    if target in declared:
        return replace(rule, target=Jump(target, goto))
    if not target.isupper():
        return Problem(rule.position, f"there is no chain {target}", "a chain that a line :NAME declares")
    return replace(rule, unsaid=rule.unsaid or f"the target {target}")


def _notes(lines: Iterable[_Lines], rules: ForeignRules) -> Iterator[Note]:
    """Tell what is not in the result: rules that cannot be said, other tables, chains of other programs, rejects."""
    for one in lines:
        for table, places in one.elsewhere.items():
            yield Note(
                places[0], f"{len(places)} rules of table {table} stay as they are: hostfw filters, and does no more"
            )
    yield from notes_on(rules)
