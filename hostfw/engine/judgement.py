"""The lockout check of a generation that is about to be put into force."""

from dataclasses import dataclass

from hostfw.build.generation import Generation
from hostfw.engine.lockout_check import Judgement, judge
from hostfw.engine.plan_before import Before
from hostfw.host.store.active import load_in_force
from hostfw.model.baseline import Evidence


@dataclass(frozen=True, slots=True)
class LockoutQuestion:
    """The host's baseline, and whether its loss is `accepted`."""

    evidence: Evidence
    accepted: bool = False


def judgement_of(
    before: Before, built: Generation, lockout: LockoutQuestion | None, *, on_trial: bool = False
) -> Judgement:
    """Check what the host would lose by a change; connections that are blocked already do not count.

    What is accepted says what is lost already, or with `on_trial` what is in force instead and is to be taken back.
    """
    record, _ = load_in_force(before.directories.run)
    if lockout is None or (record is not None and record.id == built.id):
        return Judgement()
    facts, accepted = built.facts, lockout.accepted
    judgement = judge(built.plan, None, facts, lockout.evidence, accepted=accepted)
    if not judgement.refused or record is None:
        return judgement
    plan = before.in_force() if on_trial else before.accepted()
    return judgement if plan is None else judge(built.plan, plan, facts, lockout.evidence, accepted=accepted)
