"""The probes themselves: what they say of rulesets whose verdict is plain."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hostfw.model.values import FAMILIES, ICMP, TCP, UDP
from lab.laboratory import Lab
from lab.namespace import LabError, inside, run
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, control, probe

INWARD = tuple(Flow("peer", "host", p, n, f) for p, n in ((TCP, 80), (UDP, 53), (ICMP, None)) for f in FAMILIES)
OUTWARD = tuple(Flow("host", "peer", p, n, f) for p, n in ((TCP, 80), (UDP, 53), (ICMP, None)) for f in FAMILIES)

_LOOPBACK = "meta oif lo accept\n"  # or a reject on the way out would reject its own answer
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
_REJECT = "meta l4proto tcp reject with tcp reset\nreject with icmpx type admin-prohibited\n"
_D, _R, _O, _A = Verdict.DROPPED, Verdict.REJECTED, Verdict.ONE_WAY, Verdict.ALLOWED

CASES = [
    ("nothing in the way", "", INWARD + OUTWARD, (_A,) * 12),
    ("a drop on the way in", f"type filter hook input priority 0\n{_NEIGHBOURS}drop\n", INWARD, (_D,) * 6),
    (
        "a drop on the way out",
        f"type filter hook output priority 0\n{_LOOPBACK}{_NEIGHBOURS}drop\n",
        OUTWARD,
        (_D,) * 6,
    ),
    ("a reject on the way in", f"type filter hook input priority 0\n{_NEIGHBOURS}{_REJECT}", INWARD, (_R,) * 6),
    (
        "a reject on the way out",
        f"type filter hook output priority 0\n{_LOOPBACK}{_NEIGHBOURS}{_REJECT}",
        OUTWARD,
        (_R,) * 6,
    ),
    (
        "a datagram that arrives and an answer that does not",
        f"type filter hook output priority 0\n{_LOOPBACK}{_NEIGHBOURS}drop\n",
        INWARD,
        (_D, _D, _O, _O, _D, _D),
    ),
]


@pytest.mark.parametrize(("ruleset", "flows", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_probe_sees_what_the_ruleset_does(
    lab: Lab, ruleset: str, flows: tuple[Flow, ...], expected: tuple[Verdict, ...]
) -> None:
    """Drops, rejects and lost answers are told apart, for each protocol and family."""
    if ruleset:
        run(lab["host"], ["nft", "-f", "-"], text=f"table inet t {{\nchain c {{\n{ruleset}}}\n}}\n")

    seen = tuple(outcome.verdict for outcome in probe(lab, flows, DENY_PATIENCE_S))

    assert seen == expected


def test_a_flow_that_fails_without_a_ruleset_is_no_verdict(lab: Lab) -> None:
    """The control names the flow that the laboratory itself cannot carry."""
    run(lab["host"], ["ip", "link", "set", "eth0", "down"])

    with pytest.raises(LabError, match=r"without any ruleset these do not pass:\n  peer -> host TCP 80 over IPv4"):
        control(lab, INWARD[:1], patience_s=0.1)


def test_a_flow_without_a_route_is_no_verdict(lab: Lab) -> None:
    """A network that cannot be reached is an error of the laboratory, not a denial."""
    run(lab["peer"], ["ip", "address", "flush", "dev", "eth0"])

    with pytest.raises(LabError, match="peer -> host TCP 80 over IPv4: Network is unreachable"):
        probe(lab, INWARD[:1], DENY_PATIENCE_S)


def test_a_killed_laboratory_leaves_no_namespace_and_no_process() -> None:
    """Even kill -9 leaves neither the namespace nor a process that was started in it."""
    script = (
        "import os, sys, time\n"
        "from lab.namespace import namespace, process\n"
        "with namespace('doomed') as node, process(node, ['sleep', '600']) as sleeper:\n"
        "    print(os.fstat(node.network).st_ino, sleeper.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout is not None
        namespace, sleeper = doomed.stdout.readline().split()
        doomed.send_signal(signal.SIGKILL)

    assert _soon(lambda: not _lives(int(sleeper)))
    assert _soon(lambda: int(namespace) not in map(_namespace_of, _processes()))


def test_a_process_and_its_children_end_with_the_block(lab: Lab) -> None:
    """A command that outstays its time is ended with everything that it started."""
    with pytest.raises(LabError, match=r"took more than 0\.3 s"):
        run(lab["host"], ["sh", "-c", "sleep 601 & sleep 602"], timeout_s=0.3)

    with inside(lab["host"]):
        here = Path("/proc/thread-self/ns/net").stat().st_ino
    assert _soon(lambda: all(_namespace_of(pid) != here for pid in _processes() if pid != os.getpid()))


def _soon(condition: Callable[[], bool]) -> bool:
    """True if the condition comes true within five seconds: the killed take a moment to go."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _lives(pid: int) -> bool:
    return pid in _processes()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _namespace_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None
