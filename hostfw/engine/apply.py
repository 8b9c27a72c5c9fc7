"""One apply, by who may write: judged by what the host would lose, put into force, and accepted."""

from dataclasses import replace

from hostfw.build.candidate import Inspected
from hostfw.build.generation import Generation, Refused, build
from hostfw.engine.acceptance import accept_as, accepted_of
from hostfw.engine.block import BELOW_A_BLOCK, UNCONFIRMABLE
from hostfw.engine.deploy import Writer, enforce
from hostfw.engine.events import note_applied, note_failed, note_refused
from hostfw.engine.existing_connections import relearn
from hostfw.engine.exposure import ExposureQuestion, exposure_of
from hostfw.engine.judgement import LockoutQuestion, judgement_of
from hostfw.engine.lockout_check import Judgement
from hostfw.engine.loss_check import refusal
from hostfw.engine.outcomes import Applied, Failed, TakenBack
from hostfw.engine.plan_before import Before
from hostfw.engine.rollback import TRIED_AGAIN, end, settle
from hostfw.engine.standing import named, record_after, standing
from hostfw.engine.trial import left_s, try_out, waits
from hostfw.host.errors import HostError
from hostfw.host.store.trial import load_armed, load_pending
from hostfw.model.services import ExposureChange


def apply(
    writer: Writer,
    inspected: Inspected,
    confirm_within_s: float | None,
    lockout: LockoutQuestion | None,
    question: ExposureQuestion | None = None,
    *,
    accept_loss: bool = False,
    take_name: bool = False,
) -> Applied | Refused | Failed:
    """Put the generation of a configuration into force, whatever had to be taken back first.

    One that lost most of what is accepted is refused, unless `accept_loss`.
    """
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
    changes: tuple[ExposureChange, ...] = ()
    last = writer.memory.building.generation if writer.memory else None
    try:
        facts = host.observe(inspected.settings.node)
        record = named(standing(directories, host, writer.memory), inspected.resources, facts, take_name=take_name)
        if accept_loss:
            # The host is taken as it is, and what no HostEndpoint claims is let go.
            record = replace(record, interfaces=())
        built = build(inspected, facts, writer.memory.building if writer.memory else None, record)
        if isinstance(built, Refused):
            return note_refused(directories, host, built)
        generation_id = built.id
        decoding = question.decoding if question is not None else None
        before = Before(directories, host, writer.memory, facts, last, decoding)
        verb = "apply" if take_name else "reload"
        lost = None if accept_loss else refusal(before, inspected.resources, built.plan, verb)
        if lost is None:
            judgement = judgement_of(before, built, lockout)
        refused = lost or judgement.refusal
        changes = () if refused else exposure_of(before, built, question)
        applied: Applied | Failed = refused or _enforce(writer, built, confirm_within_s)
    except HostError as error:
        applied = writer.sent.failed(error)
    if isinstance(applied, Failed):
        return note_failed(directories, host, applied, generation_id)
    if applied.pending is None and (pending is not None or problems):
        try:
            end(writer, load_armed(directories.run))
        except HostError as error:
            applied = replace(applied, unsaved=(*applied.unsaved, f"{error.message}: {TRIED_AGAIN}"))
    note_applied(directories, host, applied, confirm_within_s or 0)
    below = (BELOW_A_BLOCK,) if blocked else ()
    warnings = (*applied.warnings, *judgement.warnings, *below, *_settled(settled))
    return replace(applied, warnings=warnings, exposure=changes)


def _enforce(writer: Writer, built: Generation, confirm_within_s: float | None) -> Applied | Failed:
    """Put it into force, and accept it unless it has to be confirmed."""
    if confirm_within_s is None:
        enforced = enforce(built, writer)
        applied = enforced if isinstance(enforced, Failed) else Applied(built, enforced.change, enforced.warnings)
    else:
        applied = try_out(writer, built, confirm_within_s)
    if isinstance(applied, Failed):
        return applied
    try:
        relearn(writer.host, built.plan)
    except HostError as error:
        applied = replace(applied, warnings=(*applied.warnings, error.message))
    if applied.pending is not None:
        return applied
    governance = record_after(built, writer.host)
    return replace(applied, unsaved=accept_as(writer, accepted_of(built, writer), governance))


def _settled(settled: TakenBack | Failed | None) -> tuple[str, ...]:
    """The warning about a trial that expired before this request, if one did."""
    if isinstance(settled, TakenBack):
        return (f"generation {settled.event.generation} had been taken back: {settled.event.reason}",)
    return ()
