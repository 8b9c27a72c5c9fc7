"""A user of the host who has a shell and no rights: what they can do to the firewall, and past it."""

import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from subprocess import CompletedProcess

import pytest

from hostfw.control.messages import Apply, Confirm, Report, Request, Rollback, RollbackTo
from hostfw.control.socket import (
    MOST_BYTES,
    Envelope,
    OtherReleaseError,
    Refusal,
    answer_of,
    envelope_bytes,
    our_namespace,
    our_version,
)
from hostfw.host.nftables.nflog import NflogReader
from hostfw.model.settings import Settings
from lab.hostfwctl import Installation, environment, hostfwctl
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, process, run
from lab.service import Service, service

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec:
  selector: all()
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  egress:
    - {action: Allow, protocol: TCP, destination: {ports: [443]}}
"""
NOBODY = 65534
ROGUE = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
"""A shell without any rights."""
VERBS = [
    ["apply"],
    ["reload"],
    ["confirm", "--console"],
    ["rollback"],
    ["rollback", "--to", "1"],
    ["lockdown", "--all"],
    ["unblock"],
    ["disable", "--remove-rules"],
]


@pytest.fixture(name="running")
def _running(installation: Installation, place: Path) -> Iterator[Service]:
    """The service, with a policy that lets one port in and one out."""
    (installation.config / "policy.yaml").write_text(POLICY)
    with service(installation, place / "log") as started:
        yield started


def rogue(node: Namespace, code: str, *arguments: object) -> "CompletedProcess[str]":
    """Run a program of the user's on the host."""
    command = [*ROGUE, sys.executable, "-c", code, *map(str, arguments)]
    return run(node, command, check=False, environment=environment())


def ruleset(lab: Lab) -> str:
    """Our tables as nft lists them, without what packets move."""
    return run(lab["host"], ["nft", "--stateless", "list", "ruleset"]).stdout


def ask(path: Path, message: bytes, patience_s: float = 5) -> bytes:
    """The daemon's answer to some bytes, as root."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(patience_s)
        channel.connect(str(path))
        with suppress(BrokenPipeError, ConnectionResetError):
            channel.sendall(message)
            channel.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(TimeoutError, ConnectionResetError):
            while part := channel.recv(1 << 16):
                answer += part
        return answer


# --------------------------------------------------------------------------------------------------- the control socket


def test_the_control_socket_is_root_s(lab: Lab, running: Service, installation: Installation) -> None:
    """And so is the folder that it is in: nobody else puts anything there."""
    path = installation.run / "control.sock"
    installation.run.parent.chmod(0o755)

    assert running.process.poll() is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = rogue(lab["host"], "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])", path)
    assert "PermissionError" in done.stderr
    for what in ("open(sys.argv[1] + '/x', 'w')", "os.unlink(sys.argv[1] + '/control.sock')"):
        assert "PermissionError" in rogue(lab["host"], f"import os, sys; {what}", installation.run).stderr


REQUESTS: list[Request | Report] = [Apply(), Confirm((), console=True), Rollback(), RollbackTo(1), Report()]


@pytest.mark.parametrize("request_", REQUESTS, ids=[type(request).__name__ for request in REQUESTS])
def test_a_socket_that_lets_everybody_in_still_listens_to_root_alone(
    lab: Lab, running: Service, installation: Installation, request_: Request | Report
) -> None:
    """Whatever became of its permissions: the kernel knows the caller."""
    path = installation.run / "control.sock"
    path.chmod(0o666)
    with inside(lab["host"]):
        envelope = envelope_bytes(
            Envelope(our_namespace(), str(installation.config), str(installation.state), request_)
        )
    before = ruleset(lab)
    code = """
import socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
try:
    channel.sendall(bytes.fromhex(sys.argv[2]))
except OSError:
    pass
try:
    print(channel.recv(65536).hex())
except OSError:
    print()
