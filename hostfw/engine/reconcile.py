"""Work that the service starts by itself: takeover, resync with the host's interfaces, and base protection.

Nothing here reads the configuration directory: starts, link events and repairs use what was accepted.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from hostfw.build.cache import EngineCache, accepted_now, cached_governance
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, build, script_id
from hostfw.build.refused import Refused
from hostfw.build.stored import keep_decoded
from hostfw.engine.apply.acceptance import accept_as, accepted_of, unsaved_of
from hostfw.engine.apply.applied import Applied
from hostfw.engine.apply.standing_record import keep_record, record_after
from hostfw.engine.block import restore_block
from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.deploy.deploy import enforce
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.kernel.governed_links import note_links
from hostfw.engine.kernel.script.deploy import enforce_script
from hostfw.engine.kernel.state.record import forget_record, is_of_another, note_saved, write_owed
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.member_changes import restore_members
from hostfw.engine.members.member_times import settle_members
from hostfw.engine.outcomes import Failed, RolledBack
from hostfw.engine.reading.block_state import BlockContext
from hostfw.engine.reading.standing import standing, standing_number
from hostfw.engine.trial.rollback import expire, restore
from hostfw.engine.trial.trial import keep_on_trial
from hostfw.host.errors import HostError
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import Accepted, accepted_number, load_accepted, load_generation
from hostfw.host.store.generations.trial import load_trial
from hostfw.host.store.generations.unsaved import unsaved_state
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.nft.change import Change
from hostfw.policy.expiry import is_behind


@dataclass(frozen=True, slots=True)
class Resumed:
    """The generation that the service has taken over: its id, None if none was ever accepted.

    `from_sources` is False where the stored script was used; `rolled_back` is what had to be rolled back first.
    """

    id: str | None
    from_sources: bool = True
    rolled_back: RolledBack | None = None
    warnings: tuple[str, ...] = ()


def resume(writer: Writer) -> Resumed | Failed:
    """Put into force what was accepted, or what still waits to be confirmed, and so know what it is.

    A block that is on record stands above it again if it does not.
    """
    blocked = restore_block(BlockContext(writer.directories, writer.host))
    if isinstance(blocked, Failed):
        return blocked
    expired = expire(writer)
    if isinstance(expired, Failed):
        return expired
    if expired is not None and expired.generation is not None:
        return Resumed(expired.generation, expired.from_sources, expired, expired.warnings)
    state = writer.directories.state
    trial, _ = load_trial(state)
    unsaved = unsaved_of(writer) if trial is None else None
    if unsaved is not None:
        return _resume_unsaved(writer, *unsaved, expired)
    number = accepted_number(state) if trial is None else trial.number
    stored, problems = load_accepted(state) if trial is None else load_generation(state, trial.number)
    if stored is None and problems:
        return Failed(f"the accepted generation cannot be read: {problems[0].position.path}: {problems[0].message}")
    if stored is None:
        return Resumed(None, rolled_back=expired)
    restored = restore(writer, stored, number)
    if isinstance(restored, Failed):
        return restored
    note_saved(writer.directories.run, writer.cache, saved=True)
    on_trial: tuple[str, ...] = ()
    if restored.generation is not None:
        on_trial = keep_on_trial(writer, restored.generation)
        # As after an upgrade, whose decoder is another.
        keep_decoded(state, restored.generation.candidate)
    return Resumed(restored.id, restored.generation is not None, expired, (*restored.warnings, *on_trial))


def _resume_unsaved(
    writer: Writer, unsaved: Accepted, governance: Governance, expired: RolledBack | None
) -> Resumed | Failed:
    """Put into force what was accepted by whoever could not write it down, and write it down if that is possible now.

    It is restored as if its copy in the run directory were the state directory.
    """
    directories, cache = writer.directories, writer.cache
    copy = replace(directories, state=unsaved_state(directories.run))
    if cache is not None:
        # Numbers in the copy say nothing of those in the state directory.
        cache.governance = None
    restored = restore(replace(writer, directories=copy), unsaved, accepted_number(copy.state))
    if cache is not None:
        cache.governance = None
    if isinstance(restored, Failed):
        return restored
    built = restored.generation
    kept = (unsaved, governance) if built is None else (accepted_of(built, writer), record_after(built, writer.host))
    left = accept_as(writer, *kept)
    return Resumed(restored.id, built is not None, expired, (*restored.warnings, *left))


def is_as_accepted(directories: Directories, cache: EngineCache | None, generation: Generation) -> bool:
    """True if a generation is what was accepted, or is on trial, or was accepted and could not be written down."""
    trial, _ = load_trial(directories.state)
    if trial is not None:
        return trial.id == generation.id
    if cache is not None and cache.done.unsaved:
        return True
    accepted, _ = accepted_now(directories.state, cache)
    return accepted is not None and accepted.id == generation.id


def builds(directories: Directories, host: Host, cache: EngineCache | None = None) -> bool:
    """True if what was accepted builds on this host now; its script is not to be sent again and again before."""
    accepted, _ = load_accepted(directories.state)
    if accepted is None:
        return True
    candidate = check_candidate(accepted.configuration, cache=cache.candidate if cache else None)
    try:
        facts = host.facts(candidate.settings.node)
    except HostError:
        return False
    return isinstance(build(candidate, facts, cache.generation if cache else None), Generation)


def resync(writer: Writer, generation: Generation, *, same_network: bool = False) -> Applied | Refused | Failed:
    """Put the configuration of a generation into force for the host as it is now, and accept that if it is accepted.

    It is the same generation if nothing differs, or if it turns out that another one is in force. `same_network` is as
    of `Host.facts`.
    """
    if is_of_another(writer.directories.run, writer.cache, generation.id):
        resumed = resume(writer)
        return resumed if isinstance(resumed, Failed) else Applied(generation, Change())
    facts = writer.host.facts(generation.candidate.settings.node, same_network=same_network)
    before = standing(writer.directories, writer.host, cached_governance(writer.cache))
    built = build(generation.candidate, facts, writer.cache.generation if writer.cache else None, before)
    if isinstance(built, Refused):
        return built
    if built.id == generation.id:
        governance, number = record_after(built, writer.host), standing_number(writer.directories)
        # Interfaces of a HostEndpoint that names them come and go without a change to the ruleset.
        if built is not generation:
            writer.observer.active(built)
        # Another program may have let what is between ports pass by policy.
        writer.host.filter_bridges(writer.directories.run, built.plan.bridge_names)
        _, unnoted = note_links(built, writer, is_known=True)
        unnoted = (
            *unnoted,
            *restore_members(built.ruleset, built.plan, lambda *_: True, writer),
            *settle_members(built.plan, writer),
        )
        if _ends_otherwise(built, writer):
            return Applied(built, Change(), unnoted, unsaved=accept_as(writer, accepted_of(built, writer), governance))
        said = () if number is None else keep_record(writer.directories, number, governance, writer.cache)
        return Applied(built, Change(), (*unnoted, *said))
    enforced = enforce(built, writer)
    if isinstance(enforced, Failed):
        return enforced
    state = writer.directories.state
    trial, _ = load_trial(state)
    if trial is not None:
        return Applied(built, enforced.change, enforced.warnings, unsaved=keep_on_trial(writer, built))
    accepted, _ = accepted_now(state, writer.cache)
    is_accepted = accepted is not None and accepted.configuration == built.candidate.configuration
    unsaved = accept_as(writer, accepted_of(built, writer), record_after(built, writer.host)) if is_accepted else ()
    return Applied(built, enforced.change, enforced.warnings, unsaved=unsaved)


def _ends_otherwise(built: Generation, writer: Writer) -> bool:
    """True if a generation is what was accepted, and the next boot would believe in another end of it.

    The end of what changes no rule on this host moves the end of the rest.
    """
    accepted, problems = accepted_now(writer.directories.state, writer.cache)
    if accepted is None or problems or accepted.id != built.id:
        return False
    until = built.lasting.until if built.lasting is not None else None
    if until == (accepted.lasting.until if accepted.lasting is not None else None):
        return False
    trial, _ = load_trial(writer.directories.state)
    return trial is None and accepted.configuration == built.candidate.configuration


def end_expired(writer: Writer) -> None:
    """Take what has expired out of force where no service does, and accept what is left. Raises HostError.

    Where it does not build on this host, the stored script of what lasts is put into force. Nothing is done while
    something is on trial, which ends by itself.
    """
    state = writer.directories.state
    accepted, problems = accepted_now(state, writer.cache)
    trial, _ = load_trial(state)
    if accepted is None or problems or trial is not None:
        return
    candidate = check_candidate(accepted.configuration, cache=writer.cache.candidate if writer.cache else None)
    built: Generation | Refused | None = None
    with suppress(HostError):
        facts = writer.host.facts(candidate.settings.node)
        before = standing(writer.directories, writer.host, cached_governance(writer.cache))
        built = build(candidate, facts, writer.cache.generation if writer.cache else None, before)
    if not isinstance(built, Generation):
        _end_script(writer, accepted)
    elif isinstance(enforce(built, writer), Enforced):
        accept_as(writer, accepted_of(built, writer), record_after(built, writer.host))


def end_by_script(writer: Writer, generation: Generation) -> Failed | None:
    """Put what lasts of a generation into force by its script if something of it has expired; None if that is done."""
    lasting, now = generation.lasting, writer.host.now()
    if lasting is None or not lasting.script:
        return None
    if now < lasting.until and not is_behind(now, generation.governance):
        return None
    enforced = enforce_script(lasting.script, writer)
    return enforced if isinstance(enforced, Failed) else None


def _end_script(writer: Writer, accepted: Accepted) -> None:
    """Put the script of what lasts into force, once; one that is damaged leaves what is in force."""
    script = accepted.script_at(writer.host.now())
    record, _ = load_active(writer.directories.run)
    if script and (record is None or record.id != script_id(script)):
        enforce_script(script, writer, accepted.counts)


def save(writer: Writer, generation: Generation | None) -> tuple[str, ...]:
    """Write down again what is in force or accepted and could not be; gives what is still unsaved.

    Nothing is written of what is no longer in force, or is on trial.
    """
    directories, cache = writer.directories, writer.cache
    owed = write_owed(directories.run, cache)
    said = (owed,) if owed else ()
    expired = expire(writer)
    if isinstance(expired, Failed):
        return (*said, expired.message)
    trial, _ = load_trial(directories.state)
    another = generation is not None and is_of_another(directories.run, cache, generation.id)
    if generation is None or trial is not None or another:
        return said
    if cache is not None and not cache.done.unsaved:
        return said
    return (*said, *accept_as(writer, accepted_of(generation, writer), record_after(generation, writer.host)))


def repair(
    writer: Writer, generation: Generation, *, midway: bool = False, guarded: bool = False
) -> Enforced | Resumed | Failed:
    """Put a generation into force again that another program has changed, in all but the elements of its sets.

    `midway` is after work of ours that failed in the midst of it: then what was accepted is put into force, if all that
    was accepted could be written down. `guarded` is after base protection was sent: it empties every chain, and may
    have come in the midst of a change, whose record says nothing then.
    """
    back = midway and not is_as_accepted(writer.directories, writer.cache, generation)
    if not back and not is_of_another(writer.directories.run, writer.cache, generation.id):
        if guarded:
            forget_record(writer.directories.run, writer.cache)
            if writer.cache is not None:
                writer.cache.last_commit = None
        return enforce(generation, writer)
    resumed = resume(writer)
    # Nothing was ever accepted: what was in force was base protection, or is all that is known.
    nothing = isinstance(resumed, Resumed) and resumed.id is None
    return enforce(generation, writer) if nothing else resumed


def protect(writer: Writer, settings: Settings) -> Generation | Failed:
    """Put base protection into force."""
    base = build_base_protection(settings, writer.host.facts(settings.node))
    enforced = enforce(base, writer)
    return base if isinstance(enforced, Enforced) else enforced


def build_base_protection(settings: Settings, facts: HostFacts) -> Generation:
    """The generation of an empty configuration with these settings: failsafes, and what was established.

    It knows no workload, as the boot does not: one that no policy selects may be open, and here none does. With a
    thousand of them it would also hold up the service, which has it ready after each change.
    """
    facts = replace(facts, workloads=(), workload_problems=())
    built = build(Candidate(Configuration(), settings, Resources(), ()), facts)
    if isinstance(built, Refused):
        # Settings alone cannot conflict with a host; if one day they do, their defaults never will.
        built = build(check_candidate(Configuration()), facts)
    if isinstance(built, Refused):
        raise AssertionError("an empty configuration was refused")  # noqa: TRY004  not about a type
    return built
