"""Another program that removes rules while they are put into force, as `nft flush ruleset` does: they are sent again.

It happens once and is over, as a rule, so that the change need not fail for it: the kernel is read anew and sent what
it lacks then. Whoever removes them without pause is named as the reason in the end.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace

from hostfw.engine.kernel.state.state import KernelState
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import UNKNOWN, Failed, failed
from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import NetlinkError
from hostfw.nft.change import Change

TRIES = 5
"""A flush disturbs twice: base protection, which the service sends at once, is the second time."""
WRITTEN_AGAIN = "another program changed our tables while rules were put into force: they were written again"

_GONE = (errno.ENOENT, errno.EBUSY, errno.EEXIST)
"""Answers of the kernel to who knows of objects what is no longer so."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """The change that was sent, and warnings about parts that failed without blocking it.

    It was written again so many times since another program removed some of it.
    """

    change: Change
    warnings: tuple[str, ...] = ()
    again: int = 0


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A change that another program disturbed, and how that ends if it is not tried again."""

    failed: Failed


def until_undisturbed(attempt: Callable[[], Enforced | Failed | Disturbed], writer: Writer) -> Enforced | Failed:
    """Try again for as long as another program disturbs, a few times at most. Raises HostError."""
    outcome = _attempted(attempt)
    if not isinstance(outcome, Disturbed):
        return outcome
    for again in range(1, TRIES):
        if writer.cache is not None:
            writer.cache.last_commit = None
        outcome = _attempted(attempt)
        if isinstance(outcome, Enforced):
            return replace(outcome, warnings=(*outcome.warnings, WRITTEN_AGAIN), again=again)
        if isinstance(outcome, Failed):
            return replace(outcome, in_force=UNKNOWN)
    return replace(outcome.failed, in_force=UNKNOWN)


def _attempted(attempt: Callable[[], Enforced | Failed | Disturbed]) -> Enforced | Failed | Disturbed:
    try:
        return attempt()
    except NetlinkError as error:
        if error.errno not in _GONE:
            raise
        return Disturbed(failed(error))


def disturbed(failure: Failed, writer: Writer, before: KernelState, commits: int | None) -> Failed | Disturbed:
    """The failure of what was sent on top of a state, and of so many commits of ours; Disturbed if others were there.

    One that left open what the kernel did is none that anybody may try again. Where commits cannot be counted, which
    is None, others were there if chains are gone that nothing of ours removes before a switch.
    """
    if failure.in_force == UNKNOWN:
        return failure
    since = before.kernel_generation
    try:
        now = writer.host.read_generation()
        if commits is None and not _has_lost_chains(before, writer):
            return failure
    except HostError:
        return failure
    alone = commits is not None and now <= since + commits
    return failure if alone or writer.host.only_ours(since, now) else Disturbed(failure)


def _has_lost_chains(before: KernelState, writer: Writer) -> bool:
    tables = writer.host.read_names()
    return any(
        not {chain.name for chain in tables.of(table.family).chains}.issuperset((*table.chains, *table.base_chains))
        for table in before.installed
    )


def once(before_switch: Callable[[Change], Failed | None]) -> Callable[[Change], Failed | None]:
    """The work before a switch, done once, before the first one that has something to switch to."""
    done = False

    def first(planned: Change) -> Failed | None:
        nonlocal done
        if done:
            return None
        stopped = before_switch(planned)
        done = stopped is None and not planned.is_empty
        return stopped

    return first
