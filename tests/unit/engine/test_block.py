"""The block: what its script lets pass, and what becomes of it when things fail."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hostfw.engine.block import Blocked, Unblocked, block, end_block_in_time, restore_block, session_text, unblock
from hostfw.engine.context import Directories, Host
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.block_state import BlockContext, BlockState, block_state
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.store.block import load_block
from hostfw.host.store.codec import StateError
from hostfw.model.host.baseline import Baseline, Lease, LeaseKind, Session
from hostfw.model.values import Family
from hostfw.nft.block import block_script, boot_block_script
from lab.fakes.fake_kernel.kernel import FakeKernel
from tests.unit.builders.policy_builders import net

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINE = Session(Family.V4, net("203.0.113.9").address, 40000, net("10.0.0.1").address, 22, "eth0", own=True)
OTHER = Session(Family.V6, net("2001:db8::9").address, 40001, net("2001:db8::1").address, 2222, "eth0")
LEASE = Lease(LeaseKind.DHCP, Family.V4, "eth0", net("10.0.0.1").address)
SEEN = Baseline(sessions=(MINE, OTHER), leases=(LEASE,))
NO_BEGINNING = "tcp flags & (syn | ack) != syn"
V6 = ("2001:db8::9", "2001:db8::1")
DROPPED = BlockTable((("forward", 1), ("in", 7), ("out", 0)))


class FakeBlocking(FakeKernel):
    """Nftables with room for the table of the block alone, and the end of a worker in between if asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = ""
        self.dies = False

    def check(self, script: str) -> NftResult:
        """Take any script, unless the worker is to die."""
        if self.dies:
            raise NftFailure("the nft worker died", unchanged=True)
        return NftResult(ok=bool(script))

    def commit(self, script: str) -> NftResult:
        """Hold the script as the table."""
        self.blocked = script
        return NftResult(ok=True)

    def read_block(self) -> BlockTable | None:
        """The dropped packets, while there is a table."""
        return DROPPED if self.blocked else None

    def delete_block(self) -> bool:
        """Away with it."""
        was, self.blocked = bool(self.blocked), ""
        return was


@pytest.fixture
def kernel() -> FakeBlocking:
    """A host that is not blocked."""
    return FakeBlocking()


@pytest.fixture
def context(kernel: FakeBlocking, tmp_path: Path) -> BlockContext:
    """The host's directories and kernel."""
    directories = Directories(tmp_path / "etc", tmp_path / "state", tmp_path / "run")
    host = Host(
        nftables=lambda _: kernel,
        read_block=kernel.read_block,
        delete_block=kernel.delete_block,
        now=lambda: NOW,
        boot_id=lambda: "this",
    )
    return BlockContext(directories, host)


def elsewhere(context: BlockContext, **effects: object) -> BlockContext:
    """The same ground, with other effects of the host."""
    return replace(context, host=replace(context.host, **effects))  # type: ignore[arg-type]


def chain(script: str, name: str) -> list[str]:
    """The rules of a chain of a script."""
    body = script.partition(f"add chain inet hostfw-block {name} {{\n")[2].partition("\n}")[0]
    return [line.strip() for line in body.splitlines()]


def test_the_script_keeps_each_session_by_its_addresses_and_ports() -> None:
    """In both directions, never as the beginning of a connection, with what it needs to go on."""
    script = block_script(SEEN.sessions, SEEN.leases)

    assert script.startswith("add table inet hostfw-block\nflush table inet hostfw-block\n")
    assert chain(script, "in") == [
        'iifname "lo" accept',
        f"ip saddr 203.0.113.9 ip daddr 10.0.0.1 ip protocol 6 th sport 40000 th dport 22 {NO_BEGINNING} accept",
        f"ip6 saddr {V6[0]} ip6 daddr {V6[1]} meta l4proto 6 th sport 40001 th dport 2222 {NO_BEGINNING} accept",
        "icmpv6 type 133-136 ip6 hoplimit 255 accept",
        "ct state related icmp type != 5 accept",
        "ct state related meta l4proto 58 accept",
        'iifname "eth0" meta nfproto ipv4 ip protocol 17 th sport 67 th dport 68 accept',
        'counter name "in" drop',
    ]
    assert chain(script, "out") == [
        'oifname "lo" accept',
        f"ip saddr 10.0.0.1 ip daddr 203.0.113.9 ip protocol 6 th sport 22 th dport 40000 {NO_BEGINNING} accept",
        f"ip6 saddr {V6[1]} ip6 daddr {V6[0]} meta l4proto 6 th sport 2222 th dport 40001 {NO_BEGINNING} accept",
        "icmpv6 type 133-136 ip6 hoplimit 255 accept",
        'oifname "eth0" meta nfproto ipv4 ip protocol 17 th sport 68 th dport 67 accept',
        'counter name "out" drop',
    ]
    assert chain(script, "forward") == ['counter name "forward" drop']


