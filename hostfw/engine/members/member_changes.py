"""Members put into external sets and taken out at once, without a generation, and put back after a boot.

The later end of a member counts, so the same request twice changes nothing. Prefixes go through libnftables, which
knows how each kernel wants ranges with timeouts, and addresses alone past it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from hostfw.compile.object_names import external_sets
from hostfw.engine.context import Host
from hostfw.engine.kernel.deploy.transactions import commit, edit_members
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.external_members import Held, find_external, held
from hostfw.engine.outcomes import Failed, MembersChange, MembersChanged, NoSuchSet
from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.codec import Unreadable
from hostfw.host.store.generations.active import note_commit
from hostfw.host.store.members.members import Moment, SavedMembers, load_members, save_members, saved_sets
from hostfw.model.plan import ExternalSet, Member, Plan
from hostfw.model.values import FAMILIES, Cidr, Family, address_text, mask_of, merge
from hostfw.model.wording import counted
from hostfw.nft.objects import TABLE, Ruleset
from hostfw.nft.timed_edit import TimedEdit, seconds_of, timed
from hostfw.policy.expiry import CLOCK_TOLERANCE
from hostfw.policy.resolve.external import opened_by

_TRIES = 3
"""Members may end between a look and a commit, which the kernel refuses then."""
_SLACK_S = 1.0
_RUN_FOLDER = "members"

AddressRange = tuple[Family, int, int]
"""The first and the last address of a range that is no prefix, or is one address among prefixes."""


@dataclass(slots=True)
class _Decision:
    """A change as far as the kernel is concerned."""

    changed: MembersChanged
    gone: set[Cidr] = field(default_factory=set)
    new: dict[Cidr, float | None] = field(default_factory=dict)

    def after(self, now: Held) -> tuple[Member, ...]:
        """The members once it is done."""
        left = (member for member in now.members if member.cidr not in self.gone)
        return tuple(sorted((*left, *(Member(cidr, left_s) for cidr, left_s in self.new.items()))))


Check = Callable[[ExternalSet, tuple[Member, ...], tuple[Member, ...]], tuple[Failed | None, tuple[str, ...]]]
"""Gives why members may not be changed from these to those, or None, and warnings."""


def change_members(writer: Writer, change: MembersChange, check: Check) -> MembersChanged | NoSuchSet | Failed:
    """Change the members of a set in force, and keep them for the next boot. Raises HostError."""
    tables = writer.host.read_sets()
    external = find_external(tables, change.name)
    if external is None:
        return NoSuchSet(change.name)
    stopped: Failed | None = None
    for _ in range(_TRIES):
        now = held(writer.host, external)
        decision = _decide(change, now)
        if isinstance(decision, Failed):
            return decision
        if not decision.gone and not decision.new:
            return _kept(writer, change, decision, now)
        refused, warnings = check(external, now.members, decision.after(now))
        if refused is not None:
            return refused
        decision.changed = replace(decision.changed, warnings=warnings)
        stopped = writer.sent.after(partial(_send, external, decision, writer))
        if stopped is None:
            _note_commit(writer, tables.generation)
            return _kept(writer, change, decision, now)
        if not decision.gone:
            break
    return stopped or Failed("members ended as fast as they were changed", "run it again")


def _note_commit(writer: Writer, since: int) -> None:
    """Note that members alone were changed, if nobody else has committed since a generation of nftables."""
    # Where it cannot be read, everything is read the next time.
    with suppress(HostError):
        if writer.host.read_generation() == since + 1:
            note_commit(writer.directories.run, since)


def needs_nft(change: MembersChange) -> bool:
    """True if a change needs libnftables, which knows how each kernel wants ranges: that of a prefix."""
    return not all(cidr.is_host for cidr in (*change.added, *change.removed))


def _send(external: ExternalSet, decision: _Decision, writer: Writer) -> Failed | None:
    if any(not cidr.is_host for cidr in (*decision.gone, *decision.new)):
        return commit(change_script(external, decision.gone, decision.new), writer.nftables)
    return edit_members(tuple(_host_edits(external, decision.gone, decision.new)), writer.host)


def _host_edits(external: ExternalSet, gone: Iterable[Cidr], new: Mapping[Cidr, float | None]) -> Iterator[TimedEdit]:
    """The edits of the sets of addresses."""
    name, _ = external_sets(external)
    for family in FAMILIES:
        out = tuple(sorted(one.address for one in gone if one.family is family and one.is_host))
        into = sorted(
            (one.address, None if left_s is None else seconds_of(left_s))
            for one, left_s in new.items()
            if one.family is family and one.is_host
        )
        if out or into:
            yield TimedEdit(family, name, out, tuple(into))


def restore_members(
    ruleset: Ruleset, plan: Plan, was_there: Callable[[Family, str], bool], writer: Writer
) -> Iterator[str]:
    """Fill external sets that are new to the kernel, or that the boot made, with what hostfwctl had put in.

    Gives warnings. A clock that is behind the moment at which they were written down is wrong: then a member stays no
    longer than it had left, and one that ends comes into no set for whose sake anything is allowed.
    """
    sets = {one.name: one for table in ruleset.tables for one in table.sets if one.dynamic and one.dynamic.external}
    if not sets:
        return
    try:
        saved = saved_sets(writer.directories.state)
    except Unreadable as error:
        yield f"members of sets could not be put back: {error.message}"
        return
    for name in saved:
        external = next(
            (
                found
                for one in sets.values()
                if one.dynamic is not None
                and external_sets(found := ExternalSet(name, one.dynamic.size, one.dynamic.timeout_s))[0] == one.name
            ),
            None,
        )
        mark = writer.directories.run / _RUN_FOLDER / name
        if external is None or (mark.exists() and was_there(Family.V4, external_sets(external)[0])):
            continue
        try:
            members, withheld = _left(writer, plan, name)
        except Unreadable as error:
            yield f"members of {name} could not be put back: {error.message}"
            continue
        if members:
            already = {member.cidr for member in held(writer.host, external).members}
            script = change_script(external, (), {cidr: left for cidr, left in members.items() if cidr not in already})
            stopped = commit(script, writer.nftables) if script else None
            if stopped is not None:
                yield f"members of {name} could not be put back: {stopped.message}"
                continue
        if not withheld:
            yield from _mark(mark)


def _mark(mark: Path) -> Iterator[str]:
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(mark, b"")
    except (OSError, WriteError) as error:
        yield f"{mark} could not be written: {error}"


def _left(writer: Writer, plan: Plan, name: str) -> tuple[dict[Cidr, float | None], bool]:
    """The members to put back, and whether others are withheld until the clock is right."""
    saved, now = load_members(writer.directories.state, name), moment(writer.host)
    left = saved.left_s(now, CLOCK_TOLERANCE)
    opens = saved.is_behind(now, CLOCK_TOLERANCE) and name in opened_by(plan)
    counted = {cidr: left_s for cidr, left_s in left.items() if left_s is None or (left_s > 0 and not opens)}
    return counted, opens and len(counted) < len(left)


def moment(host: Host) -> Moment:
    """The moment by every clock that ends of members are written down by."""
    return Moment(host.now(), host.boot_id(), host.uptime())


def _decide(change: MembersChange, now: Held) -> _Decision | Failed:
    there = {member.cidr: member.left_s for member in now.members}
    wanted_s = change.for_s if change.for_s is not None else now.external.timeout_s
    decision = _Decision(MembersChanged(change.name))
    added, kept, removed, absent = [], [], [], []
    for cidr in merge(change.added):
        if not cidr.length:
            return Failed(f"{cidr} is everybody, and no member of a set", "write a policy for everybody")
        around = [one for one in _around(cidr, there) if _stays(there[one], wanted_s)]
        if around:
            kept.append(cidr)
            continue
        if not cidr.is_host and (stopped := _entangled(cidr, there, wanted_s)):
            return stopped
        inside = () if cidr.is_host else (one for one in there if not one.is_host and _within(one, cidr))
        decision.gone.update(one for one in (cidr, *inside) if one in there)
        decision.new[cidr] = wanted_s
        added.append(cidr)
    for cidr in dict.fromkeys(change.removed):
        if cidr in there:
            decision.gone.add(cidr)
            removed.append(cidr)
        elif covering := next(_around(cidr, there), None):
            return Failed(
                f"{_text(cidr)} is a member of {change.name} by {covering}", f"take {covering} out, or leave it in"
            )
        else:
            absent.append(cidr)
    for family in FAMILIES:
        for nets in (False, True):
            new = sum(one.family is family and one.is_host is not nets for one in decision.new)
            gone = sum(one.family is family and one.is_host is not nets for one in decision.gone)
            count = now.count(family, nets=nets)
            if new > gone and count + new - gone > now.external.size:
                what = counted(count, "prefix", "prefixes") if nets else counted(count, "address", "addresses")
                return Failed(
                    f"{change.name} is full: it holds {what} of IPv{family:d}, and at most {now.external.size}",
                    "take members out, or give its Feed a larger size and apply",
                )
    decision.changed = MembersChanged(change.name, tuple(added), tuple(kept), tuple(removed), tuple(absent))
    return decision


def _stays(left_s: float | None, wanted_s: float | None) -> bool:
    """True if a member with that time left is there for as long as is wanted."""
    return left_s is None or (wanted_s is not None and left_s >= wanted_s - _SLACK_S)


def _around(cidr: Cidr, there: Mapping[Cidr, float | None]) -> Iterator[Cidr]:
    """The member itself and those that cover it."""
    for length in range(cidr.length, -1, -1):
        one = Cidr(cidr.family, cidr.address & mask_of(cidr.family, length), length)
        if one in there:
            yield one


def _within(inner: Cidr, outer: Cidr) -> bool:
    return inner.family is outer.family and outer.length < inner.length and outer.contains(inner.address)


def _entangled(cidr: Cidr, there: Mapping[Cidr, float | None], wanted_s: float | None) -> Failed | None:
    """The refusal of a prefix that overlaps with one of another end, since ranges of the kernel cannot."""
    around = next((one for one in _around(cidr, there) if one != cidr), None)
    if around is not None:
        return Failed(f"{cidr} is within {around}, which ends earlier", f"put {around} in again for as long")
    outlives = (
        one
        for one, left_s in there.items()
        if not one.is_host and _within(one, cidr) and (left_s is None or (wanted_s is not None and left_s > wanted_s))
    )
    inside = next(outlives, None)
    if inside is None:
        return None
    return Failed(f"{inside} is within {cidr} and stays longer", f"put {cidr} in for as long, or take {inside} out")


def change_script(external: ExternalSet, gone: Iterable[Cidr], new: Mapping[Cidr, float | None]) -> str:
    """The commands that take members out and put others in, with the seconds that each has left."""
    gone = tuple(sorted(gone))
    lines: list[str] = []
    for family in FAMILIES:
        for name, nets in zip(external_sets(external), (False, True), strict=True):
            out = [_text(one) for one in gone if one.family is family and one.is_host is not nets]
            into = [
                timed(_text(one), None if left_s is None else seconds_of(left_s))
                for one, left_s in sorted(new.items(), key=lambda item: item[0])
                if one.family is family and one.is_host is not nets
            ]
            for verb, elements in (("delete", out), ("add", into)):
                if elements:
                    lines.append(f"{verb} element {family.nft} {TABLE} {name} {{ {', '.join(elements)} }}\n")
    return "".join(lines)


def ranges_script(external: ExternalSet, left_s: Mapping[AddressRange, float]) -> str:
    """The commands that give ranges the seconds that each is to have left, and take out those with none."""
    _, name = external_sets(external)
    lines: list[str] = []
    for one, left in sorted(left_s.items()):
        family, text = one[0], range_text(one)
        lines.append(f"delete element {family.nft} {TABLE} {name} {{ {text} }}\n")
        if left > 0:
            lines.append(f"add element {family.nft} {TABLE} {name} {{ {timed(text, seconds_of(left))} }}\n")
    return "".join(lines)


def range_text(one: AddressRange) -> str:
    """A range as nft has it."""
    family, first, last = one
    return "-".join(address_text(family, address) for address in dict.fromkeys((first, last)))


def _kept(writer: Writer, change: MembersChange, decision: _Decision, before: Held) -> MembersChanged:
    """Keep for the next boot what hostfwctl put in; what a disk does not take is said."""
    state, now = writer.directories.state, moment(writer.host)
    try:
        saved = load_members(state, change.name)
    except Unreadable as error:
        # Those that are kept must not be lost for these.
        return replace(decision.changed, unsaved=(f"{error.message}: after a reboot the members are those of before",))
    nets = [one for one in decision.new if not one.is_host]
    # With a clock that is wrong, what did not come back with the boot does not come back by it later, either.
    there = {member.cidr for member in before.members} if saved.is_behind(now, CLOCK_TOLERANCE) else None
    left = {
        cidr: left_s
        for cidr, left_s in saved.left_s(now, CLOCK_TOLERANCE).items()
        if cidr not in decision.gone
        and cidr not in change.removed
        and (left_s is None or (left_s > 0 and (there is None or cidr in there)))
        # Another program took it out: ranges of the kernel cannot overlap with it after the next boot.
        and not any(_within(cidr, one) or _within(one, cidr) for one in nets if not cidr.is_host)
    }
    if not decision.new and left.keys() == saved.ends.keys():
        return decision.changed
    try:
        save_members(state, change.name, SavedMembers(now, ends_of({**left, **decision.new}, now)))
    except WriteError as error:
        return replace(decision.changed, unsaved=(f"{error}: after a reboot the members are those of before",))
    # What another program takes out from now on is not to come back before the next boot.
    return replace(
        decision.changed,
        warnings=(*decision.changed.warnings, *_mark(writer.directories.run / _RUN_FOLDER / change.name)),
    )


def ends_of(left_s: Mapping[Cidr, float | None], now: Moment) -> dict[Cidr, datetime | None]:
    """The moments at which members end that have so many seconds left."""
    return {cidr: None if left is None else now.wall + timedelta(seconds=left) for cidr, left in left_s.items()}


def _text(cidr: Cidr) -> str:
    return address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
