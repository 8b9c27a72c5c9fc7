"""Floods of denied packets: every one is counted, nobody is hidden, and the service hardly notices."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.compile.layout.nft_rules.log_limits import LOG_SOURCES
from hostfw.daemon.audit.log_reader import SETTLE_S
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.host.store.configuration.files import read_configuration
from hostfw.journal.message_ids import MessageId
from hostfw.model.values import FAMILIES, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import inside, run
from lab.packets.flood import checksum, flood, received, spoofed, udp_frame
from lab.service import Service, service
from tests.kernel.audit.denied import (
    FLOODER,
    HOST,
    HOST_ADDRESS,
    LIMITS,
    QuietNeighbour,
    log_counters,
    number,
    told,
    told_of,
)
from tests.kernel.web_policy import web_policy

pytestmark = pytest.mark.alone


@pytest.fixture(name="running")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    """The service, with a policy that denies every UDP datagram."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    with service(installation, tmp_path / "log") as started:
        yield started


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_flood_of_one_source_hides_no_other_and_costs_next_to_nothing(
    lab: Lab, running: Service, family: Family
) -> None:
    """Every packet is counted, and either logged or counted as suppressed; another source is reported every time."""
    frames = [udp_frame(HOST, number(FLOODER[family]), number(HOST_ADDRESS[family]), family, 9)]
    before, dropped_before = received(lab["host"], "eth0")
    quiet = QuietNeighbour(lab, family)
    cpu_before_s, began_s = running.cpu_s, monotonic()

    with quiet:
        sent = flood(lab["peer"], "eth0", frames, seconds=3)
    took_s, cpu_s = monotonic() - began_s, running.cpu_s - cpu_before_s
    sleep(1.5)

    arrived, dropped = received(lab["host"], "eth0")
    counted, log = log_counters(lab, family)
    entries = running.entries()
    assert quiet.sent >= 3
    assert sent.packets > 20_000
    assert dropped == dropped_before
    assert counted == sent.packets + quiet.sent, arrived - before
    assert log.total() == counted
    assert log["no-room"] == log["shared"] == 0
    assert told_of(entries, quiet.address) == quiet.sent
    assert told(entries) == log["records"]
    most = 1 + LIMITS.burst_packets + LIMITS.rate_per_second * (took_s + 1)
    assert LIMITS.burst_packets <= told_of(entries, FLOODER[family]) <= most
    assert cpu_s < 0.1 * took_s
    assert running.memory_bytes < 100e6


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_spoofed_sources_fill_the_set_and_not_the_log(lab: Lab, running: Service, family: Family) -> None:
    """First packets share one limit, what finds no room another, all repeats a third, and all are counted exactly."""
    sources = LOG_SOURCES + 4_000
    frames = spoofed(HOST, number(HOST_ADDRESS[family]), family, 9, sources)
    began_s = monotonic()

    sent = flood(lab["peer"], "eth0", frames, count=3 * sources)
    took_s = monotonic() - began_s
    sleep(1.5)

    counted, log = log_counters(lab, family)
    assert counted == sent.packets == log.total()
    assert log["no-room"] > 0
    assert log["shared"] > 0
    most = LIMITS.shared_burst_packets + LIMITS.shared_rate_per_second * (took_s + 1)
    assert LIMITS.shared_burst_packets <= log["records"] <= most
    assert told(running.entries()) == log["records"]


def test_who_has_room_is_told_of_though_spoofed_sources_have_taken_the_rest(lab: Lab, running: Service) -> None:
    """Those without room are limited together, so that they cannot use up what all share."""
    quiet = QuietNeighbour(lab, Family.V4)
    with quiet:
        frames = spoofed(HOST, number(HOST_ADDRESS[Family.V4]), Family.V4, 9, LOG_SOURCES)
        flood(lab["peer"], "eth0", frames, count=2 * len(frames))
        # As many are logged as all may share; once that is there again, it is for those who have room.
        others = spoofed(HOST, number(HOST_ADDRESS[Family.V4]), Family.V4, 9, 3 * LOG_SOURCES)[-LOG_SOURCES:]
        sleep(0.5)
        seen = told_of(running.entries(), quiet.address)
        before = quiet.sent
        flood(lab["peer"], "eth0", others, seconds=4)
    sleep(1.5)

    _, log = log_counters(lab, Family.V4)
    assert log["no-room"] > 0
    assert quiet.sent - before >= 3
    assert told_of(running.entries(), quiet.address) - seen >= quiet.sent - before


def test_garbage_is_told_of_as_what_it_is(lab: Lab, running: Service) -> None:
    """Whatever a neighbour puts into its packets: each record is reported once, and put down to what denied it."""
    random = Random(6)
    frames = [garbage(family, random) for _ in range(1500) for family in FAMILIES]
    # Until then a record may be of what was in force before the service.
    sleep(2 * SETTLE_S)

    flood(lab["peer"], "eth0", frames, count=len(frames))
    sleep(1.5)

    logs = [log_counters(lab, family)[1] for family in FAMILIES]
    denied = [entry for entry in running.entries() if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED]
    assert all(log["records"] >= 50 for log in logs)
    assert told(denied) == sum(log["records"] for log in logs)
    assert {entry["HOSTFW_REASON"] for entry in denied} <= {"end-of-tier", "invalid"}
    assert {"HOSTFW_POLICY", "HOSTFW_RULE", "HOSTFW_ORIGIN"} & {name for entry in denied for name in entry} == set()
    assert {entry["HOSTFW_ENDPOINT"] for entry in denied} == {"uplink"}
    assert running.process.poll() is None


