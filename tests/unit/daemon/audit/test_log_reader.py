"""The audit of the service: records in, journal entries out, whatever goes wrong on the way."""

import asyncio
import gc
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hostfw.audit.attribution import Attribution, RuleSource
from hostfw.audit.log_prefix import LogTag, encode
from hostfw.audit.packet_event import PacketEvent
from hostfw.daemon.audit.log_reader import (
    CHANGE_S,
    DATAGRAMS_AT_A_TIME,
    RETRY_S,
    SETTLE_S,
    Audit,
    AuditHost,
    open_audit,
)
from hostfw.daemon.audit.losses import KEEP_AGAIN_S, READ_TRIES, AuditLosses
from hostfw.engine.kernel.counts.log_counts import LogCounts
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import Nflog, NflogRecord
from hostfw.host.store.audit_checkpoint import AuditCheckpoint
from hostfw.journal.message_ids import MessageId
from hostfw.model.packets.decisions import Reason
from hostfw.model.settings import Logging
from hostfw.model.values import Action, Direction, Family
from lab.fakes.fakes import FakeClock, FakeJournal, FakeNflog
from tests.unit.builders.event_builders import DENIED, known

INTERFACES = {0: "", 2: "eth0", 3: "eth1"}


def record(tag: LogTag = DENIED, port: int = 22, source: str = "192.0.2.2", prefix: str = "") -> NflogRecord:
    """A TCP packet to a port, logged by a rule."""
    ends = socket.inet_aton(source) + socket.inet_aton("192.0.2.1")
    segment = struct.pack("!HHIIHHHH", 40000, port, 1, 0, 0x5002, 64240, 0, 0)
    payload = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0x4000, 64, 6, 0) + ends + segment
    return NflogRecord(prefix or encode(tag), Family.V4, "input", 2, 0, payload, None)


@dataclass
class Remembering:
    """A checkpoint that outlives the audit."""

    noted: AuditCheckpoint | None = None

    def load(self) -> AuditCheckpoint | None:
        """The checkpoint that was kept."""
        return self.noted

    def save(self, noted: AuditCheckpoint) -> None:
        """Keep it."""
        self.noted = noted

    def close(self) -> None:
        """It is kept all the same."""


@dataclass
class Setup:
    """An audit on a clock that stands, and everything that it touches."""

    clock: FakeClock = field(default_factory=FakeClock)
    journal: FakeJournal = field(default_factory=FakeJournal)
    cache: Remembering = field(default_factory=Remembering)
    counts: LogCounts | None = None
    readers: list[FakeNflog] = field(default_factory=list)
    refusals: deque[HostError] = field(default_factory=deque)
    groups: list[tuple[int, int]] = field(default_factory=list)

    def open_reader(self, group: int, snaplen: int) -> Nflog:
        """Join a group, unless that is to be refused."""
        self.groups.append((group, snaplen))
        if self.refusals:
            raise self.refusals.popleft()
        self.readers.append(FakeNflog(self.clock))
        return self.readers[-1]

    def audit(self, attribution: Attribution | None = None) -> Audit:
        """The audit, listening, and what is in force."""
        host = AuditHost(self.open_reader, lambda: self.counts, INTERFACES.__getitem__, self.clock)
        audit = Audit(
            self.journal, AuditLosses(self.journal, self.cache, host.read_counts), host, attribution or known()
        )
        audit.listen(Logging())
        return audit

    def arrive(self, *records: NflogRecord) -> None:
        """Let records come now, in one datagram."""
        self.readers[-1].arrivals.append((self.clock.elapsed_s, records))

    def told(self, *names: str) -> list[tuple[str, ...]]:
        """Some fields of every entry."""
        return [tuple(entry.get(f"HOSTFW_{name}", "") for name in names) for entry in self.journal.sent]

    def messages(self) -> list[str]:
        """The messages of the entries."""
        return [entry["MESSAGE"] for entry in self.journal.sent]


def counts(records: int, suppressed: int = 0) -> LogCounts:
    """The kernel's counts of its log."""
    return LogCounts(records, {"source": suppressed})


def test_a_record_becomes_an_entry_at_once() -> None:
    """With everything that is known of it."""
    here = Setup()
    audit = here.audit()
    here.arrive(record())

    assert audit.read() == 1

    (entry,) = here.journal.sent
    assert entry["MESSAGE_ID"] == MessageId.PACKET_DENIED
    assert entry["MESSAGE"] == (
        "denied ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 by default/web ingress[1] (policy.yaml:12)"
    )
    assert entry["HOSTFW_COUNT"] == "1"


