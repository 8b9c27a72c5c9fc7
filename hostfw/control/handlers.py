"""A request carried out by an engine: in the daemon, or in hostfwctl itself where no daemon runs."""

from dataclasses import replace
from functools import partial

from hostfw.build.candidate import Candidate, CandidateCache, check_candidate
from hostfw.control.answers import keep_reply, kept_reply
from hostfw.control.messages import (
    Apply,
    ChangeMembers,
    Confirm,
    Files,
    InForceNow,
    Reply,
    Request,
    Rollback,
    RollbackTo,
    UpdateFeed,
)
from hostfw.engine.apply.applied import Applied
from hostfw.engine.checks.exposure import ExposureRequest
from hostfw.engine.checks.lockout import LockoutRequest
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed
from hostfw.host.store.configuration.feed_files import read_feeds_within, read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.settings import LockoutCheck, Settings
from hostfw.model.values import TCP
from hostfw.nft.change import Change
from hostfw.nft.deletion import DeletionKind

SHORTEST_TRIAL_S, LONGEST_TRIAL_S = 1, 86_400
"""Of what one may wait for a confirmation: up to a day."""


def handle(engine: Engine, request: Request, cache: CandidateCache | None = None) -> Reply:
    """Do what is asked for and say what came of it; `cache` is of the caller's checks, where the engine has none."""
    match request:
        case Apply(confirm_within_s=float() as within_s) if not SHORTEST_TRIAL_S <= within_s <= LONGEST_TRIAL_S:
            return Failed(f"a change cannot wait {within_s:g} s for its confirmation", "1 s to 24 h are possible")
        case Apply():
            return _apply(engine, request, cache)
        case Confirm():
            host = replace(engine.host, ancestors=lambda: request.ancestors)
            return replace(engine, host=host).confirm(console=request.console)
        case Rollback():
            lockout = _lockout(request, Settings()) if request.if_pending is None else None
            return engine.rollback(request.if_pending, lockout, accept_loss=request.accept_loss)
        case RollbackTo():
            lockout = _lockout(request, Settings())
            return engine.rollback_to(request.number, lockout, accept_loss=request.accept_loss)
        case ChangeMembers():
            return engine.change_members(request.change, _lockout(request, Settings()))
        case UpdateFeed():
            lockout = _lockout(request, Settings())
            updated = engine.update_feed(request.name, lockout, accept_shrink=request.accept_shrink)
            return in_force_now(updated, verbose=False) if isinstance(updated, Applied) else updated


def _apply(engine: Engine, request: Apply, checked: CandidateCache | None) -> Reply:
    texts = request.files or Files(*read_configuration(engine.directories.config))
    kept = None if texts.problems else kept_reply(engine, request, texts.configuration)
    if kept is not None:
        return kept
    cache = engine.cache.candidate if engine.cache else checked or CandidateCache()
    candidate = _judged(engine, request.files, texts, cache)
    services = request.services
    outcome = engine.apply(
        candidate,
        request.confirm_within_s,
        accept_shrink=request.accept_shrink,
        accept_loss=request.accept_loss,
        lockout=_lockout(request, candidate.settings),
        exposure=None if services is None else ExposureRequest(services, cache.decode),
        asked=request.asked,
    )
    if not isinstance(outcome, Applied):
        return outcome
    reply = in_force_now(outcome, verbose=request.verbose)
    if not texts.problems:
        keep_reply(engine, request, outcome, reply)
    return reply


def _lockout(
    request: Apply | Rollback | RollbackTo | ChangeMembers | UpdateFeed, settings: Settings
) -> LockoutRequest | None:
    """The lockout request with the baseline; within a sandbox ssh servers are only known by their ports."""
    if settings.lockout_check is LockoutCheck.IGNORE:
        return None
    if request.baseline is not None:
        return LockoutRequest(request.baseline, request.accept_lockout)
    # Not for nothing: it looks at sockets, routes and addresses.
    from hostfw.host.network.baseline import SSH_PORT, collect_by_ports

    ports = {SSH_PORT, *(port.port for port in settings.failsafe.inbound if port.protocol == TCP)}
    return LockoutRequest(collect_by_ports(ports), request.accept_lockout)


def read(engine: Engine, files: Files | None, cache: CandidateCache | None = None) -> Candidate:
    """A configuration that was given, or the one in the configuration directory, as far as it can be judged offline.

    Files that Feeds name are read here in either case: they are named in the configuration, not on the command line.
    """
    return _judged(engine, files, files or Files(*read_configuration(engine.directories.config)), cache)


def _judged(engine: Engine, given: Files | None, texts: Files, cache: CandidateCache | None) -> Candidate:
    """The configuration that some texts are, `given` or read from the configuration directory."""
    own, state = engine.directories.config, engine.directories.state
    read_feeds = (
        partial(read_own_feeds, own, state_dir=state)
        if given is None
        else partial(read_feeds_within, given.folders, state_dir=state)
    )
    return check_candidate(texts.configuration, texts.problems, read_feeds, cache)


def in_force_now(applied: Applied, *, verbose: bool) -> InForceNow:
    """The reply to an apply."""
    generation, change = applied.generation, applied.change
    new, swept = chain_counts(change)
    return InForceNow(
        generation.id,
        generation.plan.node,
        len(generation.candidate.resources.enforced),
        len(generation.plan.host_endpoints),
        generation.governed_interfaces,
        unchanged=change.is_empty,
        chains_new=new,
        chains_swept=swept,
        problems=generation.warnings,
        warnings=applied.warnings,
        trial=applied.trial,
        sent=str(change) if verbose else "",
        unsaved=applied.unsaved,
        exposure=applied.exposure,
    )


def chain_counts(change: Change) -> tuple[int, int]:
    """The numbers of chains that a change adds and deletes."""
    new = sum(line.startswith("add chain ") and not line.endswith("{") for line in change.prepare.splitlines())
    return new, sum(deletion.what is DeletionKind.CHAIN for deletion in change.sweep)
