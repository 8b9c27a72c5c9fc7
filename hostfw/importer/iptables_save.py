"""Reader of the rules that `iptables-save` and `ip6tables-save` print, and `iptables-restore` reads."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hostfw.importer.conditions import Interfaces
from hostfw.importer.iptables_matches import Unsaid, condition_of
from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Continue, ForeignRule, ForeignRules, Hook, Jump, Return, Target, Verdict
from hostfw.model.packet import ConntrackState
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, in_order
from hostfw.model.sources import Source
from hostfw.model.values import Family

PROGRAMS = ("DOCKER", "LIBVIRT_", "NETAVARK", "CNI-", "KUBE-", "cali-", "f2b-")
"""Beginnings of the chains of programs that set up their rules by themselves, and go on doing so."""

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
_FOLLOWED = frozenset((ConntrackState.ESTABLISHED, ConntrackState.RELATED))


@dataclass(frozen=True, slots=True)
class Reading:
    """A source as it was understood: its rules, what to say of it, and what is wrong with it."""

    rules: ForeignRules
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Lines:
    """The table filter while it is read, and how many rules the others have."""

    path: str
    table: str = ""
    ends: dict[str, Verdict] = field(default_factory=dict)
    declared: dict[str, Position] = field(default_factory=dict)
    rules: list[tuple[Position, str, list[str]]] = field(default_factory=list)
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
            self.rules.append((at, text, words[1:]))
        else:
            self.problems.append(
                Problem(
                    at,
                    f"{words[0]} is not read",
                    "a chain (:NAME) or a rule (-A NAME)",
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
                self.problems.append(Problem(at, f"{words[1]} is no policy of a chain", "ACCEPT or DROP"))


def read_iptables(given: Sequence[tuple[Family, Sequence[Source]]]) -> tuple[Reading, ...]:
    """The table filter of each family. What policy cannot say is in it, with the reason; problems refuse the whole.

    Of several sources of a family the later rules come after the earlier ones in each chain, as ufw loads its files.
    Interfaces are told apart as the rules of any of the families do.
    """
    read = [(family, [_lines_of(source) for source in sources]) for family, sources in given]
    interfaces = Interfaces.told_apart_by(
        pattern for _, files in read for lines in files for *_, words in lines.rules for pattern in _patterns(words)
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
    for position, text, words in (rule for lines in files for rule in lines.rules):
        found = _rule(position, text, words[1:], family, interfaces, declared)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            chains.setdefault(words[0], []).append(found)
    ends: dict[Hook, Verdict] = dict.fromkeys(Hook, Verdict.ALLOW)
    for lines in files:
        ends |= {Hook(name): end for name, end in lines.ends.items()}
    rules = ForeignRules(family, {name: tuple(listed) for name, listed in chains.items()}, ends, interfaces)
    problems += _loops(rules)
    return Reading(rules, tuple(_notes(files, rules)), in_order(problems))


def _patterns(words: list[str]) -> Iterator[str]:
    for option, value in pairwise(words):
        if option in ("-i", "--in-interface", "-o", "--out-interface"):
            yield value


def _rule(
    position: Position, text: str, words: list[str], family: Family, interfaces: Interfaces, declared: set[str]
) -> ForeignRule | Problem:
    try:
        condition, target, goto = condition_of(words, family, interfaces)
    except ValueError as error:
        return Problem(position, str(error), "a rule as iptables-save prints it")
    known, unsaid = condition if isinstance(condition, Unsaid) else (condition, "")
    return _with_target(ForeignRule(position, text, known, Continue(), unsaid), target, declared, goto=goto)


def _with_target(rule: ForeignRule, target: str, declared: set[str], *, goto: bool) -> ForeignRule | Problem:
    if not target:
        return rule
    if target.startswith(PROGRAMS):
        # Their rules are in tables of iptables, which stay, and which they fill by themselves.
        return replace(rule, target=Continue())
    if target in _TARGETS:
        found = _TARGETS[target]
        # What decides nothing does no harm if it cannot be said.
        return replace(rule, target=found, unsaid="" if isinstance(found, Continue) else rule.unsaid)
    if target in declared:
        return replace(rule, target=Jump(target, goto))
    if not target.isupper():
        return Problem(rule.position, f"there is no chain {target}", "a chain that a line :NAME declares")
    return replace(rule, unsaid=rule.unsaid or f"the target {target}")


def _loops(rules: ForeignRules) -> Iterator[Problem]:
    """Chains that lead back to themselves, which the kernel refuses."""
    done: set[str] = set()

    def visit(chain: str, above: tuple[str, ...]) -> Iterator[Problem]:
        for rule in rules.chains.get(chain, ()):
            if isinstance(rule.target, Jump):
                name = rule.target.chain
                if name in (*above, chain):
                    yield Problem(rule.position, f"the chain {name} leads back to itself", "chains without a loop")
                elif name not in done:
                    yield from visit(name, (*above, chain))
        done.add(chain)

    for chain in rules.chains:
        if chain not in done:
            yield from visit(chain, ())


def _notes(lines: Iterable[_Lines], rules: ForeignRules) -> Iterator[Note]:
    """Tell what is not in the result: rules that cannot be said, other tables, chains of other programs, rejects."""
    for one in lines:
        for table, places in one.elsewhere.items():
            yield Note(
                places[0], f"{len(places)} rules of table {table} stay as they are: hostfw filters, and does no more"
            )
    others: dict[str, Position] = {}
    for name, listed in rules.chains.items():
        for rule in listed:
            program = next((begin for begin in PROGRAMS if name.startswith(begin)), "")
            if program:
                others.setdefault(program, rule.position)
            elif rule.unsaid:
                yield Note(rule.position, _unsaid_text(rule))
            elif rule.target is Verdict.DENY and rule.condition.states <= _FOLLOWED:
                yield Note(
                    rule.position, f"connections that are there go on in hostfw, whatever a rule says ({rule.text})"
                )
    rejecting = next((rule for listed in rules.chains.values() for rule in listed if "-j REJECT" in rule.text), None)
    if rejecting is not None:
        yield Note(rejecting.position, "what is rejected is dropped, unless hostfw.yaml says denyAction: reject")
    for program, position in others.items():
        yield Note(position, f"chains {program.rstrip('-_')}* belong to another program, which goes on filling them")


def _unsaid_text(rule: ForeignRule) -> str:
    match rule.target:
        case Verdict.DENY:
            result = "what it denies is not denied by it any more"
        case Verdict.ALLOW:
            result = "what it allows is not allowed by it any more"
        case _:
            result = "it is left out"
    return f"policy cannot say {rule.unsaid}: {result} ({rule.text})"
