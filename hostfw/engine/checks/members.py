"""The lockout check of members that are about to be put into an external set, or taken out."""

from hostfw.engine.checks.lockout import LockoutRequest
from hostfw.engine.checks.lost_connections import check_lockout, losses
from hostfw.engine.checks.named_peers import concerns_nobody
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.external_members import with_members_now
from hostfw.engine.members.member_changes import Check
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.stored_active import stored_active
from hostfw.manifest.decode import DecodeCache, decode
from hostfw.model.plan import ExternalSet, Member

_UNKNOWN = "the generation in force is not among those that are stored, so nobody can tell whom this would cut off"


def members_check(writer: Writer, lockout: LockoutRequest | None) -> Check:
    """The check for a baseline. What is blocked already does not count."""

    def check(
        external: ExternalSet, now: tuple[Member, ...], after: tuple[Member, ...]
    ) -> tuple[Failed | None, tuple[str, ...]]:
        if lockout is None or concerns_nobody(writer, external, now, after, lockout.baseline):
            return None, ()
        before = _before(writer)
        if before.is_unknown() and not lockout.accepted:
            return Failed(
                _UNKNOWN, "`hostfwctl apply` puts one into force that is; to do it anyway: --accept-lockout"
            ), ()
        plan = before.in_force()
        if plan is None:
            return None, ()
        old, new = (with_members_now(writer.host, plan, {external.name: members}) for members in (now, after))
        result = check_lockout(new, old, before.facts, lockout.baseline, accepted=lockout.accepted)
        lost_already = {loss.what for loss in losses(old, before.facts, lockout.baseline)}
        warned = (f"{loss}; {loss.hint}" for loss in result.warned if loss.what not in lost_already)
        return result.refusal, tuple(warned)

    return check


def _before(writer: Writer) -> Before:
    """The state that is changed, on the host as it is now."""
    last = writer.cache.generation.generation if writer.cache else None
    if last is not None:
        facts = writer.host.facts(last.candidate.settings.node)
        return Before(writer.directories, writer.host, writer.cache, facts, last)
    stored, decoding = stored_active(writer.directories), DecodeCache()
    node = None if stored is None else decode(stored.configuration, decoding).settings.node
    return Before(writer.directories, writer.host, writer.cache, writer.host.facts(node), None, decoding)
