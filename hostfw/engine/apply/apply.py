"""One apply, by who may write: judged by what the host would lose, put into force, and accepted."""

from dataclasses import replace
from datetime import datetime

from hostfw.build.cache import accepted_now, cached_governance
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.build.refused import Refused
from hostfw.build.stored import keep_decoded
from hostfw.engine.apply.acceptance import accept_as, accepted_of
from hostfw.engine.apply.applied import Applied
from hostfw.engine.apply.asked import Asked
from hostfw.engine.apply.standing_record import record_after
from hostfw.engine.block import BELOW_A_BLOCK, UNCONFIRMABLE
from hostfw.engine.checks.exposure import ExposureRequest, exposure_of
from hostfw.engine.checks.lockout import LockoutRequest, lockout_of
from hostfw.engine.checks.lost_connections import Lockout
from hostfw.engine.checks.lost_policy import refusal
from hostfw.engine.checks.nft_rules import refusal_of_denials, refused_by_nft
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.events import note_applied, note_failed, note_refused
from hostfw.engine.kernel.deploy.deploy import enforce
from hostfw.engine.kernel.deploy.existing_connections import relearn
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, RolledBack
from hostfw.engine.reading.deadline import left_s
from hostfw.engine.reading.standing import named, standing
from hostfw.engine.trial.rollback import TRIED_AGAIN, end, expire
from hostfw.engine.trial.trial import try_out, waits
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import accepted_until
from hostfw.host.store.generations.trial import load_rollback_timer, load_trial
from hostfw.model.host.governance import Governance
from hostfw.model.host.services import ExposureChange
from hostfw.nft.object_text import CommandCache
from hostfw.policy.expiry import in_time, latest, still_expired


def apply(
    writer: Writer,
    candidate: Candidate,
    confirm_within_s: float | None,
    lockout: LockoutRequest | None,
    exposure: ExposureRequest | None = None,
    *,
    accept_loss: bool = False,
    asked: Asked = Asked.RELOAD,
) -> Applied | Refused | Failed:
    """Put the generation of a configuration into force, whatever had to be rolled back first.

    One that lost most of what is accepted is refused, unless `accept_loss`.
    """
    directories, host = writer.directories, writer.host
    expired = expire(writer)
    trial, problems = load_trial(directories.state)
    # What was rolled back and is still on record, or cannot be, must not stand in the way of what replaces it.
    if trial is not None and confirm_within_s is None and expired is None:
        return waits(trial, left_s(trial, host))
    blocked = host.read_block() is not None
    if blocked and confirm_within_s is not None:
        return UNCONFIRMABLE
    generation_id = ""
    result = Lockout()
    changes: tuple[ExposureChange, ...] = ()
    last = writer.cache.generation.generation if writer.cache else None
    try:
        facts = host.facts(candidate.settings.node)
        record = named(
            standing(directories, host, cached_governance(writer.cache)),
            candidate.resources,
            facts,
            take_name=asked is Asked.APPLY,
        )
        record = _with_ended(record, writer, facts.now)
        record = replace(record, applied=facts.now if asked.trusts_clock else latest(record.applied, facts.now))
        if accept_loss:
            # The host is taken as it is, and what no HostEndpoint claims is let go.
            record = replace(record, interfaces=())
        cache = writer.cache.generation if writer.cache else GenerationCache()
        built = build(candidate, facts, cache, record)
        if isinstance(built, Refused):
            return note_refused(directories, host, built)
        generation_id = built.id
        decoding = exposure.decoding if exposure is not None else None
        before = Before(directories, host, writer.cache, facts, last, decoding, None if writer.cache else cache.resolve)
        verb = "" if asked is Asked.QUICK else asked.value
        of_nft = refused_by_nft(built, before, writer.nftables)
        if of_nft is not None:
            return note_refused(directories, host, of_nft)
        lost = None if accept_loss else refusal(before, candidate.resources, built.plan, verb)
        if lost is None:
            result = lockout_of(before, built, lockout)
            lost = refusal_of_denials(
                built,
                before,
                accepted=lockout is None or lockout.accepted,
                on_trial=confirm_within_s is not None,
            )
        refused = lost or result.refusal
        changes = () if refused else exposure_of(before, built, exposure)
        applied: Applied | Failed = refused or _enforce(writer, built, confirm_within_s, cache.commands)
    except HostError as error:
        applied = writer.sent.failed(error)
    if isinstance(applied, Failed):
        return note_failed(directories, host, _after_end(expired, applied), generation_id)
    if applied.trial is None and (trial is not None or problems):
        try:
            end(writer, load_rollback_timer(directories.run))
        except HostError as error:
            applied = replace(applied, unsaved=(*applied.unsaved, f"{error.message}: {TRIED_AGAIN}"))
    keep_decoded(directories.state, applied.generation.candidate)
    note_applied(directories, host, applied, confirm_within_s or 0, changes)
    below = (BELOW_A_BLOCK,) if blocked else ()
    warnings = (*applied.warnings, *result.warnings, *below, *_settled(expired))
    return replace(applied, warnings=warnings, exposure=changes)


def _with_ended(record: Governance, writer: Writer, now: datetime | None) -> Governance:
    """The record with what has expired of the accepted generation, whose files may be gone from the new one."""
    directories = writer.directories
    until = accepted_until(directories.state)
    if now is None or until is None or now < until:
        return record
    accepted, problems = accepted_now(directories.state, writer.cache)
    if accepted is None or problems:
        return record
    resources = check_candidate(accepted.configuration).resources
    return replace(record, expired=still_expired(in_time(resources, now, record).expired, now, record))


def _enforce(
    writer: Writer, built: Generation, confirm_within_s: float | None, texts: CommandCache
) -> Applied | Failed:
    """Put it into force, and accept it unless it has to be confirmed."""
    if confirm_within_s is None:
        enforced = enforce(built, writer, texts=texts)
        applied = enforced if isinstance(enforced, Failed) else Applied(built, enforced.change, enforced.warnings)
    else:
        applied = try_out(writer, built, confirm_within_s)
    if isinstance(applied, Failed):
        return applied
    try:
        relearn(writer.host, built.plan)
    except HostError as error:
        applied = replace(applied, warnings=(*applied.warnings, error.message))
    if applied.trial is not None:
        return applied
    governance = record_after(built, writer.host)
    return replace(applied, unsaved=accept_as(writer, accepted_of(built, writer), governance))


def _after_end(expired: RolledBack | Failed | None, failure: Failed) -> Failed:
    """The failure of a change after a trial was brought to its end: what that did is no part of "unchanged"."""
    if failure.in_force != UNCHANGED or expired is None:
        return failure
    if isinstance(expired, Failed):
        return failure if expired.in_force == UNCHANGED else replace(failure, in_force=UNKNOWN)
    return replace(failure, in_force=f"{_settled(expired)[0]}; nothing else was changed")


def _settled(expired: RolledBack | Failed | None) -> tuple[str, ...]:
    """The warning about a trial that expired before this request, if one did."""
    if isinstance(expired, RolledBack):
        return (f"generation {expired.event.generation} had been rolled back: {expired.event.reason}",)
    return ()
