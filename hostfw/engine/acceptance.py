"""Accepting a generation: what is written down of it, so that the next boot enforces it."""

from contextlib import suppress
from dataclasses import replace

from hostfw.build.cache import accept, accepted_now
from hostfw.build.generation import Generation
from hostfw.engine.deploy import Writer, counts
from hostfw.engine.standing import keep_record
from hostfw.host.store.active import load_in_force, record_stamp, save_in_force
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations import Accepted, accepted_number
from hostfw.model.governance import Governance


def accepted_of(generation: Generation, writer: Writer) -> Accepted:
    """A generation as it is stored."""
    configuration = generation.inspected.configuration
    limit = generation.inspected.settings.history_limit
    return Accepted(generation.id, writer.host.now(), configuration, generation.script, counts(generation), limit)


def accept_as(writer: Writer, generation: Accepted, governance: Governance) -> tuple[str, ...]:
    """Write down what was accepted and what it governs.

    A disk that will not take it does not undo it: gives what is unsaved, and why.
    """
    state = writer.directories.state
    accepted, problems = accepted_now(state, writer.memory)
    known = accepted is not None and not problems and accepted.id == generation.id
    if known and accepted is not None and accepted.configuration == generation.configuration:
        note_saved(writer, saved=True)
        number = accepted_number(state)
        return () if number is None else keep_record(writer.directories, number, governance, writer.memory)
    try:
        accept(state, generation, governance, writer.memory, anew=bool(problems))
    except StateError as error:
        note_saved(writer, saved=False)
        then = "the failsafes alone are" if accepted is None and not problems else "an earlier generation is"
        return (f"{error.message}: after a reboot {then} in force",)
    note_saved(writer, saved=True)
    return ()


def note_saved(writer: Writer, *, saved: bool) -> None:
    """Let the record of what is in force say whether a reboot leads to it.

    The record is in the run directory, which has a disk of its own. Where that takes nothing either, none is kept.
    """
    run, memory = writer.directories.run, writer.memory
    held = memory.held if memory is not None else None
    record = held.record if held is not None else load_in_force(run)[0]
    if record is None or record.saved == saved:
        return
    with suppress(StateError):
        now = replace(record, saved=saved)
        save_in_force(run, now)
        if memory is not None and held is not None:
            memory.held = replace(held, record=now, stamp=record_stamp(run))
