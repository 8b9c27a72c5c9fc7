"""Accepting a generation: what is written down of it, so that the next boot enforces it."""

from contextlib import suppress
from dataclasses import replace

from hostfw.engine.enforce import Writer, counts
from hostfw.engine.generation import Generation
from hostfw.engine.memory import accept, accepted_now
from hostfw.host.in_force import load_in_force, save_in_force
from hostfw.host.state import Accepted
from hostfw.host.stored import StateError


def accepted_of(generation: Generation, writer: Writer) -> Accepted:
    """A generation as it is stored."""
    configuration = generation.inspected.configuration
    limit = generation.inspected.settings.history_limit
    return Accepted(generation.id, writer.host.now(), configuration, generation.script, counts(generation), limit)


def accept_as(writer: Writer, generation: Accepted) -> tuple[str, ...]:
    """Write down what was accepted. A disk that will not take it does not undo it: gives what is unsaved, and why."""
    state = writer.directories.state
    accepted, problems = accepted_now(state, writer.memory)
    known = accepted is not None and not problems and accepted.id == generation.id
    if known and accepted is not None and accepted.configuration == generation.configuration:
        return ()
    try:
        accept(state, generation, writer.memory, anew=bool(problems))
    except StateError as error:
        _note_unsaved(writer)
        then = "the failsafes alone are" if accepted is None and not problems else "an earlier generation is"
        return (f"{error.message}: after a reboot {then} in force",)
    return ()


def _note_unsaved(writer: Writer) -> None:
    """Let the record of what is in force say so; it is in the run directory, which has a disk of its own."""
    record, _ = load_in_force(writer.directories.run)
    if record is not None:
        with suppress(StateError):
            save_in_force(writer.directories.run, replace(record, saved=False))
