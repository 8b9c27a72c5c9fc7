"""A generation into the kernel: prepare, switch and sweep, each script checked before it is sent, then read back."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hostfw.engine.fills import fill, remember_contents, unfilled
from hostfw.engine.generation import Generation, script_id
from hostfw.engine.host import Directories, Host
from hostfw.engine.installed import digests, installed_tables, missing
from hostfw.engine.outcomes import FEEDS_CHANGED, UNCHANGED, UNKNOWN, Failed
from hostfw.host.errors import HostError
from hostfw.host.in_force import InForce, forget_in_force, load_in_force, save_in_force
from hostfw.host.netlink import NetlinkError
from hostfw.host.nftables import Nftables, NftFailure, NftResult
from hostfw.host.stored import StateError
from hostfw.host.tables import KernelTables
from hostfw.model.values import FAMILIES
from hostfw.nft.change import Change, change
from hostfw.nft.deletions import Deleted, Deletion


def _nobody(_: Generation | None) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Writer:
    """The one who may write at this moment: who holds the lock, and a worker that sends what is written.

    `tell` hears of each generation that has come into force, None for a script that no generation is known of.
    """

    directories: Directories
    host: Host
    nftables: Nftables
    tell: Callable[[Generation | None], None] = _nobody


@dataclass(frozen=True, slots=True)
class Enforced:
    """What was sent, and what did not go as it should without standing in the way."""

    change: Change
    warnings: tuple[str, ...] = ()


def _nothing_before(_: Change) -> Failed | None:
    return None


def _nothing_after() -> Iterator[str]:
    return iter(())


def enforce(
    generation: Generation,
    writer: Writer,
    before_switch: Callable[[Change], Failed | None] = _nothing_before,
    after_switch: Callable[[], Iterator[str]] = _nothing_after,
) -> Enforced | Failed:
    """Put a generation into force and remember it.

    `before_switch` may still call it off; `after_switch` is what must not wait once packets meet the new generation.
    """
    record, _ = load_in_force(writer.directories.run)
    tables = writer.host.read_tables()
    lacking_elements = unfilled(generation.ruleset, tables, writer.nftables)
    planned = change(generation.ruleset, installed_tables(tables, record, lacking_elements))
    stopped = send(planned.prepare, writer.nftables)
    if stopped is not None:
        return stopped
    fill(planned.fills, writer.nftables, writer.directories.run)
    stopped = before_switch(planned)
    if stopped is not None:
        return stopped
    fill(planned.edits, writer.nftables, writer.directories.run)
    stopped = send(planned.switch, writer.nftables)
    if stopped is not None:
        edited = planned.edits and stopped.in_force == UNCHANGED
        return replace(stopped, in_force=FEEDS_CHANGED) if edited else stopped
    noted = tuple(after_switch())
    swept = _say(_delete(planned.sweep, writer.nftables), "what is no longer used could not be removed")
    if not planned.is_empty:
        try:
            tables = writer.host.read_tables()
        except HostError as error:
            message = f"the generation was committed, but could not be read back: {error.message}"
            return Failed(message, error.hint, in_force=UNKNOWN)
    lacking = missing(tables, generation.ruleset)
    if lacking:
        return Failed(
            f"the kernel does not hold what was committed: {', '.join(lacking[:3])}",
            "another program changes our tables; `nft monitor` shows which",
            in_force=UNKNOWN,
        )
    writer.tell(generation)
    remember_contents(generation.ruleset, writer.directories.run)
    remembered = _remember(writer, generation.id, tables, counts(generation), generation.plan.node)
    return Enforced(planned, (*noted, *swept, *remembered))


def enforce_script(script: str, writer: Writer, counted: tuple[tuple[str, int], ...] = ()) -> Enforced | Failed:
    """Put a whole script into force, as the boot does; what it does not use is swept by the next generation."""
    stopped = send(script, writer.nftables)
    if stopped is not None:
        return stopped
    try:
        tables = writer.host.read_tables()
    except HostError as error:
        return Failed(f"the script was committed, but could not be read back: {error.message}", in_force=UNKNOWN)
    writer.tell(None)
    return Enforced(Change(switch=script), tuple(_remember(writer, script_id(script), tables, counted)))


def enforce_nothing(writer: Writer) -> Enforced | Failed:
    """Remove our tables, and with them every rule of ours."""
    tables = writer.host.read_tables()
    deletions = tuple(Deletion(family, Deleted.TABLE) for family in FAMILIES if tables.of(family).exists)
    stopped = _delete(deletions, writer.nftables)
    if stopped is not None:
        return stopped
    writer.tell(None)
    forget_in_force(writer.directories.run)
    return Enforced(Change(sweep=deletions))


def send(script: str, nftables: Nftables) -> Failed | None:
    """Check one transaction and commit it; None if it is done."""
    if not script:
        return None
    try:
        result = nftables.check(script)
        if result.ok:
            result = nftables.commit(script)
    except NftFailure as failure:
        in_force = UNCHANGED if failure.unchanged else UNKNOWN
        return Failed(failure.message, failure.hint, in_force)
    return None if result.ok else _refused_by_nft(script, result)


def _delete(deletions: tuple[Deletion, ...], nftables: Nftables) -> Failed | None:
    """Delete in one transaction; None if it is done."""
    if not deletions:
        return None
    try:
        nftables.delete(deletions)
    except NetlinkError as error:
        return Failed(error.message, error.hint, UNKNOWN if error.errno == errno.ETIMEDOUT else UNCHANGED)
    return None


def counts(generation: Generation) -> tuple[tuple[str, int], ...]:
    """How much a generation holds and governs, for people."""
    resources = generation.inspected.resources
    return (
        ("policies", len(resources.policies)),
        ("endpoints", len(generation.plan.endpoints)),
        ("interfaces", generation.governed_interfaces),
    )


def _remember(
    writer: Writer, generation_id: str, tables: KernelTables, counted: tuple[tuple[str, int], ...], node: str = ""
) -> Iterator[str]:
    """Write down what is in force. A disk that will not take it does not undo it."""
    record, _ = load_in_force(writer.directories.run)
    chains = digests(tables)
    known = record is not None and record.id == generation_id and record.chains == chains
    applied_at = record.applied_at if known and record is not None else writer.host.now()
    try:
        save_in_force(
            writer.directories.run, InForce(generation_id, applied_at, tables.generation, chains, counted, node)
        )
    except StateError as error:
        yield f"{error.message}: the next apply writes every chain again"


def _say(stopped: Failed | None, what: str) -> tuple[str, ...]:
    return () if stopped is None else (f"{what}: {stopped.message}",)


def _refused_by_nft(script: str, result: NftResult) -> Failed:
    """Nft refuses only what a defect of ours or another's hand in our tables leads to: show the line that it names."""
    lines = script.splitlines()
    known = result.line is not None and 0 < result.line <= len(lines)
    line = f": {lines[result.line - 1].strip()}" if known and result.line is not None else ""
    return Failed(f"nft refused the transaction{line}: {result.error.strip()}")
