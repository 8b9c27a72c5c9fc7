"""The active generation as the kernel has it, compared with the record.

Nothing here loads what would change that state, so that `hostfwctl status` is quick.
"""

from collections.abc import Callable

from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.state.contents import altered_by_name, altered_links, is_unchanged_since
from hostfw.engine.kernel.state.installed import drift, in_sentences
from hostfw.engine.outcomes import Failed, RolledBack, Status, failed
from hostfw.engine.reading.deadline import is_due, left_s
from hostfw.engine.reading.in_force import families_in_force
from hostfw.engine.reading.standing import standing
from hostfw.host.errors import HostError
from hostfw.host.nftables.tables import KernelTables, Names
from hostfw.host.store.atomic_files import is_read_only
from hostfw.host.store.generations.active import ActiveGeneration, has_begun, load_active
from hostfw.host.store.generations.last_event import load_event
from hostfw.host.store.generations.trial import load_trial
from hostfw.model.values import TABLE_FAMILIES
from hostfw.nft.objects import BASE_CHAIN_NAMES

_BY_ANOTHER = " by another program"
_NOT_OURS, _NOT_USED = " is not ours", " is not used by what is in force"


def read_status(
    directories: Directories, host: Host, expire: Callable[[], RolledBack | Failed | None]
) -> Status | Failed:
    """The active generation, read from the kernel and compared with the record.

    A trial that should have been rolled back by now is first brought to its end by `expire`.
    """
    try:
        expired = expire() if is_due(directories, host) else None
        record, problems = load_active(directories.run, head=True)
        tables, found = compared(directories, host, record)
        trial, trial_problems = load_trial(directories.state)
        governance = standing(directories, host)
        event = load_event(directories.state)
        begun = has_begun(directories.run)
        unrecorded = bool(found) and is_read_only(directories.run)
    except HostError as error:
        return failed(error)
    return Status(
        families_in_force(tables),
        None if unrecorded else record,
        found,
        tables,
        (*problems, *trial_problems),
        trial,
        left_s(trial, host) if trial else 0,
        event,
        (f"a change that should have been rolled back is still in force: {expired.message}",)
        if isinstance(expired, Failed)
        else (),
        governance,
        host.host_name(),
        begun,
        unrecorded,
    )


def read_drift(directories: Directories, host: Host) -> tuple[str, ...] | Failed:
    """Changes of other programs to our tables since they were written, in sentences; empty where there are none."""
    try:
        record, _ = load_active(directories.run, head=True)
        tables, found = compared(directories, host, record)
    except HostError as error:
        return failed(error)
    return found if any(table.exists for table in tables.every) else ()


def compared(
    directories: Directories, host: Host, record: ActiveGeneration | None
) -> tuple[KernelTables, tuple[str, ...]]:
    """Our tables, and how they differ from the record, of which the head will do. Raises HostError.

    While nftables still has the generation of our last commit, nobody has changed a rule or an element since: those of
    regular chains and sets are not read, which would take most of the time. Where they were compared as a whole then,
    or only we are known to have committed since, nothing but the base chains is.
    """
    if record is not None:
        tables = host.read_some(dict.fromkeys(TABLE_FAMILIES, Names(chains=tuple(sorted(BASE_CHAIN_NAMES)))))
        unchanged = is_unchanged_since(tables, record)
        whole = record.compared and not has_begun(directories.run)
        if whole and (unchanged or host.only_ours(record.kernel_generation, tables.generation)):
            return tables, ()
        if not record.chains:
            record, _ = load_active(directories.run)
        if unchanged and is_unchanged_since(tables := host.read_names(), record):
            return tables, drift(tables, record)
    tables = host.read_tables()
    found = drift(tables, record) if record or any(table.exists for table in tables.every) else ()
    others = altered_by_name(tables, host, directories.run) | altered_links(tables, host, directories.run)
    found = (*found, *in_sentences(others))
    if has_begun(directories.run) or is_read_only(directories.run):
        # It may be ours: what could not be recorded is a change of ours as well.
        found = tuple(sentence.replace(_BY_ANOTHER, "").replace(_NOT_OURS, _NOT_USED) for sentence in found)
    return tables, found
