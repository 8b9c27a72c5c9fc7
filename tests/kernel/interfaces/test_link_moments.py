"""The moments around a change of links: an interface that is renamed or put into a bridge, and who knocks meanwhile."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest

from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.load import crowding
from lab.namespace import Namespace, process, run
from lab.service import service
from tests.kernel.interfaces.test_governance import _ADDRESSES as ADDRESSES
from tests.kernel.interfaces.test_governance import _ENSLAVE as ENSLAVE
from tests.kernel.interfaces.test_governance import _POLICY as POLICY
from tests.kernel.interfaces.test_governance import _RENAME as RENAME
from tests.kernel.interfaces.test_governance import EXPECTED, holds, passes, settled, told

_KNOCKER = Path(__file__).parents[2] / "system" / "knocker.py"
_RENAMES = {"down and up": (*RENAME, *(a.format(dev="ens3") for a in ADDRESSES[1:])), "live": (RENAME[1],)}
MASTER_S = 0.1
"""Time limit for the policy of a port that has just been put into a bridge; it takes some 5 ms."""


@pytest.fixture(name="place")
def _place(routed_lab: Lab, tmp_path: Path) -> tuple[Lab, Installation]:
    return routed_lab, install(routed_lab["host"], tmp_path / "hostfw")


@dataclass(slots=True)
class Knocks:
    """The number of denied attempts, and the times at which packets got through, in seconds after `began`."""

    began: float
    sent: int = 0
    through: list[float] = field(default_factory=list)


@contextmanager
def knocking(node: Namespace) -> Iterator[Knocks]:
    """Knock at a port that the policy denies, every millisecond for the length of the block, over TCP and UDP."""
    with process(node, [sys.executable, str(_KNOCKER), "25", "192.0.2.2"], stdin=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "knocking\n"
        knocks = Knocks(monotonic())
        yield knocks
        told = json.loads(started.communicate("", 20)[0])
        knocks.sent, knocks.through = told["sent"], [at - knocks.began for _, at in told["through"]]


def batch(lab: Lab, commands: tuple[str, ...]) -> None:
    """Let iproute2 do all of it at once, on the host."""
    run(lab["host"], ["ip", "-batch", "-"], text="".join(f"{command}\n" for command in commands))


@pytest.mark.parametrize("how", _RENAMES)
def test_nothing_passes_between_a_rename_and_the_answer(
    place: tuple[Lab, Installation], tmp_path: Path, how: str
) -> None:
    """Neither out of the host nor through it, from before the rename until after rules are compiled for the name."""
    lab, host = place
    (host.config / "policy.yaml").write_text(POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    with service(host, tmp_path / "log") as running, knocking(lab["host"]) as out, knocking(lab["inner"]) as forwarded:
        batch(lab, _RENAMES[how])
        running.wait_for(told("no HostEndpoint claims interface ens3"))
        settled(running, host, "ens3")

    assert out.sent > 100
    assert forwarded.sent > 100
    assert (out.through, forwarded.through) == ([], [])
    assert holds(lab) == EXPECTED


def test_a_bridge_has_the_policy_of_its_port_at_once(place: tuple[Lab, Installation], tmp_path: Path) -> None:
    """The kernel tells of the port only once it is one: what passes until then is counted in milliseconds."""
    lab, host = place
    (host.config / "policy.yaml").write_text(POLICY.format(claim="interfaceName: wan0"))
    hostfwctl(host, "apply")
    with service(host, tmp_path / "log") as running, knocking(lab["host"]) as out, knocking(lab["inner"]) as forwarded:
        batch(lab, (*ENSLAVE, *(a.format(dev="br1") for a in ADDRESSES)))
        running.wait_for(told("no HostEndpoint claims interface br1"))
        settled(running, host, "br1")

    for knocks in (out, forwarded):
        assert knocks.sent > 100
        span = knocks.through[-1] - knocks.through[0] if knocks.through else 0
        # A machine with more to do than it has processors for takes its time.
        assert span <= MASTER_S * crowding(), knocks.through


def test_a_rename_without_the_service_changes_nothing(place: tuple[Lab, Installation], tmp_path: Path) -> None:
    """The rules that a service leaves behind know the interface by its index."""
    lab, host = place
    (host.config / "policy.yaml").write_text(POLICY.format(claim="interfaceName: wan0"))
    with service(host, tmp_path / "log") as running:
        hostfwctl(host, "apply")
        running.process.send_signal(signal.SIGKILL)
    with knocking(lab["host"]) as out:
        batch(lab, _RENAMES["down and up"])
        sleep(0.3)

    assert out.through == []
    assert holds(lab) == EXPECTED


def test_an_interface_that_is_let_go_is_not_known_by_its_index(place: tuple[Lab, Installation]) -> None:
    """Neither with a new name nor with the old one: `--accept-loss` means it."""
    lab, host = place
    endpoint = "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: inside}\n"
    policy = f"{POLICY.format(claim='interfaceName: wan0')}{endpoint}spec: {{interfaceName: lan0}}\n"
    (host.config / "policy.yaml").write_text(policy)
    hostfwctl(host, "apply")
    (host.config / "policy.yaml").write_text(policy.replace("wan0", "wan9"))
    hostfwctl(host, "apply", "--accept-loss")

    assert passes(lab, "host", "outer", 25)
    batch(lab, _RENAMES["live"])
    assert passes(lab, "host", "outer", 25)