"""
    done = rogue(lab["host"], code, path, envelope.hex())

    # It hangs up without having read, so the answer may be lost.
    answer = bytes.fromhex(done.stdout.strip()).rstrip(b"\0")
    assert not answer or answer_of(answer) == Refusal("only root may ask the daemon", "run it as root"), done.stderr
    assert ruleset(lab) == before
    assert running.process.poll() is None


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_verb_changes_anything_for_them(
    lab: Lab, running: Service, installation: Installation, verb: list[str]
) -> None:
    """With the service or past it, in its run directory or in one of their own."""
    before = ruleset(lab)
    folder = installation.run.parent / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    own = [*installation.arguments[:-1], str(folder)]

    for arguments in (installation.arguments, own):
        done = run(lab["host"], [*ROGUE, *arguments, *verb], check=False, environment=environment())
        assert done.returncode in (1, 3, 4), done
    assert ruleset(lab) == before
    assert running.process.poll() is None


def _hostile_messages() -> Iterator[tuple[str, bytes]]:
    random = Random(17)
    start = b'{"version":'
    whole = envelope_bytes(Envelope(1, "/etc/hostfw", "/var/lib/hostfw", Report()))
    yield "nothing", b""
    yield "an end alone", b"\0"
    yield "ends", b"\0" * 5000
    yield "half a request", whole[: len(whole) // 2]
    yield "a request without its end", whole.rstrip(b"\0")
    yield "a request twice", whole + whole
    yield "a request and more", whole + b"x" * 100_000
    yield "another version", whole.replace(our_version().encode(), b"1")
    yield "no JSON", start + b"!\0"
    yield "a list", b"[1, 2]\0"
    yield "deep lists", start + b"[" * 100_000 + b"\0"
    yield "deep objects", start + b'{"a":' * 100_000 + b"\0"
    yield "a long number", start + b"9" * 1_000_000 + b"}\0"
    yield "a number that is none", start + b"NaN}\0"
    yield "infinity", start + b"1e999}\0"
    yield "a lone surrogate", start + b'1,"namespace":"\\ud800"}\0'
    yield "no text", start + b'"\xff\xfe\xfd"}\0'
    yield "UTF-16", '{"version":1}'.encode("utf-16") + b"\0"
    yield "many fields", start + b"1" + b"".join(b',"%d":0' % n for n in range(100_000)) + b"}\0"
    yield "one field over and over", start + b"1" + b',"request":0' * 10_000 + b"}\0"
    yield "another type", start + b'1,"namespace":[],"directories":7,"request":null}\0'
    yield "a request of no kind", start + b'1,"namespace":1,"directories":["a","b"],"request":{"Nonsense":{}}}\0'
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield "more than there is room for", start + b'"' + b"x" * (MOST_BYTES + 10)
    for number in range(16):
        yield f"noise {number}", random.randbytes(random.randrange(1, 20_000)) + b"\0"
    for number in range(16):
        spoilt = bytearray(whole)
        for _ in range(random.randrange(1, 6)):
            spoilt[random.randrange(len(spoilt) - 1)] = random.randrange(1, 256)
        yield f"a spoilt request {number}", bytes(spoilt)


def is_refusal(answer: bytes) -> bool:
    """True for an answer that declines; a request of another release is declined in the words of that release."""
    try:
        return isinstance(answer_of(answer.rstrip(b"\0")), Refusal)
    except OtherReleaseError:
        return b'"type":"Refusal"' in answer


def test_whatever_comes_in_at_the_socket_the_service_goes_on(
    lab: Lab, running: Service, installation: Installation
) -> None:
    """Also from root, whose program may be broken: it answers or hangs up, grows no fatter, and answers the next."""
    path, before = installation.run / "control.sock", ruleset(lab)
    messages = dict(_hostile_messages())
    resident = running.resident_bytes

    for name, message in messages.items():
        answer = ask(path, message)
        if answer:
            assert is_refusal(answer), (name, answer)
        assert running.process.poll() is None, name

    assert len(messages) >= 55
    assert ruleset(lab) == before
    assert json.loads(hostfwctl(installation, "status", "-o", "json").stdout)
    assert running.resident_bytes < resident + 3 * MOST_BYTES


def test_those_who_connect_and_say_nothing_keep_nobody_waiting(running: Service, installation: Installation) -> None:
    """Not a hundred of them."""
    path = installation.run / "control.sock"
    silent = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for number, channel in enumerate(silent):
            channel.connect(str(path))
            if number % 2:
                channel.sendall(b'{"version":')
        began_s = time.monotonic()
        hostfwctl(installation, "reload")
        assert time.monotonic() - began_s < 20
    finally:
        for channel in silent:
            channel.close()
    assert running.process.poll() is None


def test_a_socket_of_theirs_is_not_taken_for_the_daemon(lab: Lab, installation: Installation, place: Path) -> None:
    """Root may name a run directory that is not root's: who listens there is told nothing, and not believed."""
    (installation.config / "policy.yaml").write_text(POLICY)
    theirs = place / "run"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    code = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
