"""A story shown: its laboratory stands, its configuration is in force, its flows are tried, and each says what decided.

A denial is proved twice: no answer came, and the denied packet's own log record names what denied it. An allowed flow
names the counters that moved as it passed; what is open for want of any rule (`unmanaged-interface`, `loopback`,
`no-forward-policy`, `workloads.toHost`) moves none.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hostfw.audit.packet_event import PacketEvent
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import run
from lab.packets.packet_records import DropLog, counters, counters_that_decide, drop_log, moved
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Outcome, Verdict, control, probe
from lab.stories.flows import ExpectedFlow, Story

UNCOUNTED = ("unmanaged-interface", "loopback", "no-forward-policy", "workloads.toHost")
"""Reasons that let packets through without a counter of their own."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A flow of a story: what was expected, what was seen, and what decided (empty: nothing says).

    `record` is the audit record of a denial.
    """

    expected: ExpectedFlow
    verdict: Verdict
    decided: str
    record: PacketEvent | None = None

    def __str__(self) -> str:
        wanted = f"{'allow' if self.expected.allowed else 'deny'} by {self.expected.by}"
        return f"{self.expected.flow}: {self.verdict} by {self.decided or 'nothing that says so'}, expected {wanted}"

    @property
    def as_expected(self) -> bool:
        """True if the verdict is the expected one and nothing else than expected decided it."""
        if self.expected.allowed:
            silent = not self.decided and self.expected.by.startswith(UNCOUNTED)
            return self.verdict is Verdict.ALLOWED and (silent or self.decided == self.expected.by)
        denied = self.verdict in (Verdict.DROPPED, Verdict.REJECTED)
        return denied and self.decided == self.expected.by


@contextmanager
def in_force(story: Story, directory: Path, foreign: str = "") -> Iterator[tuple[Lab, Installation]]:
    """The story's laboratory with its configuration applied on the host; `directory` is for hostfw's own files.

    `foreign` are nft commands of another program, which the host has from the start. Every flow has passed before
    without a ruleset. Raises LabError with hostfwctl's words if it refuses.
    """
    with laboratory(story.topology) as lab:
        run(lab[story.host], ["nft", "-f", "-"], text=foreign)
        control(lab, (expected.flow for expected in story.flows))
        installation = install(lab[story.host], directory)
        if story.configuration.is_dir():
            shutil.copytree(story.configuration, installation.config, dirs_exist_ok=True, copy_function=shutil.copyfile)
        # The name servers that hostfwctl finds in /etc are this machine's, and none of the node's.
        hostfwctl(installation, "apply", "--accept-lockout")
        yield lab, installation


def show(story: Story, lab: Lab, installation: Installation) -> tuple[Shown, ...]:
    """Try every flow of a story in force, in the story's order.

    Those that are to pass go one after the other, so that what moves is theirs; the others all at the same time.
    """
    with drop_log(installation) as log:
        allowed = dict(_pass_one_by_one(lab, installation, (e for e in story.flows if e.allowed), log))
        denied = dict(_try_together(lab, [e for e in story.flows if not e.allowed], log))
    return tuple((allowed | denied)[expected] for expected in story.flows)


def _pass_one_by_one(
    lab: Lab, installation: Installation, flows: Iterable[ExpectedFlow], log: DropLog
) -> Iterator[tuple[ExpectedFlow, Shown]]:
    deciders = counters_that_decide(installation)
    before = counters(installation.node)
    for expected in flows:
        outcome = _try_to_pass(lab, expected.flow, log)
        after = counters(installation.node)
        passed = outcome.verdict is Verdict.ALLOWED
        record = None if passed else log.record(outcome.sent)
        decided = moved(before, after, deciders, expected.flow.family) if passed else _denier(record)
        yield expected, Shown(expected, outcome.verdict, decided, record)
        before = after


def _try_to_pass(lab: Lab, flow: Flow, log: DropLog) -> Outcome:
    """Wait long for what should pass, unless the log says that it was denied."""
    (outcome,) = probe(lab, [flow], DENY_PATIENCE_S)
    if outcome.verdict is not Verdict.ALLOWED and not log.denier(outcome.sent):
        (outcome,) = probe(lab, [flow], ALLOW_PATIENCE_S)
    return outcome


def _try_together(lab: Lab, flows: Sequence[ExpectedFlow], log: DropLog) -> Iterator[tuple[ExpectedFlow, Shown]]:
    outcomes: Sequence[Outcome] = probe(lab, (expected.flow for expected in flows), DENY_PATIENCE_S)
    for expected, outcome in zip(flows, outcomes, strict=True):
        record = log.record(outcome.sent)
        yield expected, Shown(expected, outcome.verdict, _denier(record), record)


def _denier(record: PacketEvent | None) -> str:
    return record.by if record else ""