def test_after_a_boot_those_who_had_a_session_may_begin_another() -> None:
    """Each peer once, at the port that it was at, and nobody else."""
    script = boot_block_script((MINE, replace(MINE, peer_port=40007)), ())

    assert chain(script, "in")[:2] == ['iifname "lo" accept', "ip saddr 203.0.113.9 ip protocol 6 th dport 22 accept"]
    assert chain(script, "in").count("ip saddr 203.0.113.9 ip protocol 6 th dport 22 accept") == 1
    assert f"ip daddr 203.0.113.9 ip protocol 6 th sport 22 {NO_BEGINNING} accept" in chain(script, "out")


def test_everything_leaves_lo_alone_open() -> None:
    """Now and after a boot."""
    scripts = {
        block_script(SEEN.sessions, SEEN.leases, everything=True),
        boot_block_script(SEEN.sessions, SEEN.leases, everything=True),
    }

    assert [chain(script, "in") for script in scripts] == [['iifname "lo" accept', 'counter name "in" drop']]


def test_a_block_is_in_force_and_remembered(context: BlockContext, kernel: FakeBlocking) -> None:
    """With what was kept, in words, and with the script that the boot loads."""
    blocked = block(context, SEEN)

    assert isinstance(blocked, Blocked)
    assert (blocked.kept, blocked.unsaved, kernel.closed) == (SEEN.sessions, (), True)
    assert kernel.blocked == block_script(SEEN.sessions, SEEN.leases)
    assert (context.directories.state / "block.nft").read_text() == boot_block_script(SEEN.sessions, SEEN.leases)
    assert load_block(context.directories.state) == blocked.record
    assert blocked.record.kept == (
        "203.0.113.9 port 40000 to port 22 (this one)",
        "2001:db8::9 port 40001 to port 2222",
    )
    assert block_state(context) == BlockState(DROPPED, blocked.record)


def test_to_block_everything_keeps_no_session(context: BlockContext, kernel: FakeBlocking) -> None:
    """Not even one's own."""
    blocked = block(context, SEEN, everything=True)

    assert isinstance(blocked, Blocked)
    assert (blocked.kept, blocked.record.kept, blocked.record.everything) == ((), (), True)
    assert kernel.blocked == block_script((), (), everything=True)


def test_a_disk_that_is_full_does_not_keep_from_blocking(context: BlockContext, kernel: FakeBlocking) -> None:
    """Packets come first; the block ends with the boot, and that is said."""
    context.directories.state.write_text("no directory")
    blocked = block(context, SEEN)

    assert isinstance(blocked, Blocked)
    assert kernel.blocked
    assert len(blocked.unsaved) == 1
    assert blocked.unsaved[0].endswith("a reboot ends the block")


def test_a_block_that_nft_refuses_is_none(context: BlockContext, kernel: FakeBlocking) -> None:
    """And nothing of it is remembered."""
    kernel.dies = True
    outcome = block(context, SEEN)

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.in_force) == ("the nft worker died", "the ruleset in force is unchanged")
    assert block_state(context) is None


def test_unblocking_takes_the_table_and_every_trace(context: BlockContext, kernel: FakeBlocking) -> None:
    """It says since when and how much was dropped; once more it says that there was nothing."""
    block(context, SEEN)

    assert unblock(context) == Unblocked(DROPPED, NOW)
    assert (kernel.blocked, block_state(context)) == ("", None)
    assert list(context.directories.state.iterdir()) == []
    assert unblock(context) == Unblocked(None, None)


