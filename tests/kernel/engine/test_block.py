"""The block on a real kernel, and turning hostfw off: what passes, what does not, and what is left alone."""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from hostfw.engine.block import restore_block
from hostfw.engine.context import Directories
from hostfw.engine.reading.block_state import BlockContext
from hostfw.host.nftables.writing.block_table import read_block
from hostfw.host.store.block import load_block
from hostfw.host.store.generations.trial import load_rollback_timer
from hostfw.model.values import ICMP, TCP, Family
from lab.hostfwctl import Installation, install
from lab.hostfwctl import hostfwctl as run_hostfwctl
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, open_socket, process, run
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from tests.kernel.web_policy import OPEN

Hostfwctl = Callable[..., CompletedProcess[str]]

MORE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: more}
spec: {order: 1, types: [Ingress], ingress: [{action: Deny, protocol: UDP}]}
"""
FOREIGN = """\
table inet theirs {
	set s { type ipv4_addr; elements = { 192.0.2.77 }; }
	chain c { ip saddr @s drop; }
}
"""
FLOWS = (
    Flow("peer", "host", TCP, 443, Family.V4),
    Flow("peer", "host", TCP, 443, Family.V6),
    Flow("peer", "host", ICMP, None, Family.V4),
    Flow("host", "peer", TCP, 443, Family.V4),
    Flow("host", "peer", TCP, 443, Family.V6),
)
ECHO = """\
import ctypes, os, socket
ctypes.CDLL(None).prctl(15, b"sshd", 0, 0, 0)
server = socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    if os.fork() == 0:
        server.close()
        open("/proc/self/loginuid", "w").write("0")
        while data := connection.recv(100):
            connection.sendall(data)
        os._exit(0)
    connection.close()
"""


@pytest.fixture
def sshd(host: Namespace) -> Iterator[None]:
    """An ssh server as far as sockets go: it says what it hears."""
    with process(host, [sys.executable, "-c", ECHO]) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield


@contextmanager
def session(peer: Namespace, address: str = "192.0.2.1") -> Iterator[socket.socket]:
    """A connection to the ssh server, which has answered."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with open_socket(peer, family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect((address, 22))
        assert answers(connection)
        yield connection


def answers(connection: socket.socket) -> bool:
    """True if a session is alive."""
    connection.settimeout(2)
    try:
        connection.sendall(b"hello")
        return connection.recv(100) == b"hello"
    except TimeoutError:
        return False


def counters(node: Namespace) -> str:
    """Our tables with all that they counted."""
    return "".join(run(node, ["nft", "list", "table", family, "hostfw"]).stdout for family in ("ip", "ip6"))


def ruleset(node: Namespace, *table: str) -> str:
    """A table as nft lists it."""
    return run(node, ["nft", "-s", "list", "table", *table]).stdout


def verdicts(lab: Lab, *flows: Flow, patience_s: float = DENY_PATIENCE_S) -> list[Verdict]:
    """The verdicts on flows."""
    return [found.verdict for found in probe(lab, flows, patience_s)]


def passes(lab: Lab, flow: Flow) -> bool:
    """True if a flow gets through, with the patience that this deserves."""
    return verdicts(lab, flow, patience_s=ALLOW_PATIENCE_S) == [Verdict.ALLOWED]


