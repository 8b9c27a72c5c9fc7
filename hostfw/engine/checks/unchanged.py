"""An `apply` of what is in force already, answered without compiling it: the same comes from the same.

What a configuration compiles to rests on its texts, on facts of the host, on the record of what is governed, and on our
own code. While all of that is as it was, and what is stored and what the kernel holds is whole, `apply` would change
nothing and say what it said. Whatever is otherwise, or not certain, is for `apply` itself. So is whatever depends on
more than that: resources that expire, files of Feeds, and members that other programs change.
"""

from dataclasses import dataclass, replace

from hostfw.build.generation import Generation
from hostfw.engine.apply.asked import Asked
from hostfw.engine.apply.standing_record import keep_record, record_after
from hostfw.engine.events import note, three
from hostfw.engine.kernel.state.contents import is_unchanged_since
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.reading.in_force import are_in_force
from hostfw.engine.reading.standing import named, standing
from hostfw.engine.reading.status import compared
from hostfw.host.nftables.sets.set_digests import READ_WHOLE
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.store.answers import Answer, Basis, digest, program_mark
from hostfw.host.store.generations.active import ActiveGeneration, has_begun, load_active, noted_links, save_active
from hostfw.host.store.generations.generations import accepted_number, accepted_until, finish_accepting, read_accepted
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.store.generations.sources import parts_of
from hostfw.host.store.generations.trial import load_trial
from hostfw.journal.notices import generation_applied
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import Governance
from hostfw.model.sources import Configuration
from hostfw.model.values import FAMILIES
from hostfw.policy.expiry import expiring_resources, latest
from hostfw.policy.resolve.plan import governs_alike


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing was changed, since nothing is otherwise; `unsaved` is what could not be written down."""

    unsaved: tuple[str, ...] = ()


def basis_of(writer: Writer, generation: Generation, asked: Asked) -> Basis | None:
    """The basis of a generation that was just accepted; None where it rests on more, or would not come out again.

    Raises HostError.
    """
    candidate, plan, facts = generation.candidate, generation.plan, generation.facts
    resources, configuration = candidate.resources, candidate.configuration
    if plan.external or resources.feeds or configuration.feeds or any(True for _ in expiring_resources(resources)):
        return None
    record, _ = load_active(writer.directories.run)
    accepted, problems = read_accepted(writer.directories.state, with_scripts=False)
    if record is None or accepted is None or problems or not record.id == accepted.id == generation.id:
        return None
    if accepted.configuration != configuration:
        return None
    before = standing(writer.directories, writer.host)
    takes_name = asked is Asked.APPLY
    # What it governs now is what it will be resolved with: it must come to the same once more.
    again = named(before, resources, facts, take_name=takes_name)
    if not governs_alike(resources, candidate.settings, facts, (generation.governance, again)):
        return None
    after = record_after(replace(generation, governance=again), writer.host)
    if _timeless(after) != _timeless(before):
        return None
    return _basis(writer, configuration, facts, before, takes_name=takes_name)


def confirm_unchanged(writer: Writer, answer: Answer, configuration: Configuration, asked: Asked) -> Unchanged | None:
    """Look whether an answer to `apply` of a configuration still holds, and do what else an `apply` does.

    None if it does not, or that is not certain. Raises HostError.
    """
    directories, host = writer.directories, writer.host
    state, run = directories.state, directories.run
    trial, trial_problems = load_trial(state)
    if trial is not None or trial_problems or has_begun(run) or host.read_block() is not None:
        return None
    record, record_problems = load_active(run)
    if record is None or record_problems or record.id != answer.id or not record.saved:
        return None
    facts = host.facts(answer.node)
    before = standing(directories, host)
    if _basis(writer, configuration, facts, before, takes_name=asked is Asked.APPLY) != answer.basis:
        return None
    accepted, problems = read_accepted(state)
    if accepted is None or problems or accepted.id != answer.id or accepted.configuration != configuration:
        return None
    if accepted.lasting is not None or accepted_until(state) is not None:
        return None
    tables, found = compared(directories, host, record)
    if found or not are_in_force(tables) or not _is_certain(tables, record):
        return None
    if host.conntrack.unknown(host.conntrack.connections()):
        # Connections that were forgotten are judged by the plan.
        return None
    if not is_unchanged_since(tables, record):
        save_active(run, replace(record, kernel_generation=tables.generation, compared=True))
    finish_accepting(state, sync=True)
    applied = facts.now if asked.trusts_clock else latest(before.applied, facts.now)
    number = accepted_number(state)
    said = () if number is None else keep_record(directories, number, replace(before, applied=applied), None)
    event = Event(EventKind.APPLIED, host.now(), answer.id)
    note(directories, host, event, generation_applied(answer.id, *three(record.counts)))
    return Unchanged(said)


def _basis(
    writer: Writer, configuration: Configuration, facts: HostFacts, before: Governance, *, takes_name: bool
) -> Basis:
    return Basis(
        program_mark(),
        parts_of(configuration).digest,
        digest(replace(facts, now=None)),
        digest(_timeless(before)),
        digest(sorted((noted_links(writer.directories.run) or {}).items())),
        "yes" if takes_name else "no",
    )


def _timeless(governance: Governance) -> Governance:
    """A record without the moment of its apply, which each one has anew."""
    return replace(governance, applied=None)


def _is_certain(tables: KernelTables, record: ActiveGeneration) -> bool:
    """True if the comparison of tables with a record says all that `apply` would find.

    Of a big set that another program may have changed `apply` knows the elements, and the record does not.
    """
    if record.counters is None or record.sets is None:
        return False
    return is_unchanged_since(tables, record) or not any(
        not one.is_map and (one.count or 0) > READ_WHOLE for family in FAMILIES for one in tables.of(family).sets
    )