def test_those_like_it_follow_folded() -> None:
    """Once a window, and every one of them is counted once."""
    here = Setup()
    audit = here.audit()
    for _ in range(35):
        here.arrive(record())
        audit.read()
        here.clock.wait(0.1)
        audit.due()
    here.clock.wait(1)
    audit.due()

    numbers = [int(number) for (number,) in here.told("COUNT")]
    assert numbers[0] == 1
    assert sum(numbers) == 35
    assert len(numbers) <= 5


def test_two_sources_are_logged_separately_and_at_once() -> None:
    """One that floods hides no other."""
    here = Setup()
    audit = here.audit()
    here.arrive(*(record() for _ in range(60)), record(source="192.0.2.9"))
    audit.read()

    assert here.told("SRC_ADDR", "COUNT") == [("192.0.2.2", "1"), ("192.0.2.9", "1")]


def test_a_flood_is_read_a_bounded_piece_at_a_time() -> None:
    """So that the loop goes round."""
    here = Setup()
    audit = here.audit()
    for _ in range(DATAGRAMS_AT_A_TIME + 5):
        here.arrive(record())

    assert audit.read() == DATAGRAMS_AT_A_TIME
    assert audit.read() == 5
    assert audit.read() == 0


def test_records_of_others_are_counted_and_left_out() -> None:
    """As those of a rule that logs to our group without our prefix."""
    here = Setup()
    audit = here.audit()
    here.arrive(record(prefix="DROP: "), record(prefix="hostfw:XX|rule"))
    audit.read()

    assert here.journal.sent == []
    assert audit.figures().foreign == 2


# --------------------------------------------------------------------------------------- one generation after another


@dataclass(frozen=True)
class These:
    """Rules that are these and no others."""

    sources: dict[LogTag, RuleSource]

    def get(self, tag: LogTag, /) -> RuleSource | None:
        """The place where it is written."""
        return self.sources.get(tag)

    def __contains__(self, tag: LogTag, /) -> bool:
        return tag in self.sources


OLD = replace(known(), rules=These({DENIED: RuleSource("GlobalNetworkPolicy", "policy.yaml:12")}))
MOVED = replace(
    OLD,
    generation="moved",
    rules=These({DENIED: RuleSource("GlobalNetworkPolicy", "policy.yaml:120")}),
    bindings={**OLD.bindings, "eth0": "another"},
)
ONLY_NEW = replace(DENIED, policy="brand-new")
BRAND_NEW = RuleSource("GlobalNetworkPolicy", "policy.yaml:99")
NEW = replace(
    MOVED,
    generation="new",
    rules=These({DENIED: RuleSource("GlobalNetworkPolicy", "policy.yaml:120"), ONLY_NEW: BRAND_NEW}),
)
INVALID = LogTag(Action.DENY, Direction.INGRESS, Reason.INVALID)
ASKED = ("GENERATION", "ORIGIN", "ENDPOINT", "POLICY")

TAKE_OVERS: list[tuple[str, LogTag, float, tuple[str, str, str, str]]] = [
    ("what both may have written", DENIED, 0, ("", "", "", "web")),
    ("what only the new one has", ONLY_NEW, 0, ("new", "policy.yaml:99", "another", "brand-new")),
    ("what no rule decided", INVALID, 0, ("", "", "", "")),
    ("what none of them has", replace(DENIED, index=9), 0, ("", "", "", "web")),
    ("what both have, later", DENIED, SETTLE_S, ("new", "policy.yaml:120", "another", "web")),
]


@pytest.mark.parametrize(("tag", "after_s", "expected"), [c[1:] for c in TAKE_OVERS], ids=[c[0] for c in TAKE_OVERS])
def test_a_record_is_not_put_down_to_the_wrong_generation(
    tag: LogTag, after_s: float, expected: tuple[str, str, str, str]
) -> None:
    """While one takes over, no more is said than what is certain."""
    here = Setup()
    audit = here.audit(OLD)
    audit.attribute(NEW)
    here.clock.wait(after_s)
    here.arrive(record(tag))
    audit.read()

    assert here.told(*ASKED) == [expected]


def test_what_is_about_to_come_counts_as_well() -> None:
    """Packets meet the new generation before we hear that it took; if it did not, all is as it was."""
    here = Setup()
    audit = here.audit(OLD)
    audit.changing(NEW)
    here.clock.wait(5)
    here.arrive(record())
    audit.read()
    audit.attribute(OLD)
    here.arrive(record(port=23))
    audit.read()

    assert here.told("GENERATION", "DST_PORT") == [("", "22"), (OLD.generation, "23")]


