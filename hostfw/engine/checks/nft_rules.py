"""NftRules before they come into force: what nft makes of each rule, and what nobody can foretell of them.

A rule is tried in a chain of its hook in a dormant table, which no packet meets, and which is deleted again: with
`nft -c` the kernel does not look at whether a statement may stand at a hook (Linux 6.18, `masquerade` at input).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.model.kinds.nft_rules import NftHook, NftRule, NftRules
from hostfw.model.plan import Plan
from hostfw.model.problems import Problem, in_order
from hostfw.model.settings import LockoutCheck
from hostfw.model.values import Family

_TABLE = "hostfw-check"
_PRIORITY = {NftHook.PREROUTING: -150, NftHook.POSTROUTING: -150}
"""The priority of the base chains at these hooks that have NftRules; elsewhere it is 0."""
_ERROR = re.compile(r"^(\d+):(\d+)-\d+: Error: (.*)$", re.MULTILINE)
_BY_KERNEL = "Could not process rule"
_DENYING = frozenset(("drop", "reject", "queue"))
_OTHER = {Family.V4: Family.V6, Family.V6: Family.V4}

_MOST_ROUNDS = 100
"""Times that nft is asked for more errors; it says ten at a time, and the kernel one of each table."""

_Line = tuple[str, tuple[NftRules, NftRule, Family] | None]
"""A line of a script, and the rule that is its end, with where that comes from and the family of the table."""


def refused_by_nft(built: Generation, before: Before, nftables: Nftables) -> Refused | None:
    """The refusal of a generation with rules that nft or the kernel does not take; None if it takes all.

    Those of the last generation were taken then. Raises HostError.
    """
    found = built.plan.nft_rules
    if not found or (before.last is not None and before.last.plan.nft_rules == found):
        return None
    problems = tuple(_problems(found, nftables))
    return Refused(in_order((*built.warnings, *problems))) if problems else None


_TRY = "try it with --confirm-within 2m; "


def refusal_of_denials(
    built: Generation, before: Before, *, accepted: bool, on_trial: bool = False, way_to_try: str = _TRY
) -> Failed | None:
    """The refusal of rules that may cut the host off and were not there before; None if it may be done.

    Which packets they meet is for the kernel alone to know, so they need a trial, or to be `accepted`.
    Raises HostError.
    """
    if accepted or on_trial or built.plan.settings.lockout_check is not LockoutCheck.REFUSE:
        return None
    denying = list(_denials(built.plan))
    if not denying:
        return None
    earlier = before.accepted()
    known = set() if earlier is None else {key for key, _ in _denials(earlier)}
    new = [rule for key, rule in denying if key not in known]
    if not new:
        return None
    more = tuple(f"so may the rule at {rule.position.file_line}" for rule in new[1:])
    rest = f" (and {len(more)} more; -v lists them)" if more else ""
    return Failed(
        f'the nft rule "{new[0].text}" ({new[0].position.file_line}) may cut the host off: hostfw does not know '
        f"what it matches{rest}",
        f"{way_to_try}to do it anyway, add --accept-lockout",
        more=more,
    )


def _denials(plan: Plan) -> Iterator[tuple[tuple[NftHook, tuple[Family, ...], str], NftRule]]:
    for one in plan.nft_rules:
        for rule in one.rules:
            if not _DENYING.isdisjoint(rule.verdicts):
                yield (one.hook, one.families, rule.text), rule


def _problems(found: Iterable[NftRules], nftables: Nftables) -> Iterator[Problem]:
    """The problems of rules that nft or the kernel does not take, once for both families."""
    refusals: list[_Refusal] = []
    for _ in range(_MOST_ROUNDS):
        # nft looks at the syntax of all first, then at what each means, and the kernel comes last.
        of_these = _refusals(_tried(found, refusals), nftables)
        if not of_these:
            break
        refusals += of_these
    refused_in = {(id(one.rule), one.family) for one in refusals}
    said: set[tuple[int, str]] = set()
    for one in refusals:
        if (id(one.rule), one.message) in said:
            continue
        said.add((id(one.rule), one.message))
        other = _OTHER[one.family]
        takes = other in one.families and (id(one.rule), other) not in refused_in
        yield Problem(
            one.rule.position,
            f'nft refuses the rule "{one.rule.text}": {one.message} (at "{one.word}")',
            "a rule as nft(8) has it",
            f"if it is for IPv{other.value} alone, say ipVersion: {other.value}" if takes else "",
        )


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A rule that nft does not take in the table of a family, its message, and the word of the rule that it names."""

    rule: NftRule
    family: Family
    families: tuple[Family, ...]
    message: str
    word: str


def _tried(found: Iterable[NftRules], refusals: Iterable[_Refusal]) -> list[_Line]:
    """The lines of the script that adds the rules, without those that are refused already."""
    refused = {(id(one.rule), one.family) for one in refusals}
    lines: list[_Line] = []
    chains: set[tuple[Family, NftHook]] = set()
    for one in found:
        for family in one.families:
            if (family, one.hook) not in chains:
                chains.add((family, one.hook))
                declared = f"{{ type filter hook {one.hook} priority {_PRIORITY.get(one.hook, 0)}; }}"
                lines.append((f"add table {family.nft} {_TABLE} {{ flags dormant; }}", None))
                lines.append((f"add chain {family.nft} {_TABLE} {one.hook} {declared}", None))
            beginning = f"add rule {family.nft} {_TABLE} {one.hook} "
            lines += ((beginning, (one, rule, family)) for rule in one.rules if (id(rule), family) not in refused)
    return lines


def _refusals(lines: list[_Line], nftables: Nftables) -> list[_Refusal]:
    """The rules of a script that nft names in its errors. Raises HostError if it names none."""
    texts = (f"{beginning}{'' if added is None else added[1].text}\n" for beginning, added in lines)
    answer = nftables.commit("".join(texts))
    if answer.ok:
        _forget(lines, nftables)
        return []
    found: dict[int, _Refusal] = {}
    by_kernel: set[Family] = set()
    for number, column, message in _ERROR.findall(answer.error):
        at = int(number) - 1
        beginning, added = lines[at] if at < len(lines) else ("", None)
        if added is not None and at not in found:
            one, rule, family = added
            if message.startswith(_BY_KERNEL):
                # It refuses whatever is added to the table after the first.
                if family in by_kernel:
                    continue
                by_kernel.add(family)
            word = rule.text[max(int(column) - 1 - len(beginning), 0) :].split(" ", 1)[0]
            found[at] = _Refusal(rule, family, one.families, message, word)
    if not found:
        first = answer.error.splitlines()[0] if answer.error else "no reason was given"
        raise HostError(f"nft could not check the rules of NftRules: {first}")
    return list(found.values())


def _forget(lines: list[_Line], nftables: Nftables) -> None:
    """Delete the tables in which rules were tried. Raises HostError."""
    tables = dict.fromkeys(command.split(" {")[0] for command, _ in lines if command.startswith("add table "))
    answer = nftables.commit("".join(f"{table.replace('add', 'delete', 1)}\n" for table in tables))
    if not answer.ok:
        raise HostError(
            f"the table {_TABLE}, in which rules were tried, cannot be deleted", answer.error.split("\n")[0]
        )
