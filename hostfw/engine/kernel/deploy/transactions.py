"""Transactions of an apply: each is sent as a whole, and a failure says whether packets may meet other rules by it."""

import errno
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from hostfw.engine.context import Host
from hostfw.engine.kernel.deploy.set_loading import load_sets
from hostfw.engine.kernel.state.state import KernelState
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import (
    FEEDS_CHANGED,
    SOME_FEEDS_CHANGED,
    UNCHANGED,
    UNKNOWN,
    Failed,
    failed,
    refusal,
    shortened,
)
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.writing.script_runner import Nftables, NftFailure, NftResult
from hostfw.nft.amendment import Amendment
from hostfw.nft.change import Change, SetLoad
from hostfw.nft.declarations import SetName, fixed_contents
from hostfw.nft.deletion import Deletion
from hostfw.nft.objects import Ruleset
from hostfw.nft.timed_edit import TimedEdit


def prepare(script: str, nftables: Nftables) -> Failed | None:
    """Commit what adds and no more; None if it is done."""
    stopped = commit(script, nftables)
    return None if stopped is None else replace(stopped, in_force=UNCHANGED)


def send_change(planned: Change, kernel_state: KernelState, writer: Writer) -> Failed | None:
    """Send everything that packets may meet; None if they meet all of it."""
    nftables = writer.nftables
    stopped = edit_feeds(planned.set_edits, nftables, writer.directories.run) or reload_changed_sets(planned, nftables)
    if stopped is not None:
        return stopped
    stopped = amend(planned.renamings, nftables) or _switch(planned, kernel_state, writer)
    if stopped is None and planned.wakings:
        stopped = amend(planned.wakings, nftables)
    edited = stopped is not None and planned.set_edits and stopped.in_force == UNCHANGED
    return replace(stopped, in_force=FEEDS_CHANGED) if stopped is not None and edited else stopped


def _switch(planned: Change, kernel_state: KernelState, writer: Writer) -> Failed | None:
    """Let packets meet what was prepared; None if they do."""
    if planned.activation:
        activated = _activate(planned, kernel_state, writer)
        if activated is not _ANOTHER_PROGRAM:
            return activated
    known = kernel_state.ruleset is not None and not planned.activation
    return commit(planned.switch, writer.nftables) if known else send(planned.switch, writer.nftables)


_ANOTHER_PROGRAM = Failed("another program was at our tables since they were read")
"""The reason against activation by deletion: base chains may hold unknown rules, and a script overwrites them."""


def _activate(planned: Change, kernel_state: KernelState, writer: Writer) -> Failed | None:
    """Turn the base chains, at the generation of nftables that our own commits have led to; None if it is done.

    At another one others may have put rules anywhere among those that we know, unless it is known that they did not.
    """
    since = kernel_state.kernel_generation
    ours = len(planned.set_edits) + len(planned.set_reloads) + bool(planned.prepare) + bool(planned.renamings)
    generation = None if planned.set_loads else since + ours
    for _ in range(2):
        if generation is None:
            try:
                generation = writer.host.read_generation()
            except HostError:
                break
            if not writer.host.only_ours(since, generation):
                break
        try:
            writer.nftables.activate(planned.activation, generation)
        except NetlinkError as error:
            if error.errno == errno.ETIMEDOUT:
                return Failed(error.message, error.hint, UNKNOWN)
            generation = None
        else:
            return None
    return _ANOTHER_PROGRAM


def commit(script: str, nftables: Nftables) -> Failed | None:
    """Commit one transaction; None if it is done."""
    if not script:
        return None
    try:
        result = nftables.commit(script)
    except NftFailure as failure:
        return _no_answer(failure)
    return None if result.ok else _refused_by_nft(script, result)


def send(script: str, nftables: Nftables) -> Failed | None:
    """Check one transaction and commit it; None if it is done."""
    if not script:
        return None
    try:
        result = nftables.check(script)
    except NftFailure as failure:
        return _no_answer(failure)
    return commit(script, nftables) if result.ok else _refused_by_nft(script, result)


