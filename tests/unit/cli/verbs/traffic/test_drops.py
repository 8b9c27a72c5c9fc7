"""`hostfwctl drops`: what is denied, as it happens."""

import json
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hostfw.audit.log_prefix import LogTag, encode
from hostfw.cli.command_line.options import Options
from hostfw.cli.input.active_plan import mark_of
from hostfw.control.channel import DaemonError
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import NflogRecord, interface_name
from hostfw.journal.packet_entry import fields
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import Action, Direction, Family
from lab.fakes.fakes import FakeClock, FakeNflog
from tests.unit.audit.test_headers import PING6, SYN, UDP, v4, v6
from tests.unit.builders.event_builders import event
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

IN = Direction.INGRESS
DENY_ALL = WEB.replace("- action: Allow", "- action: Deny")
BY_RULE = encode(LogTag(Action.DENY, IN, Reason.RULE, "default", "web", 0))
BY_END = encode(LogTag(Action.DENY, IN, Reason.END_OF_TIER, "default"))
ETH0, ETH1 = 2, 3
HEADINGS = (
    "TIME          ACTION  COUNT  INTERFACE  PROTOCOL  SOURCE                 DESTINATION            "
    "BY                            ORIGIN\n"
)
ENDS, ENDS6 = ("192.0.2.2:40000", "192.0.2.1:22"), ("2001:db8::2", "2001:db8::1")
NO_HISTORY = "without a journal there is no history: showing new events until Ctrl-C\n"


def record(
    prefix: str = BY_RULE, payload: bytes = b"", indev: int = ETH0, timestamp: float | None = None
) -> NflogRecord:
    """A record of the input hook, of a SYN unless said otherwise."""
    packet = payload or v4(6, SYN)
    family = Family.V4 if packet[0] >> 4 == 4 else Family.V6
    return NflogRecord(prefix, family, "input", indev, 0, packet, timestamp)


Log = Callable[..., FakeNflog]


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a policy in force that denies port 80."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=DENY_ALL, uplink=UPLINK)
    made.hostfwctl("apply")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.clock", made.clock)
    monkeypatch.setattr("hostfw.cli.input.log_events.clock", made.clock)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.open_history", lambda *_: None)
    names = {ETH0: "eth0", ETH1: "eth1"}
    monkeypatch.setattr("hostfw.cli.input.log_events.interface_name", lambda index: names.get(index, ""))
    return made


