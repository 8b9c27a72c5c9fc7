"""The stored script of a generation into the kernel, sent as a whole, then read back."""

from collections.abc import Mapping
from dataclasses import replace

from hostfw.build.generation import script_id
from hostfw.engine.kernel.deploy.deploy import Counts, new_record, owned_by_another, save_record, say
from hostfw.engine.kernel.deploy.disturbances import Disturbed, Enforced, disturbed, until_undisturbed
from hostfw.engine.kernel.deploy.existing_connections import existing_connections
from hostfw.engine.kernel.deploy.rewriting import CHANGED_WITHOUT_PAUSE, TRIES
from hostfw.engine.kernel.deploy.transactions import amend, delete, send
from hostfw.engine.kernel.script.undoing import undoing
from hostfw.engine.kernel.state.contents import altered_by_name
from hostfw.engine.kernel.state.installed import (
    amendments,
    counters_digest,
    declarations,
    digests,
    drift,
    in_sentences,
    installed_tables,
    unprotected,
)
from hostfw.engine.kernel.state.state import KernelState
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import CLEARED, UNCHANGED, UNKNOWN, Failed
from hostfw.host.errors import HostError
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.store.generations.active import forget_links, load_active, note_links, noted_links
from hostfw.model.values import TABLE_FAMILIES
from hostfw.model.wording import counted as counted_words
from hostfw.nft.amendment import deletions_after
from hostfw.nft.change import Change
from hostfw.nft.declarations import SetName
from hostfw.nft.object_text import follows


def enforce_script(script: str, writer: Writer, counted: Counts = ()) -> Enforced | Failed:
    """Put a whole script into force, as the boot does; what it does not use is swept by the next generation.

    What another program removes meanwhile is written again, as of a generation.
    """
    noted = noted_links(writer.directories.run) or {}
    return until_undisturbed(lambda: _enforce_script(script, writer, counted, noted), writer)


def _enforce_script(
    script: str, writer: Writer, counted: Counts, noted: Mapping[SetName, tuple[int, ...]]
) -> Enforced | Failed | Disturbed:
    """Put a whole script into force, unless another program removes some of it meanwhile."""
    tables = writer.host.read_tables()
    if (owned := owned_by_another(tables.every)) is not None:
        return owned
    record, _ = load_active(writer.directories.run)
    before = KernelState(tables.generation, installed_tables(tables, record), digests(tables), record)
    existing = existing_connections(writer.host, None, record, before.installed)
    existing.before_switch()
    undone = undoing(script, tables, record, noted, writer.host, writer.directories.run)
    renamings, wakings = amendments(tables)
    renamings = tuple(renaming for renaming in renamings if renaming.family not in undone.remade)
    if writer.cache is not None:
        writer.cache.last_commit = None
    # Where there were none, its sets of interfaces are empty.
    forget_links(writer.directories.run)
    stopped = writer.sent.after(lambda: amend(renamings, writer.nftables) or delete(undone.first, writer.nftables))
    if stopped is not None:
        return disturbed(stopped, writer, before, int(bool(renamings)))
    stopped = writer.sent.after(lambda: send(f"{undone.head}{script}{undone.tail}", writer.nftables))
    if stopped is not None:
        found = disturbed(stopped, writer, before, int(bool(renamings)) + int(bool(undone.first)))
        if isinstance(found, Failed) and found.in_force == UNCHANGED and undone.first:
            return replace(found, in_force=CLEARED if undone.closes else UNKNOWN)
        return found
    commits = sum(map(bool, (renamings, undone.first, script, wakings, renamings)))
    stopped = amend(wakings, writer.nftables) or delete(deletions_after(renamings), writer.nftables)
    if stopped is not None:
        found = disturbed(stopped, writer, before, commits - bool(renamings))
        return found if isinstance(found, Disturbed) else replace(found, in_force=UNKNOWN)
    left = delete(undone.last, writer.nftables)
    commits += bool(undone.last and left is None)
    unknown = (*existing.after_switch(), *say(left, "objects of another program could not be removed"))
    try:
        now = _ensure_script(script, writer, tables.generation + commits)
    except HostError as error:
        return Failed(f"the script was committed, but could not be read back: {error.message}", in_force=UNKNOWN)
    if not isinstance(now, KernelTables):
        return now
    writer.observer.active(None)
    if noted:
        note_links(writer.directories.run, noted)
    active = replace(
        new_record(writer, script_id(script), digests(now), record, now.generation, counted),
        sets=declarations(now),
        counters=tuple(
            (family, counters_digest(counter.name for counter in now.of(family).counters)) for family in TABLE_FAMILIES
        ),
    )
    active = replace(active, compared=not drift(now, active))
    big = follows(script)
    as_before = (
        (f"{counted_words(big, 'big set')} left as before: the script does not hold all elements",) if big else ()
    )
    return Enforced(Change(switch=script), (*unknown, *as_before, *save_record(writer, active)))


def _ensure_script(script: str, writer: Writer, expected: int) -> KernelTables | Failed | Disturbed:
    """Send a script again until it is certain that what is read back is what it wrote.

    That is so at the generation of nftables that our own commits lead to, or where another commit of the script changed
    nothing. Raises HostError.
    """
    host, before = writer.host, expected
    now = host.read_tables()
    for _ in range(TRIES):
        if lacking := unprotected(now):
            return Disturbed(Failed(f"the script was committed, but {lacking[0]}", in_force=UNKNOWN))
        if now.generation == before or host.only_ours(before, now.generation):
            return now
        held, before = now, now.generation + 1
        stopped = send(script, writer.nftables)
        if stopped is not None:
            return Disturbed(replace(stopped, in_force=UNKNOWN))
        now = host.read_tables()
        if digests(now) == digests(held) and not unprotected(now):
            lacking = in_sentences(altered_by_name(now, host, writer.directories.run))
            return Disturbed(Failed(lacking[0], in_force=UNKNOWN)) if lacking else now
    return CHANGED_WITHOUT_PAUSE
