"""Accepting a generation: what is written down of it, so that the next boot enforces it."""

from dataclasses import replace

from hostfw.build.cache import accept, accepted_now
from hostfw.build.generation import Generation
from hostfw.engine.apply.standing_record import keep_record
from hostfw.engine.kernel.deploy.deploy import counts
from hostfw.engine.kernel.state.record import note_saved
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.reading.standing import record_of
from hostfw.host.errors import HostError
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import Accepted, accepted_number, finish_accepting
from hostfw.host.store.generations.scripts import LastingScript
from hostfw.host.store.generations.unsaved import keep_unsaved, load_unsaved, unsaved_state
from hostfw.model.host.governance import Governance
from hostfw.model.problems import Problem


def accepted_of(generation: Generation, writer: Writer) -> Accepted:
    """A generation as it is stored."""
    configuration = generation.candidate.configuration
    limit = generation.candidate.settings.history_limit
    known = (generation.id, writer.host.now(), configuration, generation.script, counts(generation), limit)
    lasting = generation.lasting
    return Accepted(*known, None if lasting is None else LastingScript(lasting.script, lasting.until))


def accept_as(writer: Writer, generation: Accepted, governance: Governance) -> tuple[str, ...]:
    """Write down what was accepted and what it governs.

    A disk that will not take it does not undo it: gives what is unsaved, and why.
    """
    directories, cache = writer.directories, writer.cache
    state, run = directories.state, directories.run
    accepted: Accepted | None = None
    problems: tuple[Problem, ...] = ()
    try:
        known = True
        try:
            accepted, problems = accepted_now(state, cache)
        except Unreadable:
            # Whatever it is, this takes its place.
            known = False
        if accepted is None or problems or not _is_same(accepted, generation):
            accept(state, generation, governance, cache, anew=not known or bool(problems))
            note_saved(run, cache, saved=True)
            return ()
        finish_accepting(state, sync=cache is None or cache.done.unsaved)
        number = accepted_number(state)
    except HostError as error:
        keep_unsaved(run, generation, governance)
        note_saved(run, cache, saved=False)
        then = "the failsafes alone are" if accepted is None and not problems else "an earlier generation is"
        return (f"{error.message}: after a reboot {then} in force",)
    note_saved(run, cache, saved=True)
    return () if number is None else keep_record(directories, number, governance, cache)


def unsaved_of(writer: Writer) -> tuple[Accepted, Governance] | None:
    """The generation in force with its record, where it was accepted and its disk did not take it; None otherwise.

    Raises Unreadable.
    """
    run, state = writer.directories.run, writer.directories.state
    record, _ = load_active(run)
    if record is None:
        return None
    accepted, _ = accepted_now(state, writer.cache)
    if accepted is not None and accepted.id == record.id:
        return None
    kept = load_unsaved(run, record.id)
    if kept is None:
        return None
    directories = replace(writer.directories, state=unsaved_state(run))
    return kept, record_of(directories, writer.host, accepted_number(directories.state))


def superseded(writer: Writer, trial_id: str) -> bool:
    """True if a trial is on record only because nothing could be written down when something else was accepted.

    Raises Unreadable.
    """
    cache = writer.cache
    if cache is not None and cache.done.unsaved:
        # No trial begins before what is in force is saved, so what could not be saved came after it.
        record = cache.done.owed or load_active(writer.directories.run)[0]
        return record is not None and record.id != trial_id
    unsaved = unsaved_of(writer)
    return unsaved is not None and unsaved[0].id != trial_id


def save_first(writer: Writer) -> tuple[str, ...]:
    """Write down what is in force and could not be written down before; gives what is still unsaved, and why.

    Raises Unreadable.
    """
    unsaved = unsaved_of(writer)
    if unsaved is not None:
        return accept_as(writer, *unsaved)
    record, _ = load_active(writer.directories.run)
    if record is None or record.saved:
        return ()
    accepted, _ = accepted_now(writer.directories.state, writer.cache)
    if accepted is not None and accepted.id == record.id:
        return ()
    return (f"generation {record.id} is in force and could not be saved",)


def _is_same(accepted: Accepted, generation: Accepted) -> bool:
    same = accepted.id == generation.id and accepted.configuration == generation.configuration
    return same and accepted.lasting == generation.lasting
