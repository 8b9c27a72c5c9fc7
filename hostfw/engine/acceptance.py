"""Accepting a generation: what is written down of it, so that the next boot enforces it."""

from hostfw.build.cache import accept, accepted_now
from hostfw.build.generation import Generation
from hostfw.engine.kernel.deploy import counts
from hostfw.engine.kernel.record import note_saved
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.standing_record import keep_record
from hostfw.host.errors import HostError
from hostfw.host.store.generations import Accepted, LastingScript, accepted_number, finish_accepting
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
        accepted, problems = accepted_now(state, cache)
        if accepted is None or problems or not _is_same(accepted, generation):
            accept(state, generation, governance, cache, anew=bool(problems))
            note_saved(run, cache, saved=True)
            return ()
        finish_accepting(state, sync=cache is None or cache.done.unsaved)
        number = accepted_number(state)
    except HostError as error:
        note_saved(run, cache, saved=False)
        then = "the failsafes alone are" if accepted is None and not problems else "an earlier generation is"
        return (f"{error.message}: after a reboot {then} in force",)
    note_saved(run, cache, saved=True)
    return () if number is None else keep_record(directories, number, governance, cache)


def _is_same(accepted: Accepted, generation: Accepted) -> bool:
    same = accepted.id == generation.id and accepted.configuration == generation.configuration
    return same and accepted.lasting == generation.lasting
