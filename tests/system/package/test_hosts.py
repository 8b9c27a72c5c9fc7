"""The hosts of the tests themselves: what they keep, what they lose, and that nothing is left of them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.machine import TREES, sweep
from tests.system.street import CLOSED, Street, connects, eventually

_STAND = """
import sys, time
from lab.hosts.host import debian
from lab.hosts.image import release
with debian(release(sys.argv[1]), "victim") as host:
    print(host.name, host.leader, flush=True)
    time.sleep(60)
"""
ROOT = Path(__file__).parents[3]


def test_a_restart_keeps_the_disk_and_loses_the_ruleset(bare_host: Host, street: Street) -> None:
    """Written files stay after any kind of stop, the kernel's content goes; the journal knows every boot."""
    bare_host.run(["nft", "add", "table", "ip", "trial"])
    bare_host.write("/etc/kept", "kept\n", 0o600)
    boots = len(json.loads(bare_host.run(["journalctl", "--list-boots", "-o", "json"]).stdout))

    bare_host.reboot()
    assert bare_host.run(["nft", "list", "tables"]).stdout == ""
    bare_host.cut_power()
    bare_host.start()

    assert bare_host.read("/etc/kept") == "kept\n"
    assert connects(street.peer, CLOSED)
    after = json.loads(bare_host.run(["journalctl", "--list-boots", "-o", "json"]).stdout)
    assert len(after) == boots + 2


def test_a_host_that_is_off_is_a_disk(bare_seed: Host, release: Release) -> None:
    """Commands and files work on a host that is off, and another one may begin with what it has."""
    with debian(release, "first", like=bare_seed, on=False) as first:
        first.write("/etc/one", "1\n")
        with debian(release, "second", like=first) as second:
            second.write("/etc/one", "2\n")
            assert second.read("/etc/one") == "2\n"
            assert second.run(["cat", "/etc/hostname"]).stdout == f"{second.name}\n"
        assert first.read("/etc/one") == "1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_of_a_host(release: Release, number: signal.Signals) -> None:
    """However the process ends that started it, the host ends; its directory at the latest with the next one."""
    argv = [sys.executable, "-c", _STAND, release.number]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as started:
        assert started.stdout is not None
        name, leader = started.stdout.readline().split()
        assert Path("/proc", leader).exists()
        started.send_signal(number)
        started.wait(30)

    assert eventually(lambda: not _lives(leader), 5) is not None
    sweep()

    assert not (TREES / name).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/hostfw-hosts/{name}"))


def test_hosts_stand_without_a_process_of_ours(release: Release) -> None:
    """`python3 -m lab.hosts` puts a host up, runs commands in it, restarts it and takes it down."""
    name, netns = f"h{os.getpid()}-{release.number}", f"hf-test-{os.getpid()}"
    up = json.loads(
        _hosts("up", name, "--release", release.number, "--netns", netns, "--address", "10.78.0.9/24").stdout
    )
    try:
        assert up["addresses"] == ["10.78.0.9/24"]
        assert _hosts("exec", name, "--", "hostname").stdout == f"{name}\n"
        assert _hosts("exec", name, "--", "false", check=False).returncode == 1
        again = json.loads(_hosts("restart", name).stdout)
        assert again["leader"] not in (None, up["leader"])
        inside = ["ip", "netns", "exec", netns, sys.executable, "-c"]
        reach = "import socket; socket.create_connection(('10.78.0.9', 22), 5)"
        subprocess.run([*inside, reach], check=True)
    finally:
        _hosts("down", name)

    assert name not in [host["name"] for host in json.loads(_hosts("list").stdout)]
    assert not Path("/run/netns", netns).exists()
    assert not (TREES / name).exists()


def _lives(pid: str) -> bool:
    """True if a process is neither gone nor a zombie, which a machine without an init keeps."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _hosts(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "lab.hosts", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=check, cwd=ROOT)
