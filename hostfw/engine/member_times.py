"""Ends of members of external sets that the kernel's own clock misses: sleep, and clocks that were set.

The kernel counts timeouts by a clock that stands still while the host sleeps (jiffies, Linux 6.18), so a member would
outlive its time by as long as the host slept. What was written down for the next boot counts by the clock on the wall,
which somebody may set.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hostfw.engine.kernel.external_members import find_external, held
from hostfw.engine.kernel.member_changes import change_script, ends_of, moment
from hostfw.engine.kernel.transactions import commit
from hostfw.engine.kernel.writer import Writer
from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.members import Moment, SavedMembers, load_members, save_members
from hostfw.model.plan import ExternalSet, Plan
from hostfw.model.values import Cidr
from hostfw.policy.expiry import CLOCK_TOLERANCE

_ASLEEP = "asleep"
_SLACK_S = 1.0


def settle_members(plan: Plan, writer: Writer) -> Iterator[str]:
    """Have members of external sets end in time, and write their ends down again where a clock was set.

    Members that other programs put in lose what the host slept since the last look. Gives warnings. Raises HostError.
    """
    if not plan.external:
        return
    asleep_s = max(writer.host.uptime() - writer.host.monotonic(), 0.0)
    record = writer.directories.run / _ASLEEP
    slept_s = asleep_s - _asleep_before(record, asleep_s)
    tables = writer.host.read_names()
    for one in plan.external:
        external = find_external(tables, one.name)
        if external is None:
            continue
        now = moment(writer.host)
        try:
            saved = load_members(writer.directories.state, one.name)
        except Unreadable:
            # The next look has it; what the host slept counts for all members alike until then.
            saved = SavedMembers()
        yield from _shorten(external, saved, now, slept_s, writer, has_slept=asleep_s >= _SLACK_S)
        yield from _rewrite(one.name, saved, now, writer)
    try:
        write_atomically(record, f"{asleep_s:.3f}\n".encode())
    except WriteError as error:
        yield f"{record} could not be written: {error}"


def _asleep_before(record: Path, asleep_s: float) -> float:
    """The seconds that the host had slept in this boot at the last look; now is the first look without a record."""
    try:
        return min(float(record.read_text()), asleep_s)
    except (OSError, ValueError):
        return asleep_s


def _shorten(
    external: ExternalSet, saved: SavedMembers, now: Moment, slept_s: float, writer: Writer, *, has_slept: bool
) -> Iterator[str]:
    """Take members out, or give them less time, that would stay longer than they were put in for."""
    is_of_this_boot = saved.at is not None and saved.at.boot_id == now.boot_id
    counts = not saved.is_behind(now, CLOCK_TOLERANCE) and (has_slept or not is_of_this_boot)
    if slept_s < _SLACK_S and not (counts and saved.ends):
        return
    wanted: Mapping[Cidr, float | None] = saved.left_s(now, CLOCK_TOLERANCE) if counts else {}
    gone: list[Cidr] = []
    shorter: dict[Cidr, float | None] = {}
    for member in held(writer.host, external).members:
        if member.left_s is None:
            continue
        left_s = wanted.get(member.cidr)
        if left_s is None:
            left_s = member.left_s - slept_s
        if left_s >= member.left_s - _SLACK_S:
            continue
        gone.append(member.cidr)
        if left_s > 0:
            shorter[member.cidr] = left_s
    stopped = commit(change_script(external, gone, shorter), writer.nftables)
    if stopped is not None:
        yield f"members of {external.name} stay longer than they should: {stopped.message}"


def _rewrite(name: str, saved: SavedMembers, now: Moment, writer: Writer) -> Iterator[str]:
    """Write ends down again by the clock as it is now, for the next boot."""
    at = saved.at
    if at is None or not saved.ends or saved.is_behind(now, CLOCK_TOLERANCE):
        return
    step_s = (now.wall - at.wall).total_seconds() - (now.uptime_s - at.uptime_s)
    if at.boot_id == now.boot_id and abs(step_s) < _SLACK_S:
        return
    left = {cidr: left_s for cidr, left_s in saved.left_s(now, CLOCK_TOLERANCE).items() if left_s is None or left_s > 0}
    try:
        save_members(writer.directories.state, name, SavedMembers(now, ends_of(left, now)))
    except WriteError as error:
        yield f"{error}: after a reboot members of {name} may end at another moment"
