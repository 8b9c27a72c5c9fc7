"""A generation into the kernel: prepare, switch and sweep, each a transaction of its own, then read back.

Rules that packets will meet are checked before the commit, so a worker that crashes over them has changed nothing.
Objects that a prepare adds are not referred to yet: the active ruleset stays the same whatever happens, and a check
would only double the time. A switch from a cached state needs no check either: it only names chains that exist, in
commands that have never crashed a worker.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from hostfw.build.cache import LastCommit
from hostfw.build.generation import Generation
from hostfw.engine.checks.named_peers import note_named_peers
from hostfw.engine.kernel.deploy.disturbances import Disturbed, Enforced, disturbed, once, until_undisturbed
from hostfw.engine.kernel.deploy.existing_connections import existing_connections
from hostfw.engine.kernel.deploy.rewriting import ensure_ours
from hostfw.engine.kernel.deploy.set_loading import load_sets, remember_contents
from hostfw.engine.kernel.deploy.transactions import delete, prepare, send, send_change
from hostfw.engine.kernel.governed_links import note_links
from hostfw.engine.kernel.state.contents import altered
from hostfw.engine.kernel.state.installed import (
    Digests,
    counters_digest,
    drift,
    in_sentences,
)
from hostfw.engine.kernel.state.record import forget_record, write_record
from hostfw.engine.kernel.state.state import KernelState, read_back, read_kernel_state
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.member_changes import restore_members
from hostfw.engine.members.member_times import settle_members
from hostfw.engine.outcomes import (
    CLEARED,
    UNCHANGED,
    UNKNOWN,
    Failed,
)
from hostfw.host.errors import HostError
from hostfw.host.nftables.tables import KernelTable
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.store.generations.active import (
    ActiveGeneration,
    forget_begun,
    forget_links,
    note_begun,
    record_stamp,
)
from hostfw.model.plan import Plan
from hostfw.model.values import TABLE_FAMILIES, Direction
from hostfw.nft.change import Change, change
from hostfw.nft.declarations import declarations_of
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.installed import InstalledTable
from hostfw.nft.object_text import CommandCache, table_name
from hostfw.nft.objects import BASE_CHAIN_NAMES
from hostfw.policy.order import ENFORCED_KINDS

Counts = tuple[tuple[str, int], ...]


def _nothing_before(_: Change) -> Failed | None:
    return None


def _nothing_after() -> Iterator[str]:
    return iter(())


def enforce(
    generation: Generation,
    writer: Writer,
    before_switch: Callable[[Change], Failed | None] = _nothing_before,
    after_switch: Callable[[], Iterator[str]] = _nothing_after,
    texts: CommandCache | None = None,
) -> Enforced | Failed:
    """Put a generation into force and remember it. `texts` has commands that were written for it before.

    `before_switch` may still call it off; `after_switch` is what must not wait once packets meet the new generation.
    What another program removes meanwhile, as `nft flush ruleset` does, is written again.
    """
    undisturbed = once(before_switch)
    return until_undisturbed(lambda: _enforce(generation, writer, undisturbed, after_switch, texts), writer)


def _enforce(
    generation: Generation,
    writer: Writer,
    before_switch: Callable[[Change], Failed | None],
    after_switch: Callable[[], Iterator[str]],
    texts: CommandCache | None,
) -> Enforced | Failed | Disturbed:
    """Put a generation into force, unless another program removes some of it meanwhile."""
    ruleset, directories, nftables = generation.ruleset, writer.directories, writer.nftables
    kernel_state = read_kernel_state(ruleset, directories, writer.host, nftables, writer.cache)
    texts = writer.cache.generation.commands if writer.cache else texts
    if (owned := owned_by_another(kernel_state.installed)) is not None:
        return owned
    planned = Change() if kernel_state.ruleset is ruleset else change(ruleset, kernel_state.installed, texts)
    is_anew = any(table.misdeclared or table.goes_first for table in kernel_state.installed)
    if is_anew or not planned.is_empty:
        note_begun(directories.run)
        if writer.cache is not None:
            writer.cache.done.begun = True
    if is_anew:
        stopped = before_switch(planned) or writer.sent.after(lambda: _clear(generation, kernel_state, nftables))
        return stopped or _from_nothing(generation, writer, after_switch, kernel_state)
    stopped = prepare(planned.prepare, nftables)
    if stopped is not None:
        return disturbed(stopped, writer, kernel_state, 0)
    loads = load_sets(planned.set_loads, nftables, directories.run)
    was_there = {table.family: table.sets for table in kernel_state.installed}
    put_back = (
        *restore_members(
            ruleset, generation.plan, lambda family, name: name in was_there.get(family, frozenset()), writer
        ),
        *settle_members(generation.plan, writer),
    )
    existing = existing_connections(
        writer.host,
        generation.plan,
        kernel_state.record,
        kernel_state.installed,
        polices_forwarded=_polices_forwarded(generation.plan),
    )
    # What was prepared has connection tracking begin.
    existing.before_switch()
    stopped = before_switch(planned)
    if stopped is not None:
        return stopped
    _about_to_switch(generation, writer)
    stopped = writer.sent.after(lambda: send_change(planned, kernel_state, writer))
    if stopped is not None:
        return disturbed(stopped, writer, kernel_state, _commits_before_switch(planned))
    noted = (*put_back, *after_switch(), *existing.after_switch(), *released(writer, generation.plan.bridge_names))
    link_commits, unnoted = note_links(generation, writer, is_known=kernel_state.ruleset is not None)
    left = delete(planned.sweep, nftables)
    swept = say(left, "unused objects could not be removed")
    try:
        commits = None if left is not None else loads + _commits(planned) + link_commits
        now = read_back(kernel_state, ruleset, writer.host, nftables, commits)
        if planned.set_reloads:
            reloaded = {(family, contents.name) for family, contents in planned.set_reloads}
            lacking = in_sentences(reloaded & altered(writer.host.read_tables(), ruleset, writer.host, nftables))
            now = replace(now, lacking=(*now.lacking, *lacking))
        ours = ensure_ours(ruleset, kernel_state, now, writer.host, nftables, send)
    except HostError as error:
        message = f"the generation was committed, but could not be read back: {error.message}"
        return Failed(message, error.hint, in_force=UNKNOWN)
    if isinstance(ours, Failed):
        return ours
    now = ours.state
    if now.lacking:
        return Disturbed(
            Failed(
                f"the kernel does not have the committed rules: {', '.join(now.lacking[:3])}",
                "another program changes our tables; `nft monitor` shows which",
                in_force=UNKNOWN,
            )
        )
    writer.observer.active(generation)
    note_named_peers(directories.run, generation)
    if left is None:
        _ended(writer)
    if not planned.is_empty or kernel_state.ruleset is None:
        remember_contents(ruleset, directories.run)
    remembered = tuple(_remember(writer, generation, kernel_state, now))
    return Enforced(planned, (*noted, *unnoted, *swept, *ours.warnings, *remembered))


def enforce_nothing(writer: Writer) -> Enforced | Failed:
    """Remove our tables, and with them every rule of ours; what another program removes meanwhile is removed."""
    return until_undisturbed(lambda: _enforce_nothing(writer), writer)


def _enforce_nothing(writer: Writer) -> Enforced | Failed | Disturbed:
    tables = writer.host.read_tables()
    if (owned := owned_by_another(tables.every)) is not None:
        return owned
    deletions = tuple(Deletion(family, DeletionKind.TABLE) for family in TABLE_FAMILIES if tables.of(family).exists)
    if writer.cache is not None:
        writer.cache.last_commit = None
    stopped = writer.sent.after(lambda: delete(deletions, writer.nftables))
    if stopped is not None:
        return disturbed(stopped, writer, KernelState(tables.generation, (), (), None), 0)
    try:
        left = writer.host.read_names()
    except HostError as error:
        message = f"the tables were removed, but that could not be read back: {error.message}"
        return Failed(message, error.hint, in_force=UNKNOWN)
    if any(left.of(family).exists for family in TABLE_FAMILIES):
        hint = "`nft monitor` shows which"
        return Disturbed(Failed("another program makes our tables again", hint, in_force=UNKNOWN))
    writer.observer.active(None)
    forget_begun(writer.directories.run)
    forget_links(writer.directories.run)
    unreleased = tuple(released(writer))
    if said := forget_record(writer.directories.run, writer.cache):
        return Enforced(Change(sweep=deletions), (said, *unreleased))
    return Enforced(Change(sweep=deletions), unreleased)


def _ended(writer: Writer) -> None:
    """Note that a change has ended, and left nothing behind."""
    forget_begun(writer.directories.run)
    if writer.cache is not None:
        writer.cache.done.begun = False


def _about_to_switch(generation: Generation, writer: Writer) -> None:
    # A port that becomes known by the switch must have met policy from its first packet on.
    writer.host.filter_bridges(writer.directories.run, generation.plan.bridge_names)
    writer.observer.switching(generation)


def _polices_forwarded(plan: Plan) -> bool:
    """True if policy is asked about what is forwarded.

    Whoever translates destinations has had connection tracking begin, so published ports do not count.
    """
    tiers = (endpoint.direction(way).forward_tiers for endpoint in plan.endpoints for way in Direction)
    return bool(plan.settings.workloads.patterns) or any(tiers)


def released(writer: Writer, names: Collection[str] = ()) -> Iterator[str]:
    """Bridges other than these get back what they had before policy was between their ports; says what failed."""
    try:
        writer.host.release_bridges(writer.directories.run, names)
    except HostError as error:
        yield error.message


def owned_by_another(tables: Iterable[KernelTable | InstalledTable]) -> Failed | None:
    """The refusal where a table of ours belongs to another program; None where none does."""
    for table in tables:
        if table.owner:
            hint = "end that program; then `hostfwctl reload` puts the accepted generation into force"
            return Failed(f"table {table_name(table.family)} belongs to {table.owner}, which alone may change it", hint)
    return None


def _clear(generation: Generation, kernel_state: KernelState, nftables: Nftables) -> Failed | None:
    """Delete sets and maps that are not what their names say, and first every rule, since any may look one up.

    None if it is done. Until the switch nothing passes input and output, which drop by policy. A table that another
    program has abandoned or commented can only be deleted, with its chains: it is made again in the same transaction.
    """
    going = [table.family for table in kernel_state.installed if table.goes_first]
    if going:
        gone = "".join(f"delete table {table_name(family)}\n" for family in going)
        return send(f"{gone}{generation.script}", nftables)
    deletions: list[Deletion] = []
    for table in kernel_state.installed:
        chains = sorted((*table.chains, *table.base_chains))
        deletions.extend(Deletion(table.family, DeletionKind.RULES, name) for name in chains)
    for table in kernel_state.installed:
        deletions.extend(
            Deletion(table.family, DeletionKind.MAP if name in table.maps else DeletionKind.SET, name)
            for name in sorted(table.misdeclared)
        )
    return delete(tuple(deletions), nftables)


def _from_nothing(
    generation: Generation, writer: Writer, after_switch: Callable[[], Iterator[str]], before: KernelState
) -> Enforced | Failed:
    """Put a generation into force where every rule was deleted first: a failure leaves base chains that drop."""
    try:
        enforced = enforce(generation, writer, after_switch=after_switch)
    except HostError as error:
        enforced = writer.sent.failed(error)
    if isinstance(enforced, Failed) and enforced.in_force == UNCHANGED:
        anew = any(table.goes_first for table in before.installed)
        return replace(enforced, in_force=UNKNOWN if anew else CLEARED)
    return enforced


def counts(generation: Generation) -> tuple[tuple[str, int], ...]:
    """The numbers of resources in a generation and of interfaces that it governs, for people."""
    resources = generation.candidate.resources
    expired = sum(one.kind in ENFORCED_KINDS for one in generation.plan.expired)
    return (
        ("policies", len(resources.enforced) - expired),
        ("stagedPolicies", len(resources.staged)),
        ("endpoints", len(generation.plan.host_endpoints)),
        ("interfaces", generation.governed_interfaces),
    )


def _commits_before_switch(sent: Change) -> int | None:
    """The commits of a change that failed at its switch or before; None if sets make it unknown how many were done."""
    return None if sent.set_loads or sent.set_edits or sent.set_reloads else int(bool(sent.prepare))


def _commits(sent: Change) -> int:
    """The number of commits that a change took, but for the loading of big sets, which tells its own."""
    switching = (sent.renamings, sent.switch, sent.wakings)
    return len(sent.set_edits) + len(sent.set_reloads) + sum(map(bool, (sent.prepare, *switching, sent.sweep)))


def _remember(writer: Writer, generation: Generation, before: KernelState, now: KernelState) -> Iterator[str]:
    """Write down what is in force, unless it is written already."""
    chains, node = _own_chains(generation, before, now), generation.plan.node
    record = replace(
        new_record(writer, generation.id, chains, before.record, now.kernel_generation, counts(generation), node),
        sets=tuple(
            (table.family, name, str(declared))
            for table in generation.ruleset.tables
            for name, declared in sorted(declarations_of(table))
        ),
        counters=tuple((table.family, counters_digest(table.counters)) for table in now.installed),
    )
    if now.tables is not None:
        record = replace(record, compared=not drift(now.tables, record))
    else:
        # Only what was sent was read: the rest is as it was.
        record = replace(record, compared=before.record is not None and before.record.compared)
    if before.ruleset is None or record != before.record:
        yield from save_record(writer, record)
    if writer.cache is not None and not now.changed_by_others and not writer.cache.done.begun:
        stamp = record_stamp(writer.directories.run) or ()
        writer.cache.last_commit = LastCommit(now.kernel_generation, generation.ruleset, now.installed, record, stamp)


def _own_chains(generation: Generation, before: KernelState, now: KernelState) -> Digests:
    """The chains that a generation has or that were there before it: what came meanwhile is no work of ours."""
    tables = generation.ruleset.tables
    based = {(table.family, chain.name) for table in tables for chain in table.base_chains}
    if now.tables is None:
        # What was sent was read by name, and with it base chains alone, whoever made them.
        based |= {one[:2] for one in before.chains if one[1] in BASE_CHAIN_NAMES}
        return tuple([one for one in now.chains if one[1] not in BASE_CHAIN_NAMES or one[:2] in based])
    ours = based | {(family, name) for family, name, _ in before.chains}
    ours.update((table.family, chain.name) for table in tables for chain in table.chains)
    return tuple(one for one in now.chains if one[:2] in ours)


def new_record(
    writer: Writer,
    generation_id: str,
    chains: Digests,
    before: ActiveGeneration | None,
    kernel_generation: int,
    counted: Counts,
    node: str = "",
) -> ActiveGeneration:
    """The record of what is in force now, which keeps the moment at which it was applied."""
    known = before is not None and before.id == generation_id and before.chains == chains
    applied_at = before.applied_at if known and before is not None else writer.host.now()
    saved = (before is None or before.saved) and not (writer.cache is not None and writer.cache.done.unsaved)
    return ActiveGeneration(generation_id, applied_at, kernel_generation, chains, counted, node, saved=saved)


def save_record(writer: Writer, record: ActiveGeneration) -> Iterator[str]:
    """A disk that will not take it does not undo it; a record of what was in force before would say what is not so."""
    if said := write_record(writer.directories.run, writer.cache, record):
        yield f"{said}: the next apply writes every chain again"


def say(stopped: Failed | None, what: str) -> tuple[str, ...]:
    """A warning of what was left undone, if anything was."""
    return () if stopped is None else (f"{what}: {stopped.message}",)
