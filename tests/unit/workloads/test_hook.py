"""The hook of libvirt among the examples: what a user writes is as good as a reader."""

import os
import subprocess
import sys
from pathlib import Path

from hostfw.host.workloads.reader import FOLDER, WorkloadReader
from hostfw.model.host.facts import Running

HOOK = Path(__file__).parents[3] / "examples/libvirt-hook/qemu"
GUEST = """\
<domain type='kvm' id='1'><name>DB_1</name><devices>
<interface type='bridge'><mac address='52:54:00:aa:00:01'/><target dev='vnet0'/>
<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.7'/><parameter name='IPV6' value='2001:db8::7'/>
</filterref></interface>
<interface type='bridge'><target dev='vnet1'/></interface>
</devices></domain>
"""


def _happens(folder: Path, event: str) -> Running:
    done = subprocess.run(
        [sys.executable, "-W", "error", HOOK, "DB_1", event, "begin", "-"],
        input=GUEST,
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "WORKLOADS": str(folder)},
    )
    assert done.stderr == done.stdout == ""
    return WorkloadReader(folder.parent).read()


def test_a_guest_is_named_while_it_runs(tmp_path: Path) -> None:
    """Its card with an address; the other one stays closed."""
    folder = tmp_path / FOLDER
    folder.mkdir()

    assert _happens(folder, "prepare") == Running()
    running = _happens(folder, "started")
    assert running.problems == ()
    (one,) = running.workloads
    assert (one.metadata.full_name, one.interface_name) == ("vms/db-1-0", "vnet0")
    assert str(one.mac) == "52:54:00:aa:00:01", "behind a bridge nothing counts without it"
    assert [str(cidr) for cidr in one.networks] == ["192.0.2.7/32", "2001:db8::7/128"]
    assert dict(one.metadata.labels) == {"app": "DB_1"}
    assert [path.name for path in folder.iterdir()] == ["hook.DB_1.0.yaml"]
    assert _happens(folder, "stopped") == running
    assert _happens(folder, "release") == Running()
    assert list(folder.iterdir()) == []


def test_the_hook_is_short() -> None:
    """Some lines are all that a reader needs."""
    code = [line for line in HOOK.read_text().splitlines() if line and not line.startswith("#")]
    assert len(code) <= 16