def test_a_disk_that_will_not_forget_does_not_keep_the_block(
    context: BlockContext, kernel: FakeBlocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is let go, and what comes of it at the next boot is said."""
    block(context, SEEN)

    def refuse(_: Path) -> None:
        raise StateError("that the host is not blocked could not be saved: read-only")

    monkeypatch.setattr("hostfw.engine.block.forget_block", refuse)

    assert unblock(context) == Unblocked(
        DROPPED,
        NOW,
        ("that the host is not blocked could not be saved: read-only: the next boot blocks the host again",),
    )
    assert kernel.blocked == ""


def test_a_block_that_another_took_away_comes_back(context: BlockContext, kernel: FakeBlocking) -> None:
    """With the script of this boot, or after another one with that which lets peers begin anew; once is enough."""
    blocked = block(context, SEEN)
    assert isinstance(blocked, Blocked)

    assert restore_block(context) is False
    kernel.delete_block()
    assert restore_block(context) is True
    assert kernel.blocked == blocked.record.script
    kernel.delete_block()
    assert restore_block(elsewhere(context, boot_id=lambda: "next")) is True
    assert kernel.blocked == blocked.record.boot_script


def test_nothing_comes_back_where_nothing_was_blocked(context: BlockContext, kernel: FakeBlocking) -> None:
    """Neither without a record nor after it is forgotten."""
    assert restore_block(context) is False
    block(context, SEEN)
    unblock(context)
    assert restore_block(context) is False
    assert kernel.blocked == ""


def test_who_may_not_ask_the_kernel_is_told_so(context: BlockContext) -> None:
    """As not permitted, which has an exit status of its own."""

    def refuse() -> BlockTable | None:
        raise NetlinkError(1, "reading the table inet hostfw-block")

    refused = elsewhere(context, read_block=refuse)
    outcomes = (block(refused, SEEN), unblock(refused), restore_block(refused))

    assert [isinstance(outcome, Failed) and outcome.not_permitted for outcome in outcomes] == [True, True, False]
    block(context, SEEN)
    outcome = restore_block(refused)
    assert isinstance(outcome, Failed)
    assert outcome.not_permitted


def test_a_session_reads_as_who_and_where() -> None:
    """And whether it is one's own."""
    assert session_text(OTHER) == "2001:db8::9 port 40001 to port 2222"


@pytest.mark.parametrize("name", ["eth*", "*", 'a"b', "a\\b", 'x" accept', "\x7f", "\u00e9"])
def test_a_lease_on_an_interface_that_nft_cannot_match_is_left_out_and_reported(
    context: BlockContext, kernel: FakeBlocking, name: str
) -> None:
    """Everything else is blocked as ever: no other interface is opened, and nothing stands in the way."""
    odd = replace(LEASE, interface=name)

    blocked = block(context, replace(SEEN, leases=(odd, LEASE)))

    assert isinstance(blocked, Blocked)
    assert kernel.blocked == block_script(SEEN.sessions, (LEASE,))
    assert blocked.warnings == (f"DHCP on the interface {name!r} is blocked as well: nftables cannot match its name",)
    assert blocked.record.boot_script == boot_block_script(SEEN.sessions, (LEASE,))


@pytest.mark.parametrize(
    ("stepped_s", "slept_s", "left_s"),
    [(0, 0, 60), (7200, 0, 60), (-7200, 0, 60), (0, 45, 15), (-7200, 61, None)],
    ids=["nothing", "set forward", "set back", "slept", "slept for longer, set back"],
)
def test_a_block_lasts_for_its_time_whatever_becomes_of_the_clock(
    context: BlockContext, kernel: FakeBlocking, stepped_s: float, slept_s: float, left_s: float | None
) -> None:
    """Neither longer, because the host slept, nor shorter, because somebody set its clock."""
    timed = elsewhere(context, arm=lambda *_: "timer", disarm=lambda _: None, uptime=lambda: 100.0)
    assert isinstance(block(timed, SEEN, for_s=60), Blocked)
    later = elsewhere(timed, now=lambda: NOW + timedelta(seconds=stepped_s + slept_s), uptime=lambda: 100.0 + slept_s)

    assert end_block_in_time(later) == left_s
    assert bool(kernel.blocked) is (left_s is not None)
    assert isinstance(restore_block(later), bool)
    assert bool(kernel.blocked) is (left_s is not None)


def test_after_a_boot_a_block_ends_by_the_clock(context: BlockContext, kernel: FakeBlocking) -> None:
    """One that was wrong then may be set, and the block is over at once."""
    timed = elsewhere(context, arm=lambda *_: "timer", disarm=lambda _: None, uptime=lambda: 100.0)
    assert isinstance(block(timed, SEEN, for_s=3600), Blocked)
    booted = elsewhere(timed, boot_id=lambda: "another", now=lambda: NOW - timedelta(days=9), uptime=lambda: 5.0)
    assert restore_block(booted) is False

    assert end_block_in_time(booted) == timedelta(days=9, hours=1).total_seconds()
    assert end_block_in_time(elsewhere(booted, now=lambda: NOW + timedelta(hours=2))) is None
    assert not kernel.blocked


def test_no_timer_waits_for_what_is_not_there(
    context: BlockContext, kernel: FakeBlocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends or replaces a block takes its timer along, also where no disk takes a record of that."""
    timers: set[str] = set()

    def arm(name: str, _after_s: float, _command: object) -> str:
        timers.add(name)
        return name

    timed = elsewhere(context, arm=arm, disarm=timers.discard)
    assert isinstance(block(timed, SEEN, for_s=60), Blocked)
    assert len(timers) == 1
    unblock(timed)
    assert not timers

    kernel.dies = True
    assert isinstance(block(timed, SEEN, for_s=60), Failed)
    assert not timers

    kernel.dies = False
    block(timed, SEEN, for_s=60)
    with monkeypatch.context() as patch:
        patch.setattr("hostfw.engine.block.save_block", refuse)
        block(timed, SEEN)
        # The block of before is the one on record, and its time must not end this one.
        assert not timers
        block(timed, SEEN, for_s=60)
        assert isinstance(restore_block(elsewhere(timed, boot_id=lambda: "another")), Failed)
        assert len(timers) == 1


def refuse(*_: object) -> None:
    """No disk takes it."""
    raise StateError("the disk is full")
