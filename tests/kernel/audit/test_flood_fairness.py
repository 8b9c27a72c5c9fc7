"""Packets that a flood must not hide: other sources, reasons and directions, and new ones of its own source."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic, sleep

import pytest

from hostfw.compile.layout.nft_rules.log_limits import LOG_FIRSTS
from hostfw.journal.message_ids import MessageId
from hostfw.model.values import FAMILIES, Direction, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import process, run, set_sysctl
from lab.packets.flood import flood, spoofed, udp_frame
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

pytestmark = pytest.mark.alone

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: all()
  types: [Ingress, Egress]
  ingress:
    - {action: Deny, protocol: UDP, destination: {ports: [7777]}}
    - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  egress:
    - {action: Deny, protocol: UDP, destination: {ports: [7777]}}
"""
PEER = {Family.V4: "192.0.2.2", Family.V6: "2001:db8::2"}
NEW = {Family.V4: "203.0.113.77", Family.V6: "2001:db8:77::77"}
NEW_FAR = {Family.V4: "203.0.113.{}", Family.V6: "2001:db8:77:{:x}::77"}
BAD_NEIGHBOUR = {Family.V4: "192.0.2.66", Family.V6: "2001:db8::bad:0"}
NEW_NEIGHBOUR = {Family.V4: "192.0.2.222", Family.V6: "2001:db8::222"}
NOBODY = "65534"
SPOOFED = 40_000

FLOOD_OUT = """
import errno, socket, sys, time
family, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
destinations, ports = sys.argv[3].split(","), int(sys.argv[4])
sock = socket.socket(family, socket.SOCK_DGRAM)
sent = 0
while time.monotonic() < end:
    for destination in destinations:
        try:
            sock.sendto(b"", (destination, 9 + sent % ports))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOBUFS):
                raise
        sent += 1
print(sent)
"""
"""A program that sends datagrams that are denied, as fast as it can."""


@pytest.fixture(name="running")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    """The service, with a policy that denies every UDP datagram in and out, some by a rule."""
    (installation.config / "policy.yaml").write_text(POLICY)
    with service(installation, tmp_path / "log") as started:
        yield started


@contextmanager
def flooded(lab: Lab, frames: list[bytes], seconds: float) -> Iterator[None]:
    """A flood from the neighbour that goes on meanwhile, from a little before."""
    sender = Thread(target=lambda: flood(lab["peer"], "eth0", frames, seconds=seconds))
    sender.start()
    sleep(0.5)
    try:
        yield
    finally:
        sender.join()


def frame(family: Family, source: str, port: int) -> bytes:
    """A datagram to a port of the host."""
    return udp_frame(HOST, number(source), number(HOST_ADDRESS[family]), family, port)


def told_of_port(entries: list[dict[str, str]], port: int, *, to: str) -> int:
    """The number of denied packets to an address and port that the entries stand for."""
    return sum(
        int(entry["HOSTFW_COUNT"])
        for entry in entries
        if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED
        and (entry["HOSTFW_DST_ADDR"], entry.get("HOSTFW_DST_PORT")) == (to, str(port))
    )


def send_out(lab: Lab, to: str, port: int) -> None:
    """Send one datagram from the host, as root."""
    family = "AF_INET6" if ":" in to else "AF_INET"
    code = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'', ('{to}', {port}))"
    run(lab["host"], [sys.executable, "-c", code], check=False)


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_source_that_floods_cannot_hide_what_else_it_tries(lab: Lab, running: Service, family: Family) -> None:
    """The first packet to each port is reported, whatever else the source has sent."""
    with flooded(lab, [frame(family, FLOODER[family], 9)], seconds=2):
        for port in range(20, 60):
            flood(lab["peer"], "eth0", [frame(family, FLOODER[family], port)], count=1)
    sleep(1.5)

    missing = [port for port in range(20, 60) if not told_of_port(running.entries(), port, to=HOST_ADDRESS[family])]
    assert missing == []


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_spoofed_sources_cannot_hide_a_new_one(lab: Lab, running: Service, family: Family) -> None:
    """Of sources that are known no packet is a first one any more, so first packets have their limit for themselves."""
    with flooded(lab, spoofed(HOST, number(HOST_ADDRESS[family]), family, 9, SPOOFED), seconds=6):
        sleep(4)
        flood(lab["peer"], "eth0", [frame(family, NEW[family], 9)], count=1)
    sleep(1.5)

    assert told_of(running.entries(), NEW[family]) == 1


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_flood_of_one_reason_leaves_room_for_the_others(lab: Lab, running: Service, family: Family) -> None:
    """Though it has taken all the room that there is for its own reason: another reason, and the other direction."""
    sources = spoofed(HOST, number(HOST_ADDRESS[family]), family, 9, 2 * LOG_FIRSTS[Direction.INGRESS])
    with flooded(lab, sources, seconds=5):
        sleep(2)
        flood(lab["peer"], "eth0", [frame(family, NEW[family], 7777)], count=1)
        send_out(lab, PEER[family], 7778)
    sleep(1.5)

    assert told_of(running.entries(), NEW[family]) == 1
    assert told_of_port(running.entries(), 7778, to=PEER[family]) == 1


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_neighbour_cannot_hide_the_others_of_its_network(lab: Lab, running: Service, family: Family) -> None:
    """In the host's own networks each address is a source of its own, of IPv6 as well."""
    quiet = QuietNeighbour(lab, family)
    with flooded(lab, [frame(family, BAD_NEIGHBOUR[family], 7)], seconds=5), quiet:
        sleep(4)
    sleep(1.5)

    assert quiet.sent >= 4
    assert told_of(running.entries(), quiet.address) == quiet.sent