channel, _ = listener.accept()
print(len(channel.recv(1 << 20)), flush=True)
"""
    path = theirs / "control.sock"
    with process(lab["host"], [*ROGUE, sys.executable, "-c", code, str(path)], environment=environment()) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "listening\n"
        arguments = [*installation.arguments[:-1], str(theirs)]
        done = run(lab["host"], [*arguments, "apply"], check=False, environment=environment())
        got = listening.stdout.readline()

    assert done.returncode == 1
    assert f"who listens there is user {NOBODY}" in done.stderr
    assert got == "0\n"


# ------------------------------------------------------------------------------------------------------------- nftables


@pytest.mark.parametrize(
    "command",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "add rule ip hostfw input accept"],
        ["unshare", "--map-root-user", "nft", "flush", "ruleset"],
        ["unshare", "--map-root-user", "--net", "nft", "flush", "ruleset"],
        ["unshare", "--map-root-user", "--net", "nft", "add table ip hostfw"],
        ["ip", "link", "set", "eth0", "down"],
        ["ip", "link", "set", "eth0", "name", "eth1"],
        ["sysctl", "-w", "net.netfilter.nf_conntrack_max=1"],
    ],
    ids=" ".join,
)
def test_they_change_no_ruleset_but_in_namespaces_of_their_own(lab: Lab, running: Service, command: list[str]) -> None:
    """The attempts go to namespaces that the host's packets do not pass."""
    before = ruleset(lab), run(lab["host"], ["ip", "-o", "link"]).stdout
    for _ in range(20):
        run(lab["host"], [*ROGUE, *command], check=False)

    assert (ruleset(lab), run(lab["host"], ["ip", "-o", "link"]).stdout) == before
    assert running.process.poll() is None
    assert not [entry for entry in running.entries() if "restored" in entry["MESSAGE"]]


# ------------------------------------------------------------------------------------------------------ what they send

SEND = """
import socket, sys
socket.setdefaulttimeout(0.2)
def tried(name, send):
    try:
        send()
    except OSError:
        pass
def datagram(family, to, port=9999, prepare=lambda s: None, proto=0):
    with socket.socket(family, socket.SOCK_DGRAM, proto) as s:
        prepare(s)
        s.sendto(b"\\x08\\0\\0\\0\\0\\1\\0\\1attack" if proto else b"attack", (to, port))
def stream(family, to, port=9999, prepare=lambda s: None):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        prepare(s)
        s.connect((to, port))
V4, V6 = socket.AF_INET, socket.AF_INET6
option = lambda *o: lambda s: s.setsockopt(*o)
for to in ("192.0.2.2", "192.0.2.77", "203.0.113.1", "192.0.2.255", "224.0.0.251"):
    for port in (0, 1, 53, 67, 68, 123, 443, 546, 547, 9999, 65535):
        tried("udp", lambda: datagram(V4, to, port))
        tried("broadcast", lambda: datagram(V4, to, port, option(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)))
    tried("tcp", lambda: stream(V4, to))
    tried("icmp", lambda: datagram(V4, to, 0, proto=socket.IPPROTO_ICMP))
for to in ("2001:db8::2", "2001:db8::77", "ff02::fb%eth0", "ff02::1:2%eth0", "::ffff:192.0.2.2"):
    for port in (0, 1, 53, 123, 443, 546, 547, 9999):
        tried("udp6", lambda: datagram(V6, to, port))
    tried("tcp6", lambda: stream(V6, to))
    tried("icmp6", lambda: datagram(V6, to, 0, proto=socket.IPPROTO_ICMPV6))
for source in ("127.0.0.1", "192.0.2.1", "0.0.0.0"):
    tried("bound", lambda: datagram(V4, "192.0.2.2", prepare=lambda s: s.bind((source, 0))))
    for port in (1024, 5353, 40000):
        tried("bound", lambda: datagram(V4, "192.0.2.2", prepare=lambda s: s.bind((source, port))))
for prepare in (
    option(socket.IPPROTO_IP, socket.IP_TTL, 255),
    option(socket.IPPROTO_IP, socket.IP_TOS, 0xC0),
    option(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\\x94\\4\\0\\0"),
    option(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\\x83\\x07\\4\\xc0\\0\\2\\x02\\0"),
    option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0"),
    option(socket.SOL_SOCKET, 36, b"\\xff\\xff\\xff\\xff"),
    option(socket.SOL_SOCKET, socket.SO_PRIORITY, 6),
    option(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1),
):
    tried("option", lambda: datagram(V4, "192.0.2.2", prepare=prepare))
    tried("option", lambda: stream(V4, "192.0.2.2", prepare=prepare))
fast = socket.socket(V4, socket.SOCK_STREAM)
tried("fast open", lambda: fast.sendto(b"x", socket.MSG_FASTOPEN, ("192.0.2.2", 9999)))
RAW, STREAM, DATAGRAM, DCCP = socket.SOCK_RAW, socket.SOCK_STREAM, socket.SOCK_DGRAM, 6
kinds = ((RAW, 255), (STREAM, 262), (STREAM, 132), (DATAGRAM, 136), (DCCP, 33))
for kind, protocol in kinds:
    for family, to in ((V4, "192.0.2.2"), (V6, "2001:db8::2")):
        def other():
            with socket.socket(family, kind, protocol) as s:
                s.connect((to, 9999))
                s.send(b"attack")
        tried("other", other)
big = socket.socket(V4, socket.SOCK_DGRAM)
tried("big", lambda: big.sendto(b"x" * 60000, ("192.0.2.2", 9999)))
print("done")
"""
SEEN = """\
table inet observer {
    chain left {
        type filter hook postrouting priority 300
        oifname "eth0" log group 9 snaplen 64
    }
}
"""