@pytest.mark.usefixtures("sshd")
def test_sessions_go_on_and_nothing_else_passes(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Of both families; new connections, pings and what the host sends are dropped, and other tables untouched."""
    host, peer = lab["host"], lab["peer"]
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")
    run(host, ["nft", "-f", "-"], text=FOREIGN)
    with session(peer) as one, session(peer, "2001:db8::1") as other:
        ours, theirs = ruleset(host, "ip", "hostfw"), ruleset(host, "inet", "theirs")
        said = hostfwctl("lockdown").stderr
        alive = [answers(one), answers(other)]
        assert verdicts(lab, *FLOWS) == [Verdict.DROPPED] * len(FLOWS)
        assert passes(lab, Flow("host", "host", TCP, 8080, Family.V4, "127.0.0.1"))
        assert (ruleset(host, "ip", "hostfw"), ruleset(host, "inet", "theirs")) == (ours, theirs)

    assert alive == [True, True]
    assert "blocked: nothing passes but lo and 2 ssh sessions" in said
    assert len(re.findall(r"kept: ssh from \S+ port \d+ to port 22", said)) == 2


@pytest.mark.usefixtures("sshd")
def test_all_cuts_sessions_too_until_unblocked(lab: Lab, hostfwctl: Hostfwctl) -> None:
    """And what was dropped meanwhile is said; the session lives on, as TCP has the patience."""
    host, peer = lab["host"], lab["peer"]
    with session(peer) as mine:
        blocked = json.loads(hostfwctl("lockdown", "--all", "-o", "json").stdout)
        cut = answers(mine)
        state = json.loads(hostfwctl("unblock", "-o", "json").stdout)
        mine.settimeout(10)
        revived = mine.recv(100)

    assert (blocked["kind"], blocked["result"], blocked["everything"]) == ("BlockResult", "blocked", True)
    assert (blocked["kept"], blocked["warnings"]) == ([], [])
    assert (cut, revived[:5]) == (False, b"hello")
    assert state["result"] == "unblocked"
    assert state["dropped"]["in"] > 0
    with inside(host):
        assert read_block() is None
    assert json.loads(hostfwctl("unblock", "-o", "json").stdout)["result"] == "unchanged"


def test_what_is_applied_meanwhile_counts_afterwards(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """An apply works below the block, which stays; counters and policy are there when it goes."""
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")
    assert passes(lab, FLOWS[0])
    before = _allowed(lab["host"])
    hostfwctl("lockdown", "--all")
    (installation.config / "more.yaml").write_text(MORE)
    hostfwctl("apply")
    assert verdicts(lab, FLOWS[0]) == [Verdict.DROPPED]
    hostfwctl("unblock")

    assert _allowed(lab["host"]) == before > 0
    assert passes(lab, FLOWS[0])


def test_without_a_session_nobody_is_shut_out(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """It is refused, and nothing is blocked, since nobody could end it."""
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")

    said = hostfwctl("lockdown", check=False)

    assert said.returncode == 1
    assert "no ssh session was found" in said.stderr
    assert "`hostfwctl lockdown --all`" in said.stderr
    assert passes(lab, FLOWS[0])
    with inside(lab["host"]):
        assert read_block() is None


def test_a_block_for_a_time_ends_by_itself(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Without the service; a later block stays when the time of an earlier one is over."""
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")
    hostfwctl("lockdown", "--all", "--for", "6s")
    assert verdicts(lab, FLOWS[0]) == [Verdict.DROPPED]
    until = monotonic() + 20
    while not passes(lab, FLOWS[0]) and monotonic() < until:
        sleep(0.5)
    with inside(lab["host"]):
        assert read_block() is None

    hostfwctl("lockdown", "--all", "--for", "3s")
    earlier = _timer(installation)
    hostfwctl("lockdown", "--all")
    assert not _waits(earlier)
    sleep(6)
    assert verdicts(lab, FLOWS[0]) == [Verdict.DROPPED]
    assert json.loads(hostfwctl("unblock", "-o", "json").stdout)["result"] == "unblocked"


def test_no_timer_outlives_its_block(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """One that is ended by hand takes its timer along."""
    hostfwctl("lockdown", "--all", "--for", "1h")
    timer = _timer(installation)
    assert _waits(timer)
    hostfwctl("unblock")
    assert not _waits(timer)


def _timer(installation: Installation) -> str:
    record = load_block(installation.state)
    assert record is not None
    return record.timer


def _waits(timer: str) -> bool:
    """True if the process of a timer is there; no systemd runs in the laboratory."""
    kind, pid, name = timer.split(":")
    assert kind == "process"
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return False


def test_a_block_whose_time_passed_while_nothing_ran_ends_with_the_next_look(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """After a reboot no timer is left: whoever would restore it ends it, or has it end."""
    context = BlockContext(Directories(installation.config, installation.state, installation.run))
    hostfwctl("lockdown", "--all", "--for", "1h")
    record = load_block(installation.state)
    assert record is not None
    assert record.until is not None
    context.host.disarm(record.timer)
    timers: list[str] = []
    ends = record.until

    def arm(name: str, _after_s: float, _command: Sequence[str]) -> str:
        timers.append(name)
        return name

    another_boot = replace(context.host, boot_id=lambda: "another", arm=arm)
    with inside(lab["host"]):
        for _ in range(2):
            assert restore_block(replace(context, host=another_boot)) is False
        assert len(timers) == 1
        late = replace(another_boot, now=lambda: ends)
        assert restore_block(replace(context, host=late)) is True
        assert read_block() is None
    assert load_block(installation.state) is None


def test_forwarded_traffic_is_blocked_too(routed_lab: Lab, tmp_path: Path) -> None:
    """A router that is blocked routes nothing."""
    through = Flow("inner", "outer", TCP, 443, Family.V4)
    assert passes(routed_lab, through)
    run_hostfwctl(install(routed_lab["host"], tmp_path / "hostfw"), "lockdown", "--all")

    assert verdicts(routed_lab, through) == [Verdict.DROPPED]


@pytest.mark.usefixtures("sshd")
def test_a_flushed_block_comes_back_and_a_boot_has_its_own(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """After a boot who had a session may begin another, and nothing else is open."""
    host, peer = lab["host"], lab["peer"]
    context = BlockContext(Directories(installation.config, installation.state, installation.run))
    with session(peer) as mine:
        hostfwctl("lockdown")
        run(host, ["nft", "flush", "ruleset"])
        with inside(host):
            assert restore_block(context) is True
        assert answers(mine)
        assert verdicts(lab, FLOWS[0]) == [Verdict.DROPPED]
    run(host, ["nft", "flush", "ruleset"])
    run(host, ["nft", "-f", str(installation.state / "block.nft")])
    with session(peer) as again:
        assert answers(again)
    assert verdicts(lab, FLOWS[0]) == [Verdict.DROPPED]


def test_disabled_there_is_no_trace_in_the_kernel(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Neither tables nor a block nor a watchdog; other tables stay byte for byte, and it may be turned on again."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")
    (installation.config / "more.yaml").write_text(MORE)
    hostfwctl("apply", "--confirm-within", "1h")
    hostfwctl("lockdown", "--all")
    run(host, ["nft", "-f", "-"], text=FOREIGN)
    theirs = run(host, ["nft", "list", "table", "inet", "theirs"]).stdout
    timer = load_rollback_timer(installation.run)
    assert timer is not None
    assert hostfwctl("disable", check=False).returncode == 2

    said = json.loads(hostfwctl("disable", "--remove-rules", "-o", "json").stdout)

    assert run(host, ["nft", "list", "ruleset"]).stdout == theirs
    assert said["steps"] == [
        "the unconfirmed change is no longer on trial",
        "no boot loads a generation any more",
        "the block is taken away",
        "the tables ip hostfw and ip6 hostfw are removed",
    ]
    pid = int(timer.watchdog.split(":")[1])
    assert not Path(f"/proc/{pid}/cmdline").exists() or b"hostfw" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert hostfwctl("status", check=False).returncode == 4
    hostfwctl("rollback", "--to", str(said["number"]))
    assert passes(lab, FLOWS[0])


def _allowed(node: Namespace) -> int:
    """Packets that the policy's rules let in or out."""
    found = re.findall(r"counter \S*gnp\S* \{\s+packets (\d+)", counters(node))
    return sum(map(int, found))
