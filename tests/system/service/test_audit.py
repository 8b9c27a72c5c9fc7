"""The audit on a running host: what is denied is in a real journal, in full, at once, however many there are."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

import pytest

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS
from hostfw.journal.message_ids import PACKETS, MessageId
from hostfw.model.values import FAMILIES, Family, parse_address
from lab.hosts.host import Host
from lab.hosts.wire import hardware_address
from lab.namespace import Namespace, open_socket
from lab.packets.flood import flood, spoofed
from tests.system.street import CLOSED, HOST, HOST6, OPEN, PEER, PEER6, POLICY, Street, configure, eventually, reload

AT_ONCE_S = 0.2
HOSTS, PEERS = {Family.V4: HOST, Family.V6: HOST6}, {Family.V4: PEER, Family.V6: PEER6}
ENDPOINT = POLICY.partition("---")[0]
PROFILE = """\
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: office}
spec: {ingress: [{action: Allow, protocol: SCTP}]}
"""
DENIES = POLICY.replace(
    "  ingress:\n", f"  ingress:\n    - {{action: Deny, protocol: UDP, destination: {{ports: [{CLOSED}]}}}}\n"
)
LOGS = DENIES.replace("action: Deny", "action: Log")
STAGED = f"""\
{POLICY}---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {{name: strict}}
spec:
  order: 1
  selector: all()
  types: [Ingress]
  ingress: [{{action: Deny, protocol: UDP}}]
"""
RULE_LINE = next(number for number, line in enumerate(DENIES.splitlines(), 1) if "Deny" in line)

Entry = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration, and what the journal says of a datagram to `CLOSED`, or of what is no datagram."""

    name: str
    policy: str
    expected: dict[str, str]
    invalid: bool = False


OF_RULE = {"HOSTFW_REASON": "rule", "HOSTFW_POLICY": "web", "HOSTFW_TIER": "default", "HOSTFW_RULE": "0"}
ORIGIN = {"HOSTFW_ORIGIN": f"/etc/hostfw/policy.yaml:{RULE_LINE}"}
DENIED = {"HOSTFW_ACTION": "deny", "HOSTFW_ENDPOINT": "web-eth0", "PRIORITY": "5"}
CASES = (
    Case("rule", DENIES, {**DENIED, **OF_RULE, **ORIGIN, "HOSTFW_KIND": "GlobalNetworkPolicy"}),
    Case("end of tier", POLICY, {**DENIED, "HOSTFW_REASON": "end-of-tier", "HOSTFW_TIER": "default"}),
    Case("invalid", POLICY, {**DENIED, "HOSTFW_REASON": "invalid"}, invalid=True),
    Case(
        "no profile",
        ENDPOINT.replace("eth0}", "eth0, profiles: [office]}") + PROFILE,
        {**DENIED, "HOSTFW_REASON": "no-profile-match"},
    ),
    Case("no policy", ENDPOINT, {**DENIED, "HOSTFW_REASON": "no-policy"}),
    Case("unmanaged", "", {"HOSTFW_ACTION": "deny", "HOSTFW_REASON": "unmanaged-interface", "PRIORITY": "5"}),
    Case("logged", LOGS, {**OF_RULE, **ORIGIN, "HOSTFW_ACTION": "log", "PRIORITY": "6"}),
    Case("staged", STAGED, {"HOSTFW_ACTION": "would-deny", "HOSTFW_POLICY": "strict", "HOSTFW_RULE": "0"}),
)


def entries(host: Host, *matches: str) -> list[Entry]:
    """The journal's entries of hostfw, oldest first."""
    command = ["journalctl", "--no-pager", "--quiet", "-o", "json", "-t", "hostfw", *matches]
    return [json.loads(line) for line in host.run(command).stdout.splitlines()]


def of_packets(host: Host, *matches: str) -> list[Entry]:
    """The entries about packets."""
    return [entry for entry in entries(host, *matches) if entry["MESSAGE_ID"] in PACKETS]


