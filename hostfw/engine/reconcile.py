"""Work that the service starts by itself: takeover, resync with the host's interfaces, and base protection.

Nothing here reads the configuration directory: starts, link events and repairs use what was accepted.
"""

from dataclasses import dataclass

from hostfw.build.cache import accepted_now
from hostfw.build.candidate import Inspected, inspect
from hostfw.build.generation import Generation, Refused, build
from hostfw.engine.acceptance import accept_as, accepted_of, note_saved
from hostfw.engine.block import Ground, restore_block
from hostfw.engine.deploy import Enforced, Writer, enforce
from hostfw.engine.outcomes import Applied, Failed, TakenBack
from hostfw.engine.rollback import restore, settle
from hostfw.engine.standing import keep_record, record_after, standing, standing_number
from hostfw.engine.trial import keep_on_trial
from hostfw.host.store.active import load_in_force
from hostfw.host.store.generations import accepted_number, load_accepted, load_generation
from hostfw.host.store.trial import load_pending
from hostfw.model.facts import HostFacts
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.nft.change import Change


@dataclass(frozen=True, slots=True)
class Resumed:
    """The generation that the service has taken over: its id, None if none was ever accepted.

    `from_sources` is False where the stored script had to do; `taken_back` is what had to be taken back first.
    """

    id: str | None
    from_sources: bool = True
    taken_back: TakenBack | None = None
    warnings: tuple[str, ...] = ()


def resume(writer: Writer) -> Resumed | Failed:
    """Put into force what was accepted, or what still waits to be confirmed, and so know what it is.

    A block that is on record stands above it again if it does not.
    """
    blocked = restore_block(Ground(writer.directories, writer.host))
    if isinstance(blocked, Failed):
        return blocked
    settled = settle(writer)
    if isinstance(settled, Failed):
        return settled
    if settled is not None and settled.generation is not None:
        return Resumed(settled.generation, settled.from_sources, settled, settled.warnings)
    state = writer.directories.state
    pending, _ = load_pending(state)
    number = accepted_number(state) if pending is None else pending.number
    stored, problems = load_accepted(state) if pending is None else load_generation(state, pending.number)
    if stored is None and problems:
        return Failed(f"what was accepted cannot be read: {problems[0].position.path}: {problems[0].message}")
    if stored is None:
        return Resumed(None, taken_back=settled)
    restored = restore(writer, stored, number)
    if isinstance(restored, Failed):
        return restored
    note_saved(writer, saved=True)
    on_trial = keep_on_trial(writer, restored.generation) if restored.generation is not None else ()
    return Resumed(restored.id, restored.generation is not None, settled, (*restored.warnings, *on_trial))


def follow(writer: Writer, generation: Generation) -> Applied | Refused | Failed:
    """Put the configuration of a generation into force for the host as it is now, and accept that if it is accepted.

    It is the same generation if nothing differs, or if it turns out that another one is in force.
    """
    if _is_another_in_force(writer, generation):
        resumed = resume(writer)
        return resumed if isinstance(resumed, Failed) else Applied(generation, Change())
    facts = writer.host.observe(generation.inspected.settings.node)
    before = standing(writer.directories, writer.host, writer.memory)
    built = build(generation.inspected, facts, writer.memory.building if writer.memory else None, before)
    if isinstance(built, Refused):
        return built
    governance = record_after(built, writer.host)
    number = standing_number(writer.directories)
    if built.id == generation.id:
        # Interfaces of a HostEndpoint that names them come and go without a change to the ruleset.
        if built is not generation:
            writer.hearers.in_force(built)
        said = () if number is None else keep_record(writer.directories, number, governance, writer.memory)
        return Applied(built, Change(), said)
    enforced = enforce(built, writer)
    if isinstance(enforced, Failed):
        return enforced
    state = writer.directories.state
    pending, _ = load_pending(state)
    if pending is not None:
        return Applied(built, enforced.change, enforced.warnings, unsaved=keep_on_trial(writer, built))
    accepted, _ = accepted_now(state, writer.memory)
    is_accepted = accepted is not None and accepted.configuration == built.inspected.configuration
    unsaved = accept_as(writer, accepted_of(built, writer), governance) if is_accepted else ()
    return Applied(built, enforced.change, enforced.warnings, unsaved=unsaved)


def save(writer: Writer, generation: Generation) -> tuple[str, ...]:
    """Write down again what was accepted and could not be; gives what is still unsaved.

    Nothing is written of what is no longer in force, or is on trial.
    """
    pending, _ = load_pending(writer.directories.state)
    if pending is not None or _is_another_in_force(writer, generation):
        return ()
    return accept_as(writer, accepted_of(generation, writer), record_after(generation, writer.host))


def repair(writer: Writer, generation: Generation) -> Enforced | Resumed | Failed:
    """Put a generation into force again that another's hand has damaged, in all but the elements of its sets."""
    return resume(writer) if _is_another_in_force(writer, generation) else enforce(generation, writer)


def _is_another_in_force(writer: Writer, generation: Generation) -> bool:
    """True if another hostfwctl has changed what is in force, as it may when the service does not answer.

    To be asked by who holds the lock: what it did is not done before it is written down.
    """
    record, _ = load_in_force(writer.directories.run)
    return record is not None and record.id != generation.id


def protect(writer: Writer, settings: Settings) -> Generation | Failed:
    """Put base protection into force."""
    base = base_protection(settings, writer.host.observe(settings.node))
    enforced = enforce(base, writer)
    return base if isinstance(enforced, Enforced) else enforced


def base_protection(settings: Settings, facts: HostFacts) -> Generation:
    """The generation of an empty configuration with these settings: failsafes, and what was established."""
    built = build(Inspected(Configuration(), settings, Resources(), ()), facts)
    if isinstance(built, Refused):
        # Settings alone cannot conflict with a host; if one day they do, their defaults never will.
        built = build(inspect(Configuration()), facts)
    if isinstance(built, Refused):
        raise AssertionError("an empty configuration was refused")  # noqa: TRY004  not about a type
    return built