def garbage(family: Family, random: Random) -> bytes:
    """A frame for the host with an IP header that is in order, mostly, and anything behind it."""
    net = "192.0.2.0" if family is Family.V4 else "2001:db8::"
    source = number(net) + random.randrange(2, 250)
    frame = udp_frame(HOST, source, number(HOST_ADDRESS[family]), family, 9)
    ethernet, header = frame[:14], bytearray(frame[14 : 34 if family is Family.V4 else 54])
    body = random.choice((b"hostfw:DI|rule|default|web|0\n", b"", random.randbytes(8))) + random.randbytes(
        random.randrange(60)
    )
    if family is Family.V6:
        header[4:6] = len(body).to_bytes(2, "big")
        header[6] = random.choice((0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 132, 253))
        return ethernet + bytes(header) + body
    options = random.randbytes(4 * random.choice((0, 0, 0, 1, 10)))
    header[0] = 0x45 + len(options) // 4
    header[2:4] = (20 + len(options) + len(body)).to_bytes(2, "big")
    header[6:8] = random.choice((b"\x00\x00", b"\x40\x00", b"\x20\x00", b"\x00\x05"))
    header[9] = random.choice((1, 2, 6, 17, 47, 50, 51, 58, 132, 253))
    header[10:12] = b"\0\0"
    header[10:12] = checksum(bytes(header) + options).to_bytes(2, "big")
    return ethernet + bytes(header) + options + body


def test_a_restart_says_what_nobody_heard(lab: Lab, installation: Installation, tmp_path: Path) -> None:
    """No counter is lost, and the number of records is exact, even if the service was killed."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    frames = [udp_frame(HOST, number(FLOODER[Family.V4]), number(HOST_ADDRESS[Family.V4]), Family.V4, 9)]
    with service(installation, tmp_path / "first") as running:
        flood(lab["peer"], "eth0", frames, count=5)
        running.wait_for(lambda entries: told(entries) == 5)
        running.process.kill()
        running.process.wait()
    flood(lab["peer"], "eth0", frames, count=10)

    with service(installation, tmp_path / "second") as running:
        entries = running.wait_for(
            lambda entries: [e for e in entries if "while the service was not running" in e["MESSAGE"]]
        )

    (missed,) = [entry for entry in entries if entry["MESSAGE_ID"] == MessageId.RECORDS_MISSED]
    assert (missed["HOSTFW_RECORDS"], missed["HOSTFW_SUPPRESSED"]) == ("10", "0")
    assert log_counters(lab, Family.V4)[0] == 15


def test_a_source_keeps_its_limit_through_a_hundred_reloads(lab: Lab, installation: Installation) -> None:
    """Elements of dynamic sets, their timeouts and their limits belong to no generation."""
    frames = spoofed(HOST, number(HOST_ADDRESS[Family.V4]), Family.V4, 9, 200)
    directories = Directories(installation.config, installation.state, installation.run)
    with inside(installation.node):
        engine = Engine(directories, Host())
        apply(installation, engine, 0)
        flood(lab["peer"], "eth0", frames, count=2 * len(frames))
        flood(lab["peer"], "eth0", frames[:1], count=100)
        before, suppressed = sources_of(lab), log_counters(lab, Family.V4)[1]["source"]
        for change in range(1, 101):
            apply(installation, engine, change)
        after = sources_of(lab)
        flood(lab["peer"], "eth0", frames[:1], count=100)

    assert len(before) == 200
    assert after.keys() == before.keys()
    assert all(after[address] < before[address] for address in before), "no timeout began anew"
    assert suppressed >= 40
    assert log_counters(lab, Family.V4)[0] == 600


def apply(installation: Installation, engine: Engine, change: int) -> None:
    """Put another configuration into force."""
    (installation.config / "policy.yaml").write_text(web_policy(1000 + change))
    applied = engine.apply(check_candidate(*read_configuration(installation.config)))
    assert isinstance(applied, Applied), applied
    assert not applied.change.is_empty


def sources_of(lab: Lab) -> dict[str, int]:
    """The sources that the log remembers, with the seconds after which it forgets them."""
    listed = json.loads(run(lab["host"], ["nft", "-j", "list", "sets", "ip"]).stdout)["nftables"]
    sets = [item["set"] for item in listed if "set" in item and item["set"]["name"].startswith("log/source.")]
    (name,) = [one["name"] for one in sets if not one["name"].startswith("log/source.near.")]
    one = json.loads(run(lab["host"], ["nft", "-j", "list", "set", "ip", "hostfw", name]).stdout)["nftables"][1]["set"]
    return {element["elem"]["val"]: element["elem"]["expires"] for element in one["elem"]}
