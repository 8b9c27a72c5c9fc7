"""Evaluation steps in words: each step, the trace of all of them, and the documents of both."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from hostfw.audit.log_prefix import LogTag
from hostfw.cli.describe.rules import criterion_text
from hostfw.cli.output.documents import Document
from hostfw.model.packets.decisions import OF_LIMITS, PolicyClass, Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.plan import PlannedRule, RuleIdentity, title_of
from hostfw.model.values import Action

Rules = Mapping[RuleIdentity, PlannedRule]
Row = tuple[str, str, str]
"""A criterion, its result, and its place in a file."""

_POLICIES_SHOWN = 12
"""Of the policies that said nothing, the last so many are in a short trace."""

_CLASSES = {
    PolicyClass.UNTRACKED: ", doNotTrack policy",
    PolicyClass.PRE_DNAT: ", preDNAT policy",
    PolicyClass.NORMAL: "",
    PolicyClass.FORWARD: ", applyOnForward policy",
}


def step_text(step: Step) -> str:
    """Describe a step, in the words of log records."""
    if step.reason is Reason.FAILSAFE:
        reply = " reply" if step.reply else ""
        return f"failsafe {step.failsafe}{reply} ({step.direction})"
    if step.failsafe and step.reason is Reason.TO_HOST:
        return f"workloads.toHost {step.failsafe} ({step.direction})"
    index = None if step.rule is None else step.rule.index
    action = Action.DENY if step.action is None or step.reason in OF_LIMITS else step.action
    return str(LogTag(action, step.direction, step.reason, step.tier, step.policy, index))


def trace(steps: Sequence[Step], rules: Rules, *, whole: bool) -> Iterator[str | Row]:
    """A heading for each place that the packet came to, and the rows of what it met there.

    Shortened, each policy has a row; whole, each rule.
    """
    for (interface, direction, endpoint, policy_class), group in groupby(steps, key=_place):
        governed = title_of(endpoint) if endpoint else "no HostEndpoint"
        yield f"{interface} {direction}, {governed}{_CLASSES[policy_class]}"
        met = list(group)
        yield from _whole(met, rules) if whole else _short(met)


def step_document(step: Step) -> Document:
    """A step for programs. What does not apply is null."""
    rule = step.rule
    return {
        "verdict": step.verdict.value,
        "reason": step.reason.value,
        "text": step_text(step),
        "interface": step.interface,
        "direction": step.direction.value,
        "class": step.policy_class.value,
        "endpoint": step.endpoint,
        "tier": step.tier or None,
        "kind": rule.kind if rule else None,
        "policy": step.policy or None,
        "rule": rule.index if rule else None,
        "action": step.action.value if step.action else None,
        "staged": step.staged,
        "beforeFailsafes": step.before_failsafes,
        "matched": step.matched,
        "missed": step.missed or None,
        "failsafe": str(step.failsafe) if step.failsafe else None,
        "path": step.position.path or None,
        "line": step.position.line or None,
        **({"unrecorded": True} if step.unrecorded else {}),
        **({"limitPerSource": step.limit.by_field} if step.limit else {}),
    }


def _place(step: Step) -> tuple[str, str, str | None, PolicyClass]:
    return step.interface, step.direction, step.endpoint, step.policy_class


def _policy(step: Step) -> tuple[Reason, str, str, bool]:
    return step.reason, step.tier, step.policy, step.staged


def _whole(steps: Iterable[Step], rules: Rules) -> Iterator[Row]:
    for step in steps:
        if step.rule is None:
            yield _other(step)
            continue
        outcome = f"matches{_consequence(step)}"
        if step.missed:
            rule = rules.get(step.rule)
            outcome = f"no match: {criterion_text(rule, step.missed, whole=True) if rule else step.missed}"
        yield f"{_name(step)} [{step.rule.index}] {step.action}", outcome, step.position.file_line


def _short(steps: Sequence[Step]) -> Iterator[Row]:
    policies = [list(group) for _, group in groupby(steps, key=_policy)]
    silent = [number for number, group in enumerate(policies) if all(step.missed for step in group)]
    left_out = set(silent[:-_POLICIES_SHOWN])
    if left_out:
        yield f"{len(left_out)} policies", "no rule matches", "-v shows them"
    for number, group in enumerate(policies):
        if number not in left_out:
            yield from _short_policy(group)


def _short_policy(steps: Sequence[Step]) -> Iterator[Row]:
    matched = [step for step in steps if step.matched]
    for step in matched:
        if step.rule is None:
            yield _other(step)
        else:
            yield _name(step), f"[{step.rule.index}] {step.action}{_consequence(step)}", step.position.file_line
    if not matched:
        criteria = ", ".join(dict.fromkeys(step.missed for step in steps))
        yield _name(steps[0]), f"no rule matches: {criteria}", ""


def _name(step: Step) -> str:
    first = " (before failsafes)" if step.before_failsafes else ""
    return f"{step.tier or 'profile'}/{step.policy}{' (staged)' if step.staged else ''}{first}"


def _consequence(step: Step) -> str:
    """The consequence of a rule that matched without deciding."""
    if step.action is Action.LOG:
        return ", and on"
    if step.limit is not None and step.matched:
        beyond = "beyond" if step.reason in OF_LIMITS else "up to"
        denied = ": denied" if step.reason in OF_LIMITS else ""
        limit = f" {beyond} {' and '.join(step.limit.parts)} from one source{denied}"
        return f"{limit}, were it not staged" if step.staged else limit
    if step.staged:
        return ", were it not staged"
    if step.unrecorded:
        return ", not logged"
    if step.action is Action.PASS:
        return ", on to the next tier" if step.tier else ", on to the next profile"
    return ""


def _other(step: Step) -> Row:
    """A step that no policy rule is behind."""
    if step.reason is Reason.END_OF_TIER:
        return f"end of tier {step.tier}", str(step.action), ""
    if step.failsafe and step.reason is Reason.TO_HOST:
        return f"workloads.toHost {step.failsafe}", _VERDICTS[step.verdict], ""
    what = f"failsafe {step.failsafe}" if step.failsafe else _WORDS.get(step.reason, step.reason.value)
    return what, _VERDICTS[step.verdict], ""


_VERDICTS = {
    StepVerdict.ALLOW: "Allow",
    StepVerdict.DENY: "Deny",
    StepVerdict.NEXT: "exempt from the policy of this class",
}
_WORDS = {
    Reason.ESTABLISHED: "belongs to what is established",
    Reason.LOOPBACK: "what the host says to itself on lo",
    Reason.NEIGHBOUR_DISCOVERY: "neighbour discovery, multicast membership",
    Reason.MULTICAST_ANSWER: "answers a question to multicast (multicastAnswers)",
    Reason.INVALID: "invalid for connection tracking",
    Reason.NO_PROFILE_MATCH: "nothing decided",
    Reason.NO_POLICY: "no policy of the direction selects the HostEndpoint",
    Reason.UNMANAGED: "unmanagedInterfaces",
    Reason.NO_FORWARD_POLICY: "no applyOnForward policy decided",
    Reason.REVERSE_PATH: "no route leads back to its source (reversePathFilter)",
    Reason.SPOOFED: "from an address that is not the workload's",
    Reason.TO_HOST: "from a workload to this host",
    Reason.UNIDENTIFIED: "no WorkloadEndpoint names the interface",
}