def send(peer: Namespace, family: Family, port: int = CLOSED, *, invalid: bool = False) -> float:
    """Send a datagram to the host, or a segment that begins and ends at once; gives when (monotonic)."""
    inet = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    if not invalid:
        with open_socket(peer, inet, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (HOSTS[family], port))
            return monotonic()
    segment = struct.pack("!HHIIHHHH", 40000, port, 1, 0, 0x5003, 64240, 0, 0)
    with open_socket(peer, inet, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        sock.sendto(segment, (HOSTS[family], 0))
        return monotonic()


@pytest.fixture(name="known")
def _known(host: Host, street: Street) -> Host:
    """The host, whose address the neighbour has asked for: a packet that waits for an answer is late for no fault."""
    for family in FAMILIES:
        send(street.peer, family, OPEN)
    sleep(0.5)
    return host


def test_each_reason_is_in_the_journal_at_once(known: Host, street: Street) -> None:
    """With all its fields, over both families, before a fifth of a second has gone."""
    for case in CASES:
        configure(known, case.policy)
        # Some take every policy away, or the endpoint: the service refuses that of a reload.
        known.run(["hostfwctl", "apply", "--accept-loss"])
        # Until then a record may be of the generation before.
        sleep(0.5)
        for family in FAMILIES:
            before = len(of_packets(known))
            sent_s = send(street.peer, family, invalid=case.invalid)
            assert eventually(lambda: len(of_packets(known)) > before, 5) is not None, (case.name, family)  # noqa: B023
            entry = next(e for e in of_packets(known)[before:] if case.expected.items() <= e.items())

            assert int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6 - sent_s < AT_ONCE_S, case.name
            assert (
                entry.items()
                >= {
                    "SYSLOG_IDENTIFIER": "hostfw",
                    "_SYSTEMD_UNIT": "hostfw.service",
                    "_UID": "0",
                    "HOSTFW_DIRECTION": "ingress",
                    "HOSTFW_INTERFACE": "eth0",
                    "HOSTFW_IN_INTERFACE": "eth0",
                    "HOSTFW_PROTOCOL": "TCP" if case.invalid else "UDP",
                    "HOSTFW_SRC_ADDR": PEERS[family],
                    "HOSTFW_DST_ADDR": HOSTS[family],
                    "HOSTFW_DST_PORT": f"{CLOSED}",
                    "HOSTFW_COUNT": "1",
                }.items()
            )
            assert len(entry["HOSTFW_GENERATION"]) == 12


def test_journalctl_finds_by_field_and_explains(known: Host, street: Street) -> None:
    """`journalctl -t hostfw HOSTFW_POLICY=web`, and with -x the text of the catalog."""
    configure(known, DENIES)
    reload(known)
    sleep(0.5)
    send(street.peer, Family.V4)
    send(street.peer, Family.V4, 9)
    assert eventually(lambda: len(of_packets(known, "HOSTFW_DST_PORT=9")) == 1, 5) is not None

    assert [entry["HOSTFW_DST_PORT"] for entry in entries(known, "HOSTFW_POLICY=web")] == [str(CLOSED)]
    explained = known.run(["journalctl", "--no-pager", "-x", "-t", "hostfw", "HOSTFW_POLICY=web"]).stdout
    assert f"Subject: Denied UDP from {PEER} to {HOST}" in explained
    assert f"/etc/hostfw/policy.yaml:{RULE_LINE}" in explained
    kinds = {entry["MESSAGE_ID"] for entry in entries(known)}
    assert {MessageId.GENERATION_APPLIED, MessageId.INTERFACE_BOUND} <= kinds
    catalog = known.run(["journalctl", "--list-catalog", *MessageId]).stdout
    assert all(kind in catalog for kind in MessageId)


def test_drops_reads_the_journal(known: Host, street: Street) -> None:
    """The past of it, by filter, and what comes while the service reads the log."""
    for port in (CLOSED, CLOSED, 9):
        send(street.peer, Family.V4, port)
        sleep(1.1)

    shown = known.run(["hostfwctl", "drops", "--since", "1h", "--reason", "end-of-tier", "-o", "json"]).stdout
    ports = [json.loads(line)["HOSTFW_DST_PORT"] for line in shown.splitlines()]
    top = json.loads(known.run(["hostfwctl", "drops", "--src", PEER, "--top", "-o", "json"]).stdout)
    with known.process(["hostfwctl", "drops", "--follow", "--count", "1", "-o", "json"]) as following:
        sleep(1.5)
        send(street.peer, Family.V6, 10)
        followed, messages = following.communicate(timeout=20)

    assert ports[-3:] == [str(CLOSED), str(CLOSED), "9"]
    assert top["ports"][0] == {"port": f"UDP {CLOSED}", "packets": 2}
    assert (following.returncode, json.loads(followed)["HOSTFW_DST_PORT"]) == (0, "10"), messages


def test_a_staged_policy_shows_what_it_would_have_done(known: Host, street: Street) -> None:
    """And the change that enforces it is one that the host takes."""
    configure(known, STAGED)
    reload(known)
    send(street.peer, Family.V4)
    send(street.peer, Family.V6)
    sleep(1)

    shown = json.loads(known.run(["hostfwctl", "staged", "strict", "-o", "json"]).stdout)
    patch = known.run(["hostfwctl", "promote", "strict"]).stdout

    assert [rule["packets"] for rule in shown["rules"]] == [2]
    assert {sample["HOSTFW_SRC_ADDR"] for sample in shown["samples"]} == {PEER, PEER6}
    assert "-kind: StagedGlobalNetworkPolicy\n+kind: GlobalNetworkPolicy\n" in patch


def test_a_service_that_starts_says_what_it_missed(known: Host, street: Street) -> None:
    """The rules went on without it, and so did the counters."""
    known.run(["systemctl", "stop", "hostfw"])
    for _ in range(3):
        send(street.peer, Family.V4)
    known.run(["systemctl", "start", "hostfw"])

    missed = entries(known, f"MESSAGE_ID={MessageId.RECORDS_MISSED}")
    assert [entry["HOSTFW_RECORDS"] for entry in missed][-1:] == ["3"]


@contextmanager
def counted(host: Host) -> Iterator[dict[str, int]]:
    """The number of log records that the kernel makes within the block, known at its end."""
    before = _records(host)
    found: dict[str, int] = {}
    yield found
    found["records"] = _records(host) - before


def _records(host: Host) -> int:
    listed = json.loads(host.run(["hostfwctl", "counters", "-o", "json"]).stdout)
    return next(int(item["packets"]) for item in listed["log"] if item["counter"] == LOG_RECORDS)


def test_the_journal_has_every_record_of_a_flood(known: Host, street: Street) -> None:
    """Journald's own limit takes none: not of thousands of sources, for half a minute of its time."""
    parsed = parse_address(HOST)
    assert parsed is not None
    frames = spoofed(hardware_address(known.name, "eth0"), parsed[1], Family.V4, 9, 20_000)
    told_before = sum(int(entry["HOSTFW_COUNT"]) for entry in of_packets(known))

    with counted(known) as kernel:
        flood(street.peer, "eth0", frames, seconds=10)
        sleep(2)

    told = sum(int(entry["HOSTFW_COUNT"]) for entry in of_packets(known)) - told_before
    # 250 first packets at once and 50 a second from there; how many come again depends on how fast the machine floods.
    assert kernel["records"] >= 700
    assert told == kernel["records"]
    assert "Suppressed" not in known.journal("-t", "systemd-journald")


def test_who_may_read_the_journal_may_read_the_drops(known: Host, street: Street) -> None:
    """Without being root, and without a word to the service."""
    send(street.peer, Family.V4)
    sleep(1)
    reader = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=systemd-journal"]

    read = known.run([*reader, "hostfwctl", "drops", "-o", "json"], check=False)

    ports = [json.loads(line)["HOSTFW_DST_PORT"] for line in read.stdout.splitlines()]
    assert (read.returncode, ports[-1:]) == (0, [str(CLOSED)]), read.stderr


def test_who_may_not_read_the_journal_is_told_so(known: Host) -> None:
    """And not that nothing was denied."""
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    read = known.run([*stranger, "hostfwctl", "drops"], check=False)

    assert (read.returncode, read.stdout) == (4, "")
    assert "the journal may not be read" in read.stderr


def test_drops_believes_no_other_process_of_root(known: Host, street: Street) -> None:
    """Nor a unit that has our name in a manager of its own: the journal knows who wrote an entry."""
    send(street.peer, Family.V4)
    sleep(1)
    forged = {**of_packets(known)[-1], "HOSTFW_SRC_ADDR": "203.0.113.66"}
    lines = "".join(f"{name}={value}\n" for name, value in forged.items() if not name.startswith("_"))
    known.run(["logger", "--journald"], text=lines)
    sleep(1)

    assert of_packets(known, "HOSTFW_SRC_ADDR=203.0.113.66")
    read = known.run(["hostfwctl", "drops", "-o", "json"]).stdout
    assert read
    assert "203.0.113.66" not in read


def test_a_journald_that_hangs_holds_up_nobody(known: Host, street: Street) -> None:
    """The service goes on, and what it could not write is there once journald takes entries again."""
    daemon = known.pid_of("hostfw")
    generation = json.loads(known.run(["hostfwctl", "status", "-o", "json"]).stdout)["generation"]
    before = sum(int(entry["HOSTFW_COUNT"]) for entry in of_packets(known))

    with counted(known) as kernel:
        known.run(["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "systemd-journald"])
        try:
            # More of them than journald's socket has room for, and than the limit of one source.
            for number in range(600):
                send(street.peer, FAMILIES[number % 2], 9 + number)
                sleep(0.01)
            configure(known, DENIES)
            reloaded = known.run(["systemctl", "reload", "hostfw"], timeout_s=30)
        finally:
            known.run(["systemctl", "kill", "--kill-whom=main", "--signal=CONT", "systemd-journald"])

    def told() -> int:
        return sum(int(entry["HOSTFW_COUNT"]) for entry in of_packets(known)) - before

    assert reloaded.returncode == 0
    assert known.pid_of("hostfw") == daemon
    assert json.loads(known.run(["hostfwctl", "status", "-o", "json"]).stdout)["generation"] != generation
    assert kernel["records"] >= 100
    assert eventually(lambda: told() == kernel["records"], 10) is not None, (told(), kernel)