@pytest.mark.parametrize("sources", [SPOOFED, 2 * LOG_FIRSTS[Direction.INGRESS]])
@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_spoofed_sources_from_beyond_the_network_hide_no_neighbour(
    lab: Lab, running: Service, family: Family, sources: int
) -> None:
    """Neither one that is known, every time, nor a new one: though there are more than can be remembered."""
    frames = spoofed(HOST, number(HOST_ADDRESS[family]), family, 9, sources)
    flood(lab["peer"], "eth0", [frame(family, BAD_NEIGHBOUR[family], 9)], count=1)
    with flooded(lab, frames, seconds=7):
        sleep(1)
        for _ in range(5):
            flood(lab["peer"], "eth0", [frame(family, BAD_NEIGHBOUR[family], 9)], count=1)
            sleep(1)
        flood(lab["peer"], "eth0", [frame(family, NEW_NEIGHBOUR[family], 9)], count=1)
    sleep(1.5)

    assert told_of(running.entries(), BAD_NEIGHBOUR[family]) == 6
    assert told_of(running.entries(), NEW_NEIGHBOUR[family]) == 1


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_what_spoofed_sources_hide_is_counted_and_they_do_not_fill_the_journal(
    lab: Lab, running: Service, family: Family
) -> None:
    """The limit of what can be told: beyond 65,536 sources a minute new ones from afar are reported by chance."""
    frames = spoofed(HOST, number(HOST_ADDRESS[family]), family, 9, 2 * LOG_FIRSTS[Direction.INGRESS])
    began_s = monotonic()
    sent = flood(lab["peer"], "eth0", frames, seconds=4)
    new = [frame(family, NEW_FAR[family].format(n), 9) for n in range(200)]
    sent_new = flood(lab["peer"], "eth0", new, count=200)
    rest = flood(lab["peer"], "eth0", frames, seconds=2)
    took_s = monotonic() - began_s
    sleep(1.5)

    counted, log = log_counters(lab, family)
    assert counted == log.total() == sent.packets + sent_new.packets + rest.packets
    assert log["no-room"] > 0
    most = LIMITS.shared_burst_packets + LIMITS.shared_rate_per_second * (took_s + 1)
    assert log["records"] <= most + 2 * (LIMITS.burst_packets + LIMITS.rate_per_second * (took_s + 1))
    assert told(running.entries()) == log["records"]


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_neighbour_with_many_addresses_takes_no_room_of_those_farther_away(
    lab: Lab, running: Service, family: Family
) -> None:
    """It fills what there is for neighbours: with addresses, or where there are few of them with ports."""
    first, many = number(BAD_NEIGHBOUR[family]), LOG_FIRSTS[Direction.INGRESS] + 1000
    addresses = 100 if family is Family.V4 else many
    host = number(HOST_ADDRESS[family])
    frames = [udp_frame(HOST, first + n % addresses, host, family, 9 + n // addresses) for n in range(many)]
    with flooded(lab, frames, seconds=5):
        for _ in range(4):
            flood(lab["peer"], "eth0", [frame(family, NEW[family], 9)], count=1)
            sleep(0.5)
    sleep(1.5)

    assert told_of(running.entries(), NEW[family]) == 4


def test_addresses_of_one_network_far_away_are_one_source(lab: Lab, running: Service) -> None:
    """The owner of a /64 gets no more than the owner of one IPv4 address."""
    first, host = number("2001:db8:bad::"), number(HOST_ADDRESS[Family.V6])
    random = Random(3)
    frames = [udp_frame(HOST, first + random.randrange(1 << 64), host, Family.V6, 9) for _ in range(5000)]
    began_s = monotonic()
    flood(lab["peer"], "eth0", frames, seconds=2)
    took_s = monotonic() - began_s
    sleep(1.5)

    entries = [entry for entry in running.entries() if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED]
    assert 50 <= sum(int(entry["HOSTFW_COUNT"]) for entry in entries) <= 51 + 10 * (took_s + 1)


BEYOND = {Family.V4: "198.51.100.9", Family.V6: "2001:db8:51::9"}


def through(family: Family, source: str) -> bytes:
    """A datagram through the host to another network."""
    return udp_frame(HOST, number(source), number(BEYOND[family]), family, 9)


@pytest.mark.parametrize("known", [True, False], ids=["known network", "unknown network"])
def test_neighbours_are_told_apart_in_what_is_forwarded_once_their_network_is_known(
    lab: Lab, installation: Installation, tmp_path: Path, *, known: bool
) -> None:
    """By a packet that was denied at the host itself. Until then a /64 is one source, as any other is."""
    family = Family.V6
    set_sysctl(lab["host"], "net.ipv6.conf.all.forwarding", "1")
    run(lab["host"], ["ip", "-6", "route", "add", "2001:db8:51::/64", "via", PEER[family]])
    text = POLICY.replace("  types: [Ingress, Egress]", "  types: [Ingress, Egress]\n  applyOnForward: true")
    (installation.config / "policy.yaml").write_text(text)
    sent = 0
    with service(installation, tmp_path / "log") as started:
        if known:
            flood(lab["peer"], "eth0", [frame(family, NEW_NEIGHBOUR[family], 9)], count=1)
        flood(lab["peer"], "eth0", [through(family, PEER[family])], count=1)
        sleep(1.5)
        began_s = monotonic()
        with flooded(lab, [through(family, BAD_NEIGHBOUR[family])], seconds=6):
            for _ in range(5):
                sent += flood(lab["peer"], "eth0", [through(family, PEER[family])], count=1).packets
                sleep(1)
        took_s = monotonic() - began_s
        sleep(1.5)
        entries = started.entries()

    both = told_of(entries, BAD_NEIGHBOUR[family]) + told_of(entries, PEER[family])
    one_source = 2 + LIMITS.burst_packets + LIMITS.rate_per_second * (took_s + 1)
    if known:
        assert told_of(entries, PEER[family]) == 1 + sent
    else:
        assert LIMITS.burst_packets <= both <= one_source


FLOODS_OUT: list[tuple[str, list[str], Callable[[Family], list[str]], int]] = [
    ("root to one destination", [], lambda family: [PEER[family]], 1),
    ("a user to one destination", ["setpriv", "--reuid", NOBODY, "--clear-groups"], lambda family: [PEER[family]], 1),
    (
        "a user to many ports of many destinations",
        ["setpriv", "--reuid", NOBODY, "--clear-groups"],
        lambda family: [f"192.0.2.{n}" if family is Family.V4 else f"2001:db8::{n:x}" for n in range(100, 140)],
        60_000,
    ),
]


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("command", "destinations", "ports"), [case[1:] for case in FLOODS_OUT], ids=[case[0] for case in FLOODS_OUT]
)
def test_a_process_cannot_hide_what_others_are_denied(
    lab: Lab,
    running: Service,
    command: list[str],
    destinations: Callable[[Family], list[str]],
    ports: int,
    family: Family,
) -> None:
    """The source of what is sent is the host itself: destinations and users are told apart instead."""
    arguments = [str(2 if family is Family.V4 else 10), "4", ",".join(destinations(family)), str(ports)]
    with process(lab["host"], [*command, sys.executable, "-c", FLOOD_OUT, *arguments]) as flooding:
        sleep(1)
        for _ in range(4):
            send_out(lab, PEER[family], 4)
            sleep(0.3)
        out, err = flooding.communicate(timeout=30)
    sleep(1.5)

    assert int(out) > 10_000, err
    assert told_of_port(running.entries(), 4, to=PEER[family]) == 4
