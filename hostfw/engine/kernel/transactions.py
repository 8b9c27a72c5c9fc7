"""Transactions of an apply: each is sent as a whole, and a failure says whether packets may meet other rules by it."""

import errno
from dataclasses import replace
from pathlib import Path

from hostfw.engine.context import Host
from hostfw.engine.kernel.set_loading import load_sets
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
from hostfw.host.nftables.script_runner import Nftables, NftFailure, NftResult
from hostfw.nft.amendment import Amendment
from hostfw.nft.change import Change, SetLoad
from hostfw.nft.deletion import Deletion
from hostfw.nft.timed_edit import TimedEdit


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
    """Rename and wake in one transaction; None if it is done."""
    if not amendments:
        return None
    try:
        nftables.amend(amendments)
    except NetlinkError as error:
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