def test_what_was_about_to_come_and_did_not_is_forgotten() -> None:
    """Even if nobody says so."""
    here = Setup()
    audit = here.audit(OLD)
    audit.changing(NEW)
    here.clock.wait(CHANGE_S)
    here.arrive(record())
    audit.read()

    assert here.told("GENERATION") == [(OLD.generation,)]


def test_two_that_follow_each_other_closely_may_both_have_written_it() -> None:
    """And the one before them."""
    here = Setup()
    audit = here.audit(replace(NEW, generation="first"))
    audit.attribute(MOVED)
    here.clock.wait(SETTLE_S / 2)
    audit.attribute(replace(MOVED, generation="third"))
    here.arrive(record(ONLY_NEW), record(DENIED))
    audit.read()

    assert here.told("GENERATION", "POLICY") == [("first", "brand-new"), ("", "web")]


# ------------------------------------------------------------------------------------------------------- what is missed


@pytest.mark.parametrize(
    ("kept", "now", "expected"),
    [
        (None, counts(12, 300), [("12", "300")]),
        (AuditCheckpoint(12, 300), counts(12, 300), []),
        (AuditCheckpoint(12, 300), counts(13, 300), [("1", "0")]),
        (AuditCheckpoint(12, 300), counts(12, 400), [("0", "100")]),
        (AuditCheckpoint(12, 300), counts(5, 20), [("5", "20")]),
        (None, None, []),
    ],
    ids=["the first start", "nothing", "records", "none but suppressed ones", "the tables were made anew", "no tables"],
)
def test_what_went_by_while_nobody_listened_is_said(
    kept: AuditCheckpoint | None, now: LogCounts | None, expected: list[tuple[str, ...]]
) -> None:
    """The kernel's counters are the truth."""
    here = Setup(cache=Remembering(kept), counts=now)
    here.audit()

    assert here.told("RECORDS", "SUPPRESSED") == expected
    assert {entry["MESSAGE_ID"] for entry in here.journal.sent} <= {MessageId.RECORDS_MISSED}


def test_what_was_told_of_is_not_missed_by_the_next() -> None:
    """Even if the last one was killed, with records that it had read and not yet reported."""
    here = Setup(counts=counts(100))
    audit = here.audit()
    here.journal.sent.clear()
    here.arrive(*(record() for _ in range(10)))
    audit.read()
    here.counts = counts(115, 3)
    here.audit()

    assert here.told("COUNT", "RECORDS", "SUPPRESSED") == [("1", "", ""), ("", "14", "3")]


def test_after_an_orderly_end_nothing_was_missed() -> None:
    """Events that are still aggregated are logged first."""
    here = Setup(counts=counts(0))
    audit = here.audit()
    here.arrive(*(record() for _ in range(10)))
    here.counts = counts(10, 7)
    audit.flush()
    audit.close()
    here.audit()

    assert here.told("COUNT") == [("1",), ("9",)]
    assert here.readers[0].closed


def test_tables_that_were_made_anew_begin_at_nothing() -> None:
    """So what is missed afterwards is not reckoned from before."""
    here = Setup(counts=counts(1000))
    audit = here.audit()
    here.counts = counts(0)
    audit.attribute(OLD)
    audit.flush()
    here.journal.sent.clear()
    here.counts = counts(1001)
    here.audit()

    assert here.told("RECORDS") == [("1001",)]


def test_records_that_came_too_fast_are_said_once_a_second() -> None:
    """With their number, and not counted as missed as well."""
    here = Setup(counts=counts(0))
    audit = here.audit()
    for lost in (5, 8, 9):
        here.readers[-1].lost = lost
        here.arrive(record(port=lost))
        audit.read()
        audit.due()
    assert audit.wait_s() is not None
    here.clock.wait(1)
    audit.due()

    said = [entry for entry in here.journal.sent if entry["MESSAGE_ID"] == MessageId.RECORDS_LOST]
    assert [entry["HOSTFW_RECORDS"] for entry in said] == ["5", "4"]
    assert audit.figures().lost == 9
    here.counts = counts(12)
    here.journal.sent.clear()
    here.audit()
    assert here.told("RECORDS") == []


def test_an_overrun_whose_size_nobody_knows_is_said_at_the_end() -> None:
    """Nothing came after it."""
    here = Setup()
    audit = here.audit()
    here.readers[-1].overruns = 1
    audit.read()
    audit.due()
    audit.flush()

    assert here.messages() == [
        "some log records came faster than they were read and are lost; `hostfwctl counters` has every packet"
    ]


# ------------------------------------------------------------------------------------------------ what does not work


