"""One apply, by who may write: judged by what the host would lose, put into force, and accepted."""

from dataclasses import dataclass, replace

from hostfw.engine.acceptance import accept_as, accepted_of
from hostfw.engine.block import BELOW_A_BLOCK, UNCONFIRMABLE
from hostfw.engine.enforce import Writer, enforce
from hostfw.engine.events import note_applied, note_failed, note_refused
from hostfw.engine.generation import Generation, Refused, build
from hostfw.engine.inspection import Inspected, inspect
from hostfw.engine.lockout import Judgement, judge
from hostfw.engine.outcomes import Applied, Failed, TakenBack, failed
from hostfw.engine.rollback import end, settle
from hostfw.engine.trial import left_s, try_out, waits
from hostfw.host.errors import HostError
from hostfw.host.in_force import load_in_force
from hostfw.host.pending import load_armed, load_pending
from hostfw.host.state import load_accepted
from hostfw.model.evidence import Evidence
from hostfw.policy.resolve import resolve


@dataclass(frozen=True, slots=True)
class LockoutQuestion:
    """What the host is seen to live by, and whether it is `accepted` that some of it is lost."""

    evidence: Evidence
    accepted: bool = False


def apply(
    writer: Writer, inspected: Inspected, confirm_within_s: float | None, lockout: LockoutQuestion | None
) -> Applied | Refused | Failed:
    """Put the generation of a configuration into force, whatever had to be taken back first."""
    directories, host = writer.directories, writer.host
    settled = settle(writer)
    pending, problems = load_pending(directories.state)
    # What can no longer be taken back must not stand in the way of what replaces it.
    if pending is not None and confirm_within_s is None and not isinstance(settled, Failed):
        return waits(pending, left_s(pending, host))
    blocked = host.read_block() is not None
    if blocked and confirm_within_s is not None:
        return UNCONFIRMABLE
    generation_id = ""
    judgement = Judgement()
    try:
        facts = host.observe(inspected.settings.node)
        built = build(inspected, facts, writer.memory.building if writer.memory else None)
        if isinstance(built, Refused):
            return note_refused(directories, host, built)
        generation_id = built.id
        judgement = _judgement(writer, built, lockout)
        if judgement.refused:
            applied: Applied | Failed = Failed(judgement.message, judgement.hint)
        else:
            applied = _enforce(writer, built, confirm_within_s)
    except HostError as error:
        applied = failed(error)
    if isinstance(applied, Failed):
        return note_failed(directories, host, applied, generation_id)
    if applied.pending is None and (pending is not None or problems):
        end(writer, load_armed(directories.run))
    note_applied(directories, host, applied, confirm_within_s or 0)
    cut = (f"{loss}; {loss.hint}" for loss in judgement.warned)
    below = (BELOW_A_BLOCK,) if blocked else ()
    return replace(applied, warnings=(*applied.warnings, *cut, *below, *_settled(settled)))


def _judgement(writer: Writer, built: Generation, lockout: LockoutQuestion | None) -> Judgement:
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
    plan, _ = resolve(present.resources, present.settings, facts)
    return judge(built.plan, plan, facts, lockout.evidence, accepted=accepted)


def _enforce(writer: Writer, built: Generation, confirm_within_s: float | None) -> Applied | Failed:
    """Put it into force, and accept it unless it has to be confirmed."""
    if confirm_within_s is None:
        enforced = enforce(built, writer)
        applied = enforced if isinstance(enforced, Failed) else Applied(built, enforced.change, enforced.warnings)
    else:
        applied = try_out(writer, built, confirm_within_s)
    if isinstance(applied, Failed) or applied.pending is not None:
        return applied
    return replace(applied, warnings=(*applied.warnings, *accept_as(writer, accepted_of(built, writer))))


def _settled(settled: TakenBack | Failed | None) -> tuple[str, ...]:
    """What happened before, to be said beside what was asked for."""
    if isinstance(settled, TakenBack):
        return (f"generation {settled.event.generation} had been taken back: {settled.event.reason}",)
    return ()