@pytest.fixture(name="log")
def _log(host: Machine, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Let records come, each at its second from now."""

    def arrive(*arrivals: tuple[float, NflogRecord], lost: int = 0, overruns: int = 0) -> FakeNflog:
        now_s = host.clock.elapsed_s
        log = FakeNflog(host.clock, deque((now_s + at_s, (each,)) for at_s, each in arrivals), lost, overruns)
        monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.NflogReader", lambda *_: log)
        return log

    return arrive


def test_events_are_rows_as_they_come(host: Machine, log: Log) -> None:
    """Until Ctrl-C; packets that fare alike are one row."""
    log((0, record()), (0.5, record()), (3, record(BY_END, v6(58, PING6), ETH1)))

    status, out, err = host.hostfwctl("drops")

    assert (status, err) == (0, f"{NO_HISTORY}3 packets logged, 2 events\n")
    assert out.splitlines(keepends=True)[0] == HEADINGS
    rows = [line.split() for line in out.splitlines()[1:]]
    assert rows == [
        ["00:00:00", "UTC", "deny", "2", "eth0", "TCP", *ENDS, "default/web", "ingress[0]", "etc/web.yaml:9"],
        ["00:00:03", "UTC", "deny", "1", "eth1", "ICMPv6", "128/0", *ENDS6, "end-of-tier", "default", "(ingress)", "-"],
    ]


def test_json_is_a_line_an_event(host: Machine, log: Log) -> None:
    """With the fields of the journal."""
    log((0, record(timestamp=1.5)))

    status, out, err = host.hostfwctl("drops", "-o", "json", "--for", "2s")

    (event,) = map(json.loads, out.splitlines())
    assert (status, err) == (0, "1 packet logged, 1 event\n")
    assert event["HOSTFW_ORIGIN"] == "etc/web.yaml:9"
    assert event["HOSTFW_ENDPOINT"] == "uplink"
    assert event["HOSTFW_FIRST"] == "1970-01-01T00:00:01.500000+00:00"


FILTERS = [
    ([], 5),
    (["--policy", "web"], 3),
    (["--policy", "default/web"], 3),
    (["--policy", "other/web"], 0),
    (["--policy", "profile/office"], 1),
    (["--src", "192.0.2.0/24"], 3),
    (["--src", "192.0.2.2"], 3),
    (["--src", "::/0"], 2),
    (["--dst", "192.0.2.2"], 0),
    (["--dst", "2001:db8::1"], 2),
    (["--reason", "end-of-tier"], 1),
    (["--reason", "rule", "--src", "::/0", "--policy", "web"], 1),
    (["--reason", "invalid"], 0),
]


@pytest.mark.parametrize(("options", "expected"), FILTERS)
def test_filters_leave_out(host: Machine, log: Log, options: list[str], expected: int) -> None:
    """Packets that fail any of them."""
    profile = encode(LogTag(Action.DENY, IN, Reason.RULE, "", "office", 0))
    records = (
        record(),
        record(payload=v4(17, UDP)),
        record(payload=v6(17, UDP)),
        record(BY_END, v6(58, PING6)),
        record(profile),
    )
    log(*((0, each) for each in records))

    _, out, _ = host.hostfwctl("drops", "-o", "json", "--for", "1s", *options)

    assert len(out.splitlines()) == expected


def test_a_count_ends_it(host: Machine, log: Log) -> None:
    """With so many events, however many more would follow."""
    log(*((0, record(payload=v4(17, UDP, length=32)[:20] + bytes((0, 1, 0, port)) + UDP[4:])) for port in range(5)))

    status, out, err = host.hostfwctl("drops", "-o", "json", "--count", "2")

    assert (status, len(out.splitlines()), err) == (0, 2, "2 packets logged, 2 events\n")


def test_top_is_told_at_the_end(host: Machine, log: Log) -> None:
    """Sources, destinations, ports and policies, the most frequent first."""
    log((0, record()), (0.1, record()), (0.2, record(BY_END, v6(58, PING6))))

    assert host.hostfwctl("drops", "--top", "--for", "5s") == (
        0,
        """\
PACKETS   SOURCE
      2   192.0.2.2
      1   2001:db8::2

PACKETS   DESTINATION
      2   192.0.2.1
      1   2001:db8::1

PACKETS   PORT
      2   TCP 22
      1   ICMPv6 128/0

PACKETS   BY
      2   default/web ingress[0]
      1   end-of-tier default (ingress)
""",
        "3 packets logged, 2 events\n",
    )


def test_top_is_a_document_too(host: Machine, log: Log) -> None:
    """Of kind TopDrops."""
    log((0, record()))

    document = json.loads(host.hostfwctl("drops", "--top", "-o", "json", "--for", "5s").out)

    assert document == {
        "apiVersion": "hostfw.io/v1",
        "kind": "TopDrops",
        "packets": 1,
        "sources": [{"source": "192.0.2.2", "packets": 1}],
        "destinations": [{"destination": "192.0.2.1", "packets": 1}],
        "ports": [{"port": "TCP 22", "packets": 1}],
        "policies": [{"by": "default/web ingress[0]", "packets": 1}],
    }


def test_what_was_lost_is_said(host: Machine, log: Log) -> None:
    """And how many, as far as that is known; and what others log to the group."""
    log((0, record()), (0, record("ulogd: ")), lost=7)
    said = host.hostfwctl("drops", "--for", "1s").err
    log(overruns=1)
    not_counted = host.hostfwctl("drops", "--for", "1s").err

    lost = "they came faster than they were read; `hostfwctl counters` has every packet\n"
    foreign = "1 record of other programs in NFLOG group 100 left out\n"
    assert said == f"1 packet logged, 1 event\n{foreign}warning: 7 records lost: {lost}"
    assert not_counted == f"0 packets logged, 0 events\nwarning: some records lost: {lost}"


def test_another_generation_is_learnt_of(host: Machine, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that differs in nothing but where its rules are written."""
    log((0, record()), (5, record()))
    moments = iter((False, False, True))

    def moved(options: Options) -> tuple[str | None, int | None]:
        if next(moments):
            host.write(web=f"# Moved.\n{DENY_ALL}")
            host.hostfwctl("apply")
        return mark_of(options)

    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.mark_of", moved)
    monkeypatch.setattr("hostfw.cli.input.log_events.mark_of", moved)

    _, out, _ = host.hostfwctl("drops", "-o", "json", "--for", "9s")

    origins = [json.loads(line)["HOSTFW_ORIGIN"] for line in out.splitlines()]
    assert origins == ["etc/web.yaml:9", "etc/web.yaml:10"]


def test_without_a_record_of_what_is_in_force_names_are_as_they_are(host: Machine, log: Log) -> None:
    """And that is said."""
    for path in (host.directory / "var").iterdir():
        path.rename(host.directory / path.name)
    log((0, record()))

    _, out, err = host.hostfwctl("drops", "--for", "1s", "-o", "json")

    event = json.loads(out)
    assert (event["HOSTFW_POLICY"], event.get("HOSTFW_ORIGIN"), event.get("HOSTFW_ENDPOINT")) == ("web", None, None)
    assert err.startswith("warning: the active generation is not on record: names are as in the log")


def test_a_log_that_cannot_be_read_is_an_error(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the reader."""

    def refuse(*_: int) -> FakeNflog:
        raise HostError("NFLOG group 100 has a reader already", "set logging.group") from PermissionError(1, "no")

    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.NflogReader", refuse)

    assert host.hostfwctl("drops") == (
        4,
        "",
        "hostfwctl: NFLOG group 100 has a reader already\n  hint: set logging.group\n",
    )


def test_signals_are_as_before_afterwards(host: Machine, log: Log) -> None:
    """SIGTERM ends drops like Ctrl-C, and nothing else."""
    log()
    before = signal.getsignal(signal.SIGTERM)
    host.hostfwctl("drops", "--for", "1s")

    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interface_has_its_name() -> None:
    """The real one; none for what has gone."""
    assert interface_name(socket.if_nametoindex("lo")) == "lo"
    assert (interface_name(0), interface_name(2**31 - 1)) == ("", "")


# ------------------------------------------------------------------------------------------------- out of the journal


@dataclass
class Journal:
    """A journal in memory: entries that are there, and those that come at their second of a clock."""

    clock: FakeClock
    there: list[dict[str, object]] = field(default_factory=list)
    coming: deque[tuple[float, dict[str, object]]] = field(default_factory=deque)
    since: list[datetime | None] = field(default_factory=list)

    def entries(self) -> Iterator[dict[str, object]]:
        """The entries so far."""
        while self.coming and self.coming[0][0] <= self.clock.elapsed_s:
            self.there.append(self.coming.popleft()[1])
        given, self.there = self.there, []
        yield from given

    def wait(self, timeout_s: float | None) -> None:
        """Let time pass; who waits where nothing comes any more is interrupted, as by Ctrl-C."""
        if not self.coming and timeout_s == 0.25:
            raise KeyboardInterrupt
        self.clock.wait(timeout_s or 0)

    def open(self, _identifier: str, _ids: object, since: datetime | None) -> "Journal":
        """Note from when on it was opened."""
        self.since.append(since)
        return self


@pytest.fixture(name="journal")
def _journal(host: Machine, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal, and no service."""
    journal = Journal(host.clock)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.open_history", journal.open)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.ask_for_a_report", lambda _: None)
    return journal


def entry(after_s: float = 0, **changes: object) -> dict[str, object]:
    """The journal entry of a denied SYN."""
    return {**fields(replace(event(after_s=after_s), **changes)), "_UID": 0}  # type: ignore[arg-type]


def test_history_comes_out_of_the_journal(host: Machine, journal: Journal) -> None:
    """Since the boot, with dates; what is not of a packet is left out."""
    journal.there = [entry(), {"MESSAGE": "generation 0a1b is in force"}, entry(3600, count=7)]

    status, out, err = host.hostfwctl("drops")

    assert (status, err) == (0, "8 packets logged, 2 events\n")
    assert [line.split()[:5] for line in out.splitlines()[1:]] == [
        ["2030-01-01", "12:00:00", "UTC", "deny", "1"],
        ["2030-01-01", "13:00:00", "UTC", "deny", "7"],
    ]
    assert journal.since == [None]


SINCE = [
    ("1h", datetime(2029, 12, 31, 23, 0, tzinfo=UTC)),
    ("2d", datetime(2029, 12, 30, 0, 0, tzinfo=UTC)),
    ("2029-12-24", datetime(2029, 12, 24, tzinfo=UTC)),
    ("2029-12-24T18:00:00+01:00", datetime(2029, 12, 24, 17, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "expected"), SINCE)
def test_a_time_says_since_when(host: Machine, journal: Journal, text: str, expected: datetime) -> None:
    """A duration before now, or a moment."""
    host.clock.elapsed_s = 0

    assert host.hostfwctl("drops", "--since", text).status == 0

    assert journal.since == [expected]


def test_history_is_filtered_and_its_last_events_are_shown(host: Machine, journal: Journal) -> None:
    """As what comes is, but a number means the last."""
    journal.there = [entry(n, policy="web" if n % 2 else "other") for n in range(10)]

    _, out, err = host.hostfwctl("drops", "--policy", "web", "--count", "2", "-o", "json")

    assert [json.loads(line)["HOSTFW_FIRST"][17:19] for line in out.splitlines()] == ["07", "09"]
    assert err == "2 packets logged, 2 events\n"


def test_history_has_its_top(host: Machine, journal: Journal) -> None:
    """By packets."""
    journal.there = [entry(count=5), entry(policy="other", count=9)]

    _, out, _ = host.hostfwctl("drops", "--top", "-o", "json")

    assert [row["by"] for row in json.loads(out)["policies"]] == ["default/other ingress[1]", "default/web ingress[1]"]


def test_what_the_service_reads_is_followed_in_the_journal(
    host: Machine, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has one reader, and that is the service."""
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.ask_for_a_report", lambda _: object())
    now_s = host.clock.elapsed_s
    journal.coming = deque([(now_s + 1, entry()), (now_s + 2, entry(1)), (now_s + 9, entry(2))])

    status, out, err = host.hostfwctl("drops", "--for", "5s")

    assert (status, len(out.splitlines()), err) == (0, 3, "2 packets logged, 2 events\n")
    assert journal.since == [host.clock.now() - timedelta(seconds=5)]


@pytest.mark.parametrize("error", [PermissionError(13, "no"), DaemonError("the daemon gave no answer within 5 s")])
def test_a_service_that_tells_us_nothing_is_one(
    host: Machine, journal: Journal, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The journal may be readable for users other than root."""

    def ask(_: object) -> object:
        raise error

    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.ask_for_a_report", ask)
    journal.coming = deque([(host.clock.elapsed_s + 1, entry())])

    assert host.hostfwctl("drops", "--for", "5s").err == "1 packet logged, 1 event\n"


def test_following_ends_with_enough_or_a_signal(
    host: Machine, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is first."""
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.ask_for_a_report", lambda _: object())
    for arguments, expected in ((("--count", "2"), 2), ((), 3)):
        journal.coming = deque((host.clock.elapsed_s, entry(n)) for n in range(3))

        status, out, _ = host.hostfwctl("drops", "--follow", *arguments)

        assert (status, len(out.splitlines()) - 1) == (0, expected)
        journal.there.clear()


def test_without_the_service_what_comes_is_read_from_the_log(host: Machine, journal: Journal, log: Log) -> None:
    """Nobody writes it to the journal."""
    log((0, record()))

    status, out, _ = host.hostfwctl("drops", "--for", "2s")

    assert (status, len(out.splitlines()), journal.since) == (0, 2, [])


WITHOUT = [
    (
        ["--since", "1h"],
        None,
        "there is no journal here to look back in: none",
        "it takes journald and python3-systemd",
    ),
    (
        ["--follow"],
        object(),
        "the service reads the log, and there is no journal here that it writes to",
        "what it writes are lines of JSON on its standard error",
    ),
]


@pytest.mark.parametrize(("arguments", "report", "message", "hint"), WITHOUT)
def test_what_cannot_be_shown_is_said(
    host: Machine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], report: object, message: str, hint: str
) -> None:
    """And why."""
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.ask_for_a_report", lambda _: report)
    monkeypatch.setattr("hostfw.cli.verbs.traffic.drops.why_no_history", lambda: "none")

    status, _, err = host.hostfwctl("drops", *arguments)

    assert (status, err) == (4, f"hostfwctl: {message}\n  hint: {hint}\n")