def _no_answer(failure: NftFailure) -> Failed:
    return Failed(failure.message, failure.hint, UNCHANGED if failure.unchanged else UNKNOWN)


def delete(deletions: tuple[Deletion, ...], nftables: Nftables) -> Failed | None:
    """Delete in one transaction; None if it is done."""
    if not deletions:
        return None
    try:
        nftables.delete(deletions)
    except NetlinkError as error:
        return Failed(error.message, error.hint, UNKNOWN if error.errno == errno.ETIMEDOUT else UNCHANGED)
    return None


def edit_members(edits: tuple[TimedEdit, ...], host: Host) -> Failed | None:
    """Change addresses with times in one transaction; None if it is done."""
    if not edits:
        return None
    try:
        host.edit_timed(edits)
    except NetlinkError as error:
        return Failed(error.message, error.hint, UNKNOWN if error.errno == errno.ETIMEDOUT else UNCHANGED)
    return None


def amend(amendments: tuple[Amendment, ...], nftables: Nftables) -> Failed | None:
    """Rename and wake in one transaction; None if it is done. Raises NetlinkError where what was to be is gone."""
    if not amendments:
        return None
    try:
        nftables.amend(amendments)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            # Another program has removed it since it was read, and nothing of this was done.
            raise
        return Failed(error.message, error.hint, UNKNOWN)
    return None


def reload_changed_sets(planned: Change, nftables: Nftables) -> Failed | None:
    """Give sets that another program emptied their elements again, each in a transaction of its own; None if done."""
    for done, (family, contents) in enumerate(planned.set_reloads):
        try:
            nftables.reload_sets(((family, contents),))
        except NetlinkError as error:
            if error.errno == errno.ETIMEDOUT or done:
                return replace(failed(error), in_force=UNKNOWN)
            return replace(failed(error), in_force=FEEDS_CHANGED) if planned.set_edits else failed(error)
    return None


def reload_sets(ruleset: Ruleset, names: Collection[SetName], nftables: Nftables) -> tuple[SetName, ...] | Failed:
    """Give these sets and maps the content that a ruleset has for them; gives those that it knows, in its order.

    Each is one transaction. What the ruleset does not name, and dynamic sets, which rules fill, are left alone.
    """
    reloaded: list[SetName] = []
    wanted = ((table.family, contents) for table in ruleset.tables for contents in fixed_contents(table))
    for family, contents in wanted:
        if (family, contents.name) not in names:
            continue
        try:
            nftables.reload_sets(((family, contents),))
        except NetlinkError as error:
            unchanged = error.errno != errno.ETIMEDOUT and not reloaded
            return Failed(error.message, error.hint, UNCHANGED if unchanged else UNKNOWN)
        reloaded.append((family, contents.name))
    return tuple(reloaded)


def edit_feeds(edits: tuple[SetLoad, ...], nftables: Nftables, run_dir: Path) -> Failed | None:
    """Edit the sets of big Feeds, each in a transaction of its own that packets meet at once; None if all are."""
    for done, edit in enumerate(edits):
        try:
            load_sets((edit,), nftables, run_dir)
        except HostError as error:
            if isinstance(error, NetlinkError) and error.errno == errno.ETIMEDOUT:
                return replace(failed(error), in_force=UNKNOWN)
            return replace(failed(error), in_force=SOME_FEEDS_CHANGED) if done else failed(error)
    return None


def _refused_by_nft(script: str, result: NftResult) -> Failed:
    """Nft refuses a script only by our defect or another program's change: show the line that it names."""
    lines = script.splitlines()
    known = result.line is not None and 0 < result.line <= len(lines)
    line = f": {shortened(lines[result.line - 1].strip())}" if known and result.line is not None else ""
    return Failed(f"nft refused the transaction{line}: {refusal(result)}")
