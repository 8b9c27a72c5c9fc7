"""Accepting a generation: what is written down of it, so that the next boot enforces it."""

from hostfw.engine.enforce import Writer, counts
from hostfw.engine.generation import Generation
from hostfw.engine.memory import accept, accepted_now
from hostfw.host.state import Accepted
from hostfw.host.stored import StateError


def accepted_of(generation: Generation, writer: Writer) -> Accepted:
    """A generation as it is stored."""
    configuration = generation.inspected.configuration
    return Accepted(generation.id, writer.host.now(), configuration, generation.script, counts(generation))


def accept_as(writer: Writer, generation: Accepted) -> tuple[str, ...]:
    """Write down what was accepted. A disk that will not take it does not undo it: gives what is to be said of that."""
    state = writer.directories.state
    accepted, problems = accepted_now(state, writer.memory)
    known = accepted is not None and not problems and accepted.id == generation.id
    if known and accepted is not None and accepted.configuration == generation.configuration:
        return ()
    try:
        accept(state, generation, writer.memory)
    except StateError as error:
        return (f"{error.message}: after a reboot an earlier generation is in force",)
    return ()
