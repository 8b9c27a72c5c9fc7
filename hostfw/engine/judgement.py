"""What a host would lose by a generation, as whoever is about to put it into force has to know."""

from dataclasses import dataclass

from hostfw.build.candidate import inspect
from hostfw.build.generation import Generation
from hostfw.engine.deploy import Writer
from hostfw.engine.lockout_check import Judgement, judge
from hostfw.engine.standing import standing
from hostfw.host.store.active import load_in_force
from hostfw.host.store.generations import load_accepted
from hostfw.model.baseline import Evidence
from hostfw.policy.resolve.plan import resolve


@dataclass(frozen=True, slots=True)
class LockoutQuestion:
    """What the host is seen to live by, and whether it is `accepted` that some of it is lost."""

    evidence: Evidence
    accepted: bool = False


def judgement_of(writer: Writer, built: Generation, lockout: LockoutQuestion | None) -> Judgement:
    """What the host would lose by a change: what is lost already is no reason to refuse it."""
    record, _ = load_in_force(writer.directories.run)
    if lockout is None or (record is not None and record.id == built.id):
        return Judgement()
    facts, accepted = built.facts, lockout.accepted
    judgement = judge(built.plan, None, facts, lockout.evidence, accepted=accepted)
    before = load_accepted(writer.directories.state)[0] if judgement.refused and record is not None else None
    if before is None:
        return judgement
    present = inspect(before.configuration)
    governance = standing(writer.directories, writer.host, writer.memory)
    plan, _ = resolve(present.resources, present.settings, facts, governance=governance)
    return judge(built.plan, plan, facts, lockout.evidence, accepted=accepted)
