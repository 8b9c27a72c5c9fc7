"""What a host would lose by a generation, as whoever is about to put it into force has to know."""

from dataclasses import dataclass

from hostfw.build.generation import Generation
from hostfw.engine.lockout_check import Judgement, judge
from hostfw.engine.plan_before import Before
from hostfw.host.store.active import load_in_force
from hostfw.model.baseline import Evidence


@dataclass(frozen=True, slots=True)
class LockoutQuestion:
    """What the host is seen to live by, and whether it is `accepted` that some of it is lost."""

    evidence: Evidence
    accepted: bool = False


def judgement_of(
    before: Before, built: Generation, lockout: LockoutQuestion | None, *, on_trial: bool = False
) -> Judgement:
    """What the host would lose by a change: what is lost already is no reason to refuse it.

    What is accepted says what is lost already, or with `on_trial` what is in force instead and is to be taken back.
    """
    record, _ = load_in_force(before.writer.directories.run)
    if lockout is None or (record is not None and record.id == built.id):
        return Judgement()
    facts, accepted = built.facts, lockout.accepted
    judgement = judge(built.plan, None, facts, lockout.evidence, accepted=accepted)
    if not judgement.refused or record is None:
        return judgement
    plan = before.in_force() if on_trial else before.accepted()
    return judgement if plan is None else judge(built.plan, plan, facts, lockout.evidence, accepted=accepted)
