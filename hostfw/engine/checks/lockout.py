"""The lockout check of a generation that is about to be put into force."""

from dataclasses import dataclass, replace

from hostfw.build.cache import accepted_now
from hostfw.build.generation import Generation, Lasting
from hostfw.engine.checks.lost_connections import Lockout, check_lockout, losses
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.members.external_members import with_members_now
from hostfw.model.host.baseline import Baseline
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.settings import LockoutCheck
from hostfw.model.time.moments import moment_text


@dataclass(frozen=True, slots=True)
class LockoutRequest:
    """The host's baseline, and whether its loss is `accepted`."""

    baseline: Baseline
    accepted: bool = False


def lockout_of(before: Before, built: Generation, lockout: LockoutRequest | None, *, on_trial: bool = False) -> Lockout:
    """Check what the host would lose by a change; connections that are blocked already do not count.

    What is accepted says what is lost already, or with `on_trial` what is in force instead and is to be rolled back.
    """
    record = before.record()
    if lockout is None:
        return Lockout()
    if record is not None and record.id == built.id:
        # The rules are the same, and what allows something now may end from now on.
        return Lockout() if _ends_as_accepted(before, built.lasting) else _ending_alone(before, built, lockout)
    return lockout_by(before, built.plan, lockout, lasting=built.lasting, on_trial=on_trial)


def lockout_by(
    before: Before, plan: Plan, lockout: LockoutRequest, *, lasting: Lasting | None = None, on_trial: bool = False
) -> Lockout:
    """Check what the host would lose by a plan, as `lockout_of` does; `lasting` is what stays of it for good."""
    record = before.record()
    facts, accepted = before.facts, lockout.accepted
    candidate = with_members_now(before.host, plan)
    result = check_lockout(candidate, None, facts, lockout.baseline, accepted=accepted)
    if not result.refused:
        result = replace(result, ending=_ending(plan, lasting, facts, result, lockout.baseline))
    if not result.refused or record is None:
        return result
    earlier = before.in_force() if on_trial else before.accepted()
    if earlier is None:
        return result
    return check_lockout(candidate, with_members_now(before.host, earlier), facts, lockout.baseline, accepted=accepted)


def _ends_as_accepted(before: Before, lasting: Lasting | None) -> bool:
    """True if what is accepted ends at the same moment and leaves the same: that was said then."""
    if lasting is None:
        return True
    accepted, _ = accepted_now(before.directories.state, before.cache)
    known = None if accepted is None else accepted.lasting
    return known is not None and (known.script, known.until) == (lasting.script, lasting.until)


def _ending_alone(before: Before, built: Generation, lockout: LockoutRequest) -> Lockout:
    """The warnings of what a generation that is in force already will not allow any more."""
    now = check_lockout(with_members_now(before.host, built.plan), None, before.facts, lockout.baseline, accepted=True)
    return Lockout(ending=_ending(built.plan, built.lasting, before.facts, now, lockout.baseline))


def _ending(
    plan: Plan, lasting: Lasting | None, facts: HostFacts, result: Lockout, baseline: Baseline
) -> tuple[str, ...]:
    """Warn of the connections that nothing will allow any more once something has expired."""
    if lasting is None or plan.settings.lockout_check is LockoutCheck.IGNORE:
        return ()
    lost_already = {loss.what for loss in result.warned}
    return tuple(
        f"{loss} once what allows it has expired, first at {moment_text(lasting.until)}; "
        "allow it without an end as well, if it is to stay"
        for loss in losses(lasting.plan, facts, baseline)
        if loss.what not in lost_already
    )