def test_a_group_that_cannot_be_read_is_said_once_and_tried_again() -> None:
    """Until it can."""
    refusal = HostError("NFLOG group 100 has a reader already", "set logging.group")
    here = Setup(refusals=deque([refusal, refusal]), counts=counts(4))
    audit = here.audit()
    assert audit.fileno() is None
    assert audit.wait_s() == RETRY_S
    here.clock.wait(RETRY_S)
    audit.due()
    here.clock.wait(RETRY_S)
    audit.due()

    assert here.messages() == [
        "denied packets are counted, but not logged: NFLOG group 100 has a reader already",
        "NFLOG group 100 is read again",
        "4 log records were missed while the service was not running; `hostfwctl counters` has every packet",
    ]
    assert audit.figures().listening
    assert audit.wait_s() is None


def test_a_reader_that_fails_is_opened_again() -> None:
    """And what it missed is said."""
    here = Setup(counts=counts(0))
    audit = here.audit()
    failing = here.readers[-1]
    failing.refusals.append(HostError("NFLOG records cannot be read: No such device"))
    audit.read()
    here.counts = counts(2)
    here.clock.wait(RETRY_S)
    audit.due()

    assert failing.closed
    assert [entry["MESSAGE_ID"] for entry in here.journal.sent] == [
        MessageId.LOG_UNREADABLE,
        MessageId.LOG_READABLE,
        MessageId.RECORDS_MISSED,
    ]


def test_other_settings_move_to_another_group() -> None:
    """With what had come in the old one; the same settings change nothing."""
    here = Setup()
    audit = here.audit()
    here.arrive(record(), record())
    audit.listen(Logging())
    audit.listen(Logging(group=7))

    assert here.groups == [(100, 128), (7, 128)]
    assert here.told("COUNT") == [("1",), ("1",)]
    assert [reader.closed for reader in here.readers] == [True, False]


def test_generations_that_were_are_forgotten_though_no_record_comes() -> None:
    """A host on which nothing is denied reloads as often as any other."""
    here = Setup()
    audit = here.audit()
    kept: list[int] = []
    for _ in range(3):
        for _ in range(20):
            candidate = Attribution()
            audit.changing(candidate)
            here.clock.wait(1)
            audit.attribute(candidate)
        kept.append(sum(isinstance(found, Attribution) for found in gc.get_objects()))

    assert kept[2] <= kept[0]


def test_a_record_that_makes_no_sense_harms_no_other() -> None:
    """Whoever sends packets has a say in what is in it; the first is told as a defect."""
    here = Setup()
    audit = here.audit()
    told: list[Exception] = []
    audit.defect = told.append
    noted = iter((ValueError("one"), ValueError("two")))

    def stumble(_: PacketEvent) -> None:
        error = next(noted, None)
        if error is not None:
            raise error

    audit.on_event = stumble
    here.arrive(record(), record(), record(port=23))

    assert audit.read() == 3
    assert here.told("DST_PORT") == [("23",)]
    assert ([str(error) for error in told], audit.figures().unreadable) == (["one"], 2)


@dataclass
class Woken:
    """A reader whose descriptor tells of what comes: a record a byte. It has the descriptor of the one before it."""

    sock: socket.socket
    theirs: socket.socket
    lost: int = 0
    overruns: int = 0

    def fileno(self) -> int:
        """Readable when something has come."""
        return self.sock.fileno()

    def wait(self, _: float | None) -> bool:
        """Nobody here waits without the loop."""
        raise AssertionError

    def close(self) -> None:
        """Leave the group."""
        self.sock.close()
        self.theirs.close()

    def read(self) -> tuple[NflogRecord, ...]:
        """The records so far."""
        try:
            return tuple(record() for _ in self.sock.recv(10, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return ()


def test_it_runs_in_a_loop_until_it_is_stopped() -> None:
    """Woken by the descriptor of its reader, and by that of the next, which has the same number."""
    here = Setup()
    readers: list[Woken] = []

    def open_reader(*_: int) -> Woken:
        readers.append(Woken(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)))
        return readers[-1]

    host = AuditHost(open_reader, lambda: None, INTERFACES.__getitem__, here.clock)
    audit = Audit(here.journal, AuditLosses(here.journal, here.cache, host.read_counts), host, known())

    async def scenario() -> list[int]:
        audit.listen(Logging())
        descriptors = [readers[0].fileno()]
        stopped = asyncio.Event()
        running = asyncio.create_task(audit.run(stopped))
        await asyncio.sleep(0.01)
        readers[0].theirs.send(b"xx")
        await until(lambda: here.told("COUNT") == [("1",)])
        audit.listen(Logging(group=7))
        descriptors.append(readers[1].fileno())
        await asyncio.sleep(0.01)
        readers[1].theirs.send(b"xxx")
        await until(lambda: audit.figures().records == 5)
        stopped.set()
        await asyncio.wait_for(running, 5)
        return descriptors

    before, after = asyncio.run(scenario())
    audit.close()

    assert before == after
    assert here.told("COUNT") == [("1",), ("1",), ("1",), ("2",)]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for some seconds."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not")