def test_nothing_that_they_send_gets_past_egress_policy(lab: Lab, running: Service) -> None:
    """Whatever sockets an ordinary user may make, and whatever is set on them; policy and failsafes allow the rest."""
    run(lab["host"], ["nft", "-f", "-"], text=SEEN)
    run(lab["host"], ["ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2"])
    run(lab["host"], ["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647", "net.ipv4.tcp_fastopen=3"])
    with inside(lab["host"]):
        reader = NflogReader(9, 64)
    with reader:
        done = rogue(lab["host"], SEND)
        connect = "import socket; socket.create_connection(('192.0.2.2', 443), 1)"
        rogue(lab["host"], connect)
        left: set[tuple[int, int]] = set()
        while records := reader.read():
            left |= {_sent(record.payload) for record in records}
            reader.wait(0.5)

    failsafes = {(port.protocol.number, port.port) for port in Settings().failsafe.outbound}
    assert done.stdout == "done\n", done.stderr
    assert (6, 443) in left
    assert {what for what in left if what[0] != 58} <= {(6, 443), *failsafes}
    # Of ICMPv6 the host itself discovers its neighbours, and says which groups it listens to.
    assert {port for protocol, port in left if protocol == 58} <= {133, 134, 135, 136, 143}
    assert running.process.poll() is None


def _sent(data: bytes) -> tuple[int, int]:
    """The protocol of a packet that left, and its port or its type of ICMP."""
    if data[0] >> 4 == 4:
        protocol, rest = data[9], data[(data[0] & 15) * 4 :]
    else:
        protocol, rest = data[6], data[40:]
        if protocol == 0:
            protocol, rest = rest[0], rest[8 * (rest[1] + 1) :]
    return (protocol, rest[0]) if protocol in (1, 58) else (protocol, int.from_bytes(rest[2:4], "big"))


def test_a_port_that_they_hold_is_open_to_nobody(lab: Lab, running: Service) -> None:
    """Nor one that policy allows and that root's own service did not take."""
    code = """
import socket, sys, time
for port in (8080, 9999):
    for family in (socket.AF_INET, socket.AF_INET6):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("", port))
        listener.listen()
        globals()[f"keep{port}{family}"] = listener
print("listening", flush=True)
time.sleep(30)
"""
    reach = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
    with process(lab["host"], [*ROGUE, sys.executable, "-c", code], environment=environment()) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "listening\n"
        for address in ("192.0.2.1", "2001:db8::1"):
            for port in (8080, 9999):
                done = run(lab["peer"], [sys.executable, "-c", reach, address, str(port)], check=False)
                assert "Error" in done.stderr, (address, port)
    assert running.process.poll() is None
