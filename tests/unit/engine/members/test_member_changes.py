"""Changes of members of external sets: what counts as there, what gives way, and what a boot puts back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hostfw.engine.members.external_members import Held
from hostfw.engine.members.member_changes import _decide, change_script
from hostfw.engine.outcomes import Failed, MembersChange
from hostfw.host.store.members.members import Moment, SavedMembers, load_members, save_members, saved_sets
from hostfw.manifest.scalars.net_texts import loose_cidr
from hostfw.model.plan import ExternalSet, Member
from hostfw.model.values import Cidr

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BANS, TIMED = ExternalSet("bans", 65_536), ExternalSet("bans", 65_536, 600)


def cidr(text: str) -> Cidr:
    """A prefix or an address."""
    found = loose_cidr(text)
    assert found is not None
    return found


def script(
    there: dict[str, float | None],
    *added: str,
    for_s: int | None = None,
    removed: tuple[str, ...] = (),
    of: ExternalSet = BANS,
) -> str:
    """The commands that a change comes to, or why it does not."""
    now = Held(of, tuple(sorted(Member(cidr(text), left_s) for text, left_s in there.items())))
    change = MembersChange("bans", tuple(map(cidr, added)), for_s, tuple(map(cidr, removed)))
    decision = _decide(change, now)
    if isinstance(decision, Failed):
        return decision.message
    return (
        change_script(of, decision.gone, decision.new)
        .replace("ip hostfw external", "4")
        .replace("ip6 hostfw external", "6")
    )


CASES: list[tuple[str, str, str]] = [
    ("a new one", script({}, "192.0.2.7", for_s=60), "add element 4/bans { 192.0.2.7 timeout 60s }\n"),
    ("ten years", script({}, "192.0.2.7", for_s=315_360_001), "add element 4/bans { 192.0.2.7 timeout 3650d1s }\n"),
    ("for ever", script({}, "192.0.2.7"), "add element 4/bans { 192.0.2.7 }\n"),
    (
        "the time of the set",
        script({}, "2001:db8::1", of=TIMED),
        "add element 6/bans/600s { 2001:db8::1 timeout 600s }\n",
    ),
    ("one that is there as long", script({"192.0.2.7": 3600.0}, "192.0.2.7", for_s=60), ""),
    ("one that is there for ever", script({"192.0.2.7": None}, "192.0.2.7", for_s=60), ""),
    (
        "one that ends earlier",
        script({"192.0.2.7": 30.0}, "192.0.2.7", for_s=60),
        "delete element 4/bans { 192.0.2.7 }\nadd element 4/bans { 192.0.2.7 timeout 60s }\n",
    ),
    ("one within a prefix that stays", script({"192.0.2.0/24": None}, "192.0.2.7", for_s=60), ""),
    (
        "one within a prefix that ends earlier",
        script({"192.0.2.0/24": 5.0}, "192.0.2.7", for_s=60),
        "add element 4/bans { 192.0.2.7 timeout 60s }\n",
    ),
    (
        "a prefix around those that end earlier",
        script({"192.0.2.0/24": 5.0, "192.0.3.9": 5.0}, "192.0.0.0/16", for_s=60),
        "delete element 4-nets/bans { 192.0.2.0/24 }\nadd element 4-nets/bans { 192.0.0.0/16 timeout 60s }\n",
    ),
    (
        "a prefix around one that stays",
        script({"192.0.2.0/24": None}, "192.0.0.0/16", for_s=60),
        "192.0.2.0/24 is within 192.0.0.0/16 and stays longer",
    ),
    (
        "a prefix within one that ends earlier",
        script({"192.0.0.0/16": 5.0}, "192.0.2.0/24", for_s=60),
        "192.0.2.0/24 is within 192.0.0.0/16, which ends earlier",
    ),
    ("one taken out", script({"192.0.2.7": None}, removed=("192.0.2.7",)), "delete element 4/bans { 192.0.2.7 }\n"),
    ("one that is not there", script({}, removed=("192.0.2.7",)), ""),
    (
        "one that is there by a prefix",
        script({"192.0.2.0/24": None}, removed=("192.0.2.7",)),
        "192.0.2.7 is a member of bans by 192.0.2.0/24",
    ),
    (
        "more than there is room for",
        script({"192.0.2.7": None}, "192.0.2.8", of=ExternalSet("bans", 1)),
        "bans is full: it holds 1 address of IPv4, and at most 1",
    ),
    (
        "a full set that another family has room in",
        script({"192.0.2.7": None}, "2001:db8::1", "192.0.2.0/24", of=ExternalSet("bans", 1)),
        "add element 4-nets/bans/1 { 192.0.2.0/24 }\nadd element 6/bans/1 { 2001:db8::1 }\n",
    ),
]


@pytest.mark.parametrize(("made", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_change_sends_what_differs_and_no_more(made: str, expected: str) -> None:
    """The later end of a member counts, so the same request twice changes nothing."""
    assert made == expected


def test_what_was_written_down_is_read_again(tmp_path: Path) -> None:
    """And what is not a file of ours is nothing."""
    saved = SavedMembers(
        Moment(NOW, "this", 60.5), {cidr("192.0.2.7"): None, cidr("2001:db8::/32"): NOW + timedelta(hours=1)}
    )

    save_members(tmp_path, "bans", saved)

    assert saved_sets(tmp_path) == ("bans",)
    assert load_members(tmp_path, "bans") == saved
    assert load_members(tmp_path, "others").ends == {}
    damaged = '{"at": "x", "boot_id": "b", "uptime_s": 1, "members": [["192.0.2.7", 5], 7, ["a", null]]}'
    (tmp_path / "members/bans.json").write_text(damaged)
    assert load_members(tmp_path, "bans").ends == {}
    damaged = damaged.replace('"x"', "1e999999")
    (tmp_path / "members/bans.json").write_text(damaged)
    assert load_members(tmp_path, "bans").ends == {}


LEFT = [
    ("in the same boot", Moment(NOW + timedelta(seconds=60), "this", 70.0), 3540),
    ("after a sleep, by the clock that counts it", Moment(NOW + timedelta(seconds=60), "this", 1810.0), 1800),
    ("after a step of the clock forward", Moment(NOW + timedelta(days=20_000), "this", 70.0), 3540),
    ("after a step of the clock back", Moment(NOW - timedelta(days=1), "this", 70.0), 3540),
    ("after a boot", Moment(NOW + timedelta(minutes=45), "next", 5.0), 900),
    ("after a boot beyond the end", Moment(NOW + timedelta(hours=2), "next", 5.0), -3600),
    ("after a boot without a clock", Moment(datetime(1970, 1, 1, tzinfo=UTC), "next", 5.0), 3600),
]


@pytest.mark.parametrize(("now", "left_s"), [case[1:] for case in LEFT], ids=[case[0] for case in LEFT])
def test_the_time_that_a_member_has_left_is_that_of_the_host(now: Moment, left_s: float) -> None:
    """Not that of a clock which somebody set."""
    ends = {cidr("192.0.2.7"): NOW + timedelta(hours=1), cidr("192.0.2.8"): None}
    saved = SavedMembers(Moment(NOW, "this", 10.0), ends)

    left = saved.left_s(now, timedelta(minutes=1))

    assert left == {cidr("192.0.2.7"): left_s, cidr("192.0.2.8"): None}