def test_without_a_run_directory_it_does_without_memory(tmp_path: Path) -> None:
    """And with one it remembers."""
    (tmp_path / "file").write_text("")
    for directory, expected in ((tmp_path / "file", None), (tmp_path / "run", AuditCheckpoint(3, 0))):
        is_kept = expected is not None
        here = Setup(counts=counts(3))
        host = AuditHost(here.open_reader, lambda: counts(3), INTERFACES.__getitem__, here.clock)
        first, again = (open_audit(directory, here.journal, host) for _ in range(2))
        first.listen(Logging())
        if is_kept:
            assert again.losses.checkpoint.load() == expected
        assert (first.losses.wait_s(0.0) is None) is is_kept
        first.close()
        again.close()


@dataclass
class Broken(Remembering):
    """A checkpoint that cannot be read, or neither read nor written."""

    noted: AuditCheckpoint | None = field(default_factory=lambda: AuditCheckpoint(3, 0))
    unreadable: bool = True
    unwritable: bool = False

    def load(self) -> AuditCheckpoint | None:
        """The checkpoint, unless it cannot be read."""
        if self.unreadable:
            raise HostError("it cannot be read")
        return self.noted

    def save(self, noted: AuditCheckpoint) -> None:
        """Keep it, unless it cannot be written."""
        if self.unwritable:
            raise HostError("it cannot be written")
        self.noted = noted


def test_a_checkpoint_that_never_becomes_readable_is_told_and_given_up() -> None:
    """The numbers of this start are kept after some tries; until then they are not, and the service is in trouble."""
    here = Setup(cache=Broken(), counts=counts(10))
    audit = here.audit()
    troubles: list[str] = []
    audit.losses.trouble = troubles.append
    here.arrive(record())
    audit.read()
    assert troubles == ["it cannot be kept which log records were missed: it cannot be read"]
    assert here.cache.noted == AuditCheckpoint(3, 0)

    for _ in range(READ_TRIES + 1):
        here.clock.wait(KEEP_AGAIN_S)
        audit.due()

    assert here.cache.noted == AuditCheckpoint(11, 0)
    assert troubles[-1] == ""
    assert here.messages()[1:] == ["how many log records were missed is not known: it cannot be read"]
    assert audit.wait_s() is None


def test_a_checkpoint_that_cannot_be_written_is_trouble_until_it_can() -> None:
    """A loss is told at once all the same."""
    cache = Broken(unreadable=False, unwritable=True)
    here = Setup(cache=cache, counts=counts(10))
    audit = here.audit()
    troubles: list[str] = []
    audit.losses.trouble = troubles.append
    here.clock.wait(KEEP_AGAIN_S)
    audit.due()
    assert troubles == ["it cannot be kept which log records were missed: it cannot be written"]
    assert here.told("RECORDS") == [("7",)]

    cache.unwritable = False
    here.clock.wait(KEEP_AGAIN_S)
    audit.due()

    assert cache.noted == AuditCheckpoint(10, 0)
    assert troubles[-1] == ""


def test_counters_that_cannot_be_read_at_the_start_are_counted_later() -> None:
    """Without those records that were reported since."""
    refusals = deque([HostError("the kernel is busy")] * 2)

    def read_counts() -> LogCounts | None:
        if refusals:
            raise refusals.popleft()
        return counts(11)

    here = Setup(cache=Remembering(AuditCheckpoint(3, 0)))
    host = AuditHost(here.open_reader, read_counts, INTERFACES.__getitem__, here.clock)
    audit = Audit(here.journal, AuditLosses(here.journal, here.cache, read_counts), host, known())
    audit.listen(Logging())
    assert here.told("RECORDS") == []
    here.arrive(record())
    audit.read()

    assert here.told("RECORDS") == [("",), ("7",)]
    assert here.cache.noted == AuditCheckpoint(11, 0)


def test_a_service_that_never_read_the_log_keeps_what_the_last_one_reported() -> None:
    """Otherwise the next start would call all of it missed."""
    here = Setup(cache=Remembering(AuditCheckpoint(10, 0)), counts=counts(10))
    here.refusals.append(HostError("another program reads the group"))
    audit = here.audit()

    audit.flush()

    assert here.cache.noted == AuditCheckpoint(10, 0)
