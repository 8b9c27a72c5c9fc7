"""Leases of systemd-networkd: what the system bus tells, and what becomes of answers that are none."""

import select
import time
from pathlib import Path

import pytest

from hostfw.workloads import system_bus
from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.networkd import INTERFACE, SERVICE, NetworkdLeases
from hostfw.workloads.system_bus import BusError, SystemBus
from lab.fakes.fake_bus import fake_bus, leases

WEB, DB = "02:00:00:00:00:01", "02:00:00:00:00:02"
LINK_4, LINK_12 = "/org/freedesktop/network1/link/_34", "/org/freedesktop/network1/link/_312"
# Of systemd 252 on a bridge with three machines.
REAL = bytes.fromhex(
    "0d612875617961796179617974290000c0000000000000000200000007000000014212cb5bf8320004000000c0a8506c0400000000000000"
    "100000004212cb5bf8320000000000000000000000000000b1bcf2720400000002000000070000000176d3aeaadc590004000000c0a85012"
    "04000000000000001000000076d3aeaadc5900000000000000000000000000009c48f37204000000020000000700000001c2a5a31e1ffc00"
    "04000000c0a850a5040000000000000010000000c2a5a31e1ffc000000000000000000000000000099f0f47204000000"
)


def _later(seconds: float = 3600) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) + seconds


def test_leases_are_told_by_bridge_and_ethernet_address(tmp_path: Path) -> None:
    """A bridge without a server has none; the same Ethernet address behind another bridge is somebody else."""
    with fake_bus(tmp_path / "bus") as bus:
        bus.answers[LINK_4] = leases(
            (WEB, "10.0.0.2", _later()), (DB, "10.0.0.3", _later()), (WEB, "10.0.0.9", _later())
        )
        bus.answers[LINK_12] = leases((WEB, "10.1.0.2", _later()), ("01:00:00:00:00:01", "10.1.0.3", _later()))

        found, trouble = NetworkdLeases(tmp_path / "bus").read([4, 12, 77])

    assert found == {(4, WEB): ["10.0.0.2", "10.0.0.9"], (4, DB): ["10.0.0.3"], (12, WEB): ["10.1.0.2"]}
    assert trouble == ""
    # Nobody is started by the question.
    assert all(question[2] & 0x2 for question in bus.asked)


def test_what_systemd_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word."""
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 19_000.0)
    with fake_bus(tmp_path / "bus") as bus:
        bus.answers[LINK_4] = REAL
        found, _ = NetworkdLeases(tmp_path / "bus").read([4])
    assert found == {
        (4, "42:12:cb:5b:f8:32"): ["192.168.80.108"],
        (4, "76:d3:ae:aa:dc:59"): ["192.168.80.18"],
        (4, "c2:a5:a3:1e:1f:fc"): ["192.168.80.165"],
    }


def test_a_lease_that_is_forgotten_counts_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart forgets it; another holder, another address of the holder and the end of the bridge end it."""
    known = NetworkdLeases(tmp_path / "bus")
    with fake_bus(tmp_path / "bus") as bus:
        bus.answers[LINK_4] = leases((WEB, "10.0.0.2", _later()), (DB, "10.0.0.3", _later(50)))
        known.read([4])
        bus.answers[LINK_4] = leases()
        assert known.read([4])[0] == {(4, WEB): ["10.0.0.2"], (4, DB): ["10.0.0.3"]}
        bus.answers.clear()
        assert known.read([4])[0] == {(4, WEB): ["10.0.0.2"], (4, DB): ["10.0.0.3"]}
        bus.answers[LINK_4] = leases((DB, "10.0.0.2", _later(50)))
        assert known.read([4])[0] == {(4, DB): ["10.0.0.2"]}
    found, trouble = known.read([4])
    assert found == {(4, DB): ["10.0.0.2"]}
    assert trouble.startswith("the system bus: ")
    at = _later(60)
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: at)
    assert known.read([4])[0] == {}
    assert known.read([])[0] == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\1",
        b"\1a\0\0\0\0\0\0",
        b"\1)\0",
        b"\2a{\0",
        b"\2a(\0\xff\xff\xff\xff",
        b"\2ay\0\xff\xff\xff\x7f",
        b"\3a()\0\0\0\0\1\0\0\0\0\0\0\0",
        b"\1s\0\0\xff\xff\0\0x",
        b"\1v\0" * 50,
        leases((WEB, "10.0.0.2", 1e6))[:-3],
    ],
)
def test_an_answer_that_is_none_is_said(tmp_path: Path, body: bytes) -> None:
    """Nothing comes of it, and nothing hangs."""
    with fake_bus(tmp_path / "bus") as bus:
        bus.answers[LINK_4] = body
        found, trouble = NetworkdLeases(tmp_path / "bus").read([4])
    assert (found, trouble) == ({}, "the system bus: its answer is none")


@pytest.mark.parametrize("body", [b"\1s\0\0\1\0\0\0x\0", b"\1u\0\0\1\0\0\0", b"\2au\0\0\0\0\0\4\0\0\0\1\0\0\0"])
def test_an_answer_of_another_type_has_no_leases(tmp_path: Path, body: bytes) -> None:
    """A text, a number, and an array of numbers."""
    with fake_bus(tmp_path / "bus") as bus:
        bus.answers[LINK_4] = body
        assert NetworkdLeases(tmp_path / "bus").read([4]) == ({}, "")


def test_a_bus_that_hangs_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a bridge."""
    monkeypatch.setattr(system_bus, "PATIENCE_S", 0.2)
    with fake_bus(tmp_path / "bus") as bus:
        bus.silent |= {LINK_4, LINK_12}
        found, trouble = NetworkdLeases(tmp_path / "bus").read([4, 12])
    assert (found, len(bus.asked)) == ({}, 1)
    assert "does not answer within" in trouble


def test_a_bus_that_lets_nobody_in_is_said(tmp_path: Path) -> None:
    """So is one whose first line never ends."""
    with fake_bus(tmp_path / "bus") as bus:
        for line in (b"REJECTED EXTERNAL\r\n", b"x" * 600):
            bus.welcome = line
            with pytest.raises(EngineError, match="does not let us in"):
                SystemBus(tmp_path / "bus")


def test_changes_are_heard_of(tmp_path: Path) -> None:
    """Until the bus ends."""
    with fake_bus(tmp_path / "bus") as bus, SystemBus(tmp_path / "bus") as events:
        with pytest.raises(BusError, match="no such"):
            events.property(SERVICE, LINK_4, INTERFACE, "Leases")
        events.follow(SERVICE, INTERFACE)
        events.read()
        deadline = time.monotonic() + 5
        while not bus.followers:
            assert time.monotonic() < deadline
        bus.tell()
        assert select.select([events], [], [], 5)[0]
        events.read()
        assert not select.select([events], [], [], 0)[0]
        bus.hang_up()
        select.select([events], [], [], 5)
        with pytest.raises(EngineError, match="ended the connection"):
            events.read()
