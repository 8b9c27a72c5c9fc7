"""Ends of members of external sets that the kernel's own clock misses: sleep, and clocks that were set.

The kernel counts timeouts by a clock that stands still while the host sleeps (jiffies, Linux 6.18), so a member would
outlive its time by as long as the host slept. What was written down for the next boot counts by the clock on the wall,
which somebody may set.

A member of another program loses what the host slept since the member was put in, as far as that is certain: the kernel
tells how long ago that was, and each look is a moment at which the sleep so far is known. What a kernel refuses to
shorten is owed: the next look at the set counts from the last one that was complete.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hostfw.engine.kernel.deploy.transactions import commit
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.external_members import find_external, held
from hostfw.engine.members.member_changes import AddressRange, change_script, ends_of, moment, range_text, ranges_script
from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.host.store.atomic_files import WriteError
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.members.members import Moment, SavedMembers, load_members, save_members
from hostfw.host.store.members.sleep import SleepSoFar, load_looks, save_looks
from hostfw.model.plan import ExternalSet, Member, Plan
from hostfw.model.values import Cidr, address_text
from hostfw.model.wording import counted
from hostfw.policy.expiry import CLOCK_TOLERANCE

_SLACK_S = 1.0
_TRIES = 2
"""Members may end between a look and a commit, which the kernel refuses then."""
_MOST_COMMITS = 64
"""Most transactions of one look that find out which members the kernel refuses to shorten."""
_CLOCKS_DIFFER = 0.001
"""Share by which the clock of timeouts and that of looks may differ: twice what NTP corrects (adjtimex(2))."""
_LOOK_S = 0.05
"""Resolution of timeouts in the kernel, and the time that a look takes."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at one set: what is written down of it, and what its members may have missed.

    `asleep` is what the host has slept by now, and `known` are earlier moments at which that is known, in their order.
    """

    external: ExternalSet
    saved: SavedMembers
    now: Moment
    asleep: SleepSoFar
    known: Sequence[SleepSoFar]

    @property
    def slept_s(self) -> float:
        """The most that a member may have missed since the first of the known moments."""
        return self.asleep.asleep_s - self.known[0].asleep_s if self.known else 0.0

    def wanted(self) -> Mapping[Cidr, float | None]:
        """The seconds that members of ours have left, where the kernel may believe in others."""
        is_of_this_boot = self.saved.at is not None and self.saved.at.boot_id == self.now.boot_id
        if self.saved.is_behind(self.now, CLOCK_TOLERANCE) or (is_of_this_boot and self.asleep.asleep_s < _SLACK_S):
            return {}
        return self.saved.left_s(self.now, CLOCK_TOLERANCE)

    def is_renewed(self, member: Member, left_s: float) -> bool:
        """True if a member of ours has more time than any sleep explains: another program put it in again.

        What is written down of an earlier boot was put in by the boot, with no more time than it had then.
        """
        at, end = self.saved.at, self.saved.ends.get(member.cidr)
        if at is None or end is None:
            return False
        if at.boot_id == self.now.boot_id:
            return (member.left_s or 0.0) - left_s > self.asleep.asleep_s + _SLACK_S
        given_s = self.given_s(member)
        return given_s is not None and given_s > (end - at.wall).total_seconds() + _SLACK_S

    def given_s(self, member: Member) -> float | None:
        """The seconds that a member was put in for; None for no end."""
        return member.given_s if member.given_s is not None else self.external.timeout_s

    def missed_s(self, member: Member, monotonic_s: float) -> float:
        """The seconds that the host has certainly slept since a member was put in."""
        given_s = self.given_s(member)
        if given_s is None or member.left_s is None:
            return 0.0
        age_s = given_s - member.left_s
        put_in_s = monotonic_s - age_s + age_s * _CLOCKS_DIFFER + _LOOK_S
        after = next((one for one in self.known if one.at_s >= put_in_s), self.asleep)
        return self.asleep.asleep_s - after.asleep_s


_Element = Cidr | AddressRange


def settle_members(plan: Plan, writer: Writer) -> tuple[str, ...]:
    """Have members of external sets end in time, and write their ends down again where a clock was set.

    Gives warnings; the cache keeps what could not be done, which is to be tried again. Raises HostError.
    """
    said, owed = _settle(plan, writer) if plan.external else ([], [])
    if writer.cache is not None:
        writer.cache.done.unsettled = "; ".join(owed)
    return (*owed, *said)


def _settle(plan: Plan, writer: Writer) -> tuple[list[str], list[str]]:
    """Give warnings, and what is to be tried again."""
    host, said, owed = writer.host, list[str](), list[str]()
    monotonic_s = host.monotonic()
    asleep = SleepSoFar(monotonic_s, max(host.uptime() - monotonic_s, 0.0))
    noticed = writer.cache.done.asleep if writer.cache is not None else ()
    run, boot_id = writer.directories.run, host.boot_id()
    try:
        looks = load_looks(run, boot_id)
    except Unreadable as error:
        # What members missed is known again once it can be read.
        return said, [f"members of sets may stay longer than they should: {error.message}"]
    complete: dict[str, SleepSoFar] = {}
    tables = host.read_sets()
    for one in plan.external:
        external = find_external(tables, one.name)
        if external is None:
            continue
        now = moment(host)
        try:
            saved = load_members(writer.directories.state, one.name)
        except Unreadable:
            # The next look has it; until then they count as members of other programs.
            saved = SavedMembers()
        before = looks.get(one.name)
        known = (before, *(of for of in noticed if of.asleep_s >= before.asleep_s)) if before is not None else noticed
        failed = _shorten(_Look(external, saved, now, asleep, sorted(known)), writer)
        if failed is None:
            complete[one.name] = asleep
        else:
            owed.append(failed)
            if before is not None:
                complete[one.name] = before
        said += _rewrite(one.name, saved, now, writer)
    try:
        save_looks(run, boot_id, complete)
    except WriteError as error:
        said.append(str(error))
    return said, owed


def _shorten(look: _Look, writer: Writer) -> str | None:
    """Take members out, or give them less time, that would stay longer than they were put in for; None if it is done.

    What the kernel refuses is told by one of the members.
    """
    wanted = look.wanted()
    if look.slept_s < _SLACK_S and not wanted:
        return None
    why = ""
    for last in (*[False] * _TRIES, True):
        due = _due(look, wanted, writer)
        stopped = _commit(look.external, due, writer)
        if stopped is None:
            return None
        why = stopped.message
        if stopped.in_force == UNKNOWN:
            break
        if last:
            why = _commit_by_parts(look.external, due, writer) or why
    left = _due(look, wanted, writer)
    if not left:
        return None
    others = f" and {counted(len(left) - 1, 'other')}" if len(left) > 1 else ""
    name = look.external.name
    return f"{_text(next(iter(left)))}{others} of {name} would stay longer than they were put in for: {why}"


def _due(look: _Look, wanted: Mapping[Cidr, float | None], writer: Writer) -> dict[_Element, float]:
    """The members that have too much time, with the seconds that they are to have. Raises HostError."""
    members = held(writer.host, look.external).members
    # After the members are read: what was put in meanwhile is too new by this clock, never too old.
    monotonic_s = writer.host.monotonic()
    due: dict[_Element, float] = {}
    for member in members:
        if member.left_s is None:
            continue
        left_s = wanted.get(member.cidr) if member.part_of is None else None
        if left_s is None or look.is_renewed(member, left_s):
            left_s = member.left_s - look.missed_s(member, monotonic_s)
        if left_s < member.left_s - _SLACK_S:
            element = member.cidr if member.part_of is None else (member.cidr.family, *member.part_of)
            due[element] = left_s
    return due


def _commit(external: ExternalSet, due: Mapping[_Element, float], writer: Writer) -> Failed | None:
    """Shorten members in one transaction; None if it is done."""
    cidrs = {one: left_s for one, left_s in due.items() if isinstance(one, Cidr)}
    ranges = {one: left_s for one, left_s in due.items() if not isinstance(one, Cidr)}
    staying = {one: left_s for one, left_s in cidrs.items() if left_s > 0}
    script = change_script(external, cidrs, staying) + ranges_script(external, ranges)
    return commit(script, writer.nftables)


def _commit_by_parts(external: ExternalSet, due: Mapping[_Element, float], writer: Writer) -> str:
    """Shorten those that the kernel lets us, which halves find out; gives the reason of the last refusal of one."""
    parts, why = [tuple(due.items())], ""
    for _ in range(_MOST_COMMITS):
        if not parts:
            break
        part = parts.pop()
        stopped = _commit(external, dict(part), writer)
        if stopped is not None and len(part) > 1:
            half = len(part) // 2
            parts += (part[half:], part[:half])
        elif stopped is not None:
            why = stopped.message
    return why


def _text(element: _Element) -> str:
    if isinstance(element, Cidr):
        return address_text(element.family, element.address) if element.is_host else str(element)
    return range_text(element)


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
