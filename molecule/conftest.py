"""Fixtures of all scenarios: hosts by name, packets between them, and Ansible as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import pytest
import testinfra
from testinfra.host import Host

NETNS = "hf-molecule"
SSH_CONFIG = "/run/hostfw-molecule/ssh_config"
TREE = Path(__file__).parents[1]
PYTHON = "/usr/bin/python3"

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
except OSError as error:
    sys.exit(f"{error}")
"""
_PATIENCE_S = 1.0


class Machines(NamedTuple):
    """The hosts of the scenario: those of its inventory, over ssh."""

    variables: Mapping[str, Mapping[str, object]]
    groups: Mapping[str, frozenset[str]]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.variables)

    def host(self, name: str) -> Host:
        """One of them, as testinfra sees it."""
        return testinfra.get_host(f"ssh://{self.address(name)}", ssh_config=SSH_CONFIG)

    def address(self, name: str) -> str:
        """The IPv4 address that it is reached at."""
        return str(self.variables[name]["ansible_host"])

    def addresses(self, name: str) -> list[str]:
        """All of its addresses."""
        found = self.variables[name]["hostfw_addresses"]
        assert isinstance(found, list)
        return [str(address) for address in found]


class Play(NamedTuple):
    """A finished playbook: its exit status, and all it said."""

    status: int
    text: str

    def changed(self, host: str) -> int:
        """The number of tasks that changed a host, as the recap counts."""
        return self._counted(host, "changed")

    def failed(self, host: str) -> int:
        """The number of tasks that failed on a host."""
        return self._counted(host, "failed")

    def _counted(self, host: str, what: str) -> int:
        line = next(line for line in self.text.partition("PLAY RECAP")[2].splitlines() if line.startswith(f"{host} "))
        return int(line.partition(f"{what}=")[2].split()[0])


@pytest.fixture(scope="session")
def scenario() -> Path:
    """The directory of the scenario."""
    return Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@pytest.fixture(scope="session")
def machines(scenario: Path) -> Machines:
    """The hosts of the scenario."""
    tool = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run([tool, "-i", scenario / "inventory", "--list"], check=True, capture_output=True, text=True)
    inventory = json.loads(done.stdout)
    groups = {
        name: frozenset(content["hosts"])
        for name, content in inventory.items()
        if isinstance(content, dict) and "hosts" in content
    }
    return Machines(inventory["_meta"]["hostvars"], groups)


@pytest.fixture
def connects() -> Callable[[Host | None, str, int], bool]:
    """A check for a TCP connection from a host, or from the controller, to an address and port."""
    return _connects


def _connects(source: Host | None, address: str, port: int) -> bool:
    arguments = (address, str(port), str(_PATIENCE_S))
    if source is None:
        argv = ["ip", "netns", "exec", NETNS, PYTHON, "-c", _CONNECT, *arguments]
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0
    return bool(source.run("python3 -c %s %s %s %s", _CONNECT, *arguments).rc == 0)


@pytest.fixture
def play(scenario: Path) -> Callable[..., Play]:
    """Run a playbook of the scenario, with further arguments, to its end."""
    return partial(_play, scenario)


def _play(scenario: Path, name: str, *arguments: str) -> Play:
    done = subprocess.run(
        command(scenario, name, arguments),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=scenario,
        env=environment(),
        timeout=300,
    )
    return Play(done.returncode, done.stdout)


def command(scenario: Path, name: str, arguments: Sequence[str] = ()) -> list[str]:
    """The command line of a playbook: a file of the scenario, or one of the collection."""
    playbook = name if "." in name else str(scenario / f"{name}.yml")
    return [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(scenario / "inventory"),
        playbook,
        *arguments,
    ]


def environment() -> dict[str, str]:
    """The environment that Molecule gave us, or a person, with the collection as it was installed for us."""
    return os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(Path(sys.executable).parents[1] / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": PYTHON,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PY_COLORS": "0",
    }


@pytest.fixture
def inside() -> Callable[..., str]:
    """Run a command in a host without its network, which a policy may have cut."""
    return _inside


def _inside(name: str, *argv: str) -> str:
    call = [PYTHON, "-m", "lab.hosts", "exec", name, "--", *argv]
    return subprocess.run(call, check=False, cwd=TREE, capture_output=True, text=True, timeout=60).stdout


def wait_until(holds: Callable[[], bool], within_s: float, every_s: float = 0.2) -> float:
    """Wait until something holds; gives the seconds that it took. Fails when it does not hold in time."""
    started = monotonic()
    while not holds():
        took_s = monotonic() - started
        assert took_s < within_s, f"still not so after {took_s:.1f} s"
        sleep(every_s)
    return monotonic() - started
