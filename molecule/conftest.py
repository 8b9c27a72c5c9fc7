"""Fixtures of all scenarios: hosts by name, packets between them, and Ansible as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
STUB = TREE / "molecule/shared/stub_hostfwctl.py"
COLLECTION = TREE / "ansible"
ROLE = """
- name: Protect the hosts
  hosts: all
  gather_facts: false
  roles:
    - role: hostfw.hostfw.hostfw
"""
POLICY = (
    "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\n"
    "spec: {{selector: all(), ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}]}}\n"
)

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
except OSError as error:
    sys.exit(f"{error}")
"""
_PATIENCE_S = 1.0
PLAY_PATIENCE_S = 1200
"""Seconds that a playbook may take: what is held is what hosts do by themselves, not how busy the controller is."""
_IN_NAMESPACE = """#!/bin/sh
exec ip netns exec {name} unshare --mount /bin/sh -c '
mount -t tmpfs tmpfs /run/systemd 2>/dev/null
exec env PYTHONPATH={tree} {python} -m hostfw.cli --state-dir {state}/state --run-dir {state}/run "$@"' hostfwctl "$@"
"""
"""The hostfwctl of a host that is a network namespace; systemd of this machine is none of its business."""


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
        timeout=PLAY_PATIENCE_S,
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


@dataclass
class Fleet:
    """Hosts by name, each with its state below `top`, and the playbooks that are run on them."""

    top: Path
    variables: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    shared: dict[str, object] = field(default_factory=dict)
    playbook: str = ""
    namespaces: list[str] = field(default_factory=list)
    tools: Path = Path(os.environ.get("ANSIBLE_BIN", str(Path(sys.executable).parent)))

    def add(self, *names: str, **variables: object) -> None:
        """Add hosts."""
        for name in names:
            state = self.state(name)
            (state / "etc").mkdir(parents=True)
            command = state / "hostfwctl"
            command.write_text(f'#!/bin/sh\nexec {PYTHON} -SE {STUB} {state} "$@"\n')
            command.chmod(0o755)
            self.variables[name] = {"hostfw_addresses": [f"192.0.2.{len(self.variables) % 250 + 1}"], **variables}

    def add_namespace(self, name: str, **variables: object) -> None:
        """Add a host that is a network namespace, with the real hostfwctl; it is deleted when the test ends."""
        self.add(name, hostfw_interface="eth0", **variables)
        self.namespaces.append(name)
        for argv in (
            ["netns", "add", name],
            ["-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "wire"],
            ["-n", name, "address", "add", "192.0.2.200/24", "dev", "eth0"],
            *(["-n", name, "link", "set", link, "up"] for link in ("lo", "eth0", "wire")),
        ):
            subprocess.run(["ip", *argv], check=True)
        state = self.state(name)
        for folder in ("state", "run"):
            (state / folder).mkdir()
        (state / "hostfwctl").write_text(_IN_NAMESPACE.format(name=name, tree=TREE, python=PYTHON, state=state))

    def tables(self, name: str) -> list[str]:
        """The tables of a host that is a network namespace."""
        argv = ["ip", "netns", "exec", name, "nft", "list", "tables"]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()

    def state(self, name: str) -> Path:
        """The directory of a host."""
        return self.top / "hosts" / name

    def etc(self, name: str) -> dict[str, str]:
        """The configuration directory of a host: path to text."""
        folder = self.state(name) / "etc"
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def log(self, name: str) -> list[str]:
        """The changes of the hostfwctl of a host, in order."""
        path = self.state(name) / "log"
        return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []

    def policies(self, *names: str, folder: str = "policies") -> Path:
        """A directory on the controller with these policies."""
        path = self.top / folder
        path.mkdir(exist_ok=True)
        for old in path.glob("*.yaml"):
            old.unlink()
        for port, name in enumerate(names, 1000):
            (path / f"{name}.yaml").write_text(POLICY.format(name=name, port=port))
        return path

    def inventory(self) -> Path:
        """The inventory as a file."""
        where = "{{ hosts_top }}/{{ inventory_hostname }}"
        shared: Mapping[str, object] = {
            "hosts_top": str(self.top / "hosts"),
            "ansible_connection": "local",
            "ansible_remote_tmp": f"{self.top}/ansible-tmp",
            "hostfw_install": False,
            "hostfw_service": False,
            "hostfw_confirm_console": True,
            "hostfw_controller_command": "/nonexistent",
            "hostfw_command": f"{where}/hostfwctl",
            "hostfw_config_dir": f"{where}/etc",
            "hostfw_staging_dir": f"{where}/staging",
            "hostfw_previous_dir": f"{where}/previous",
            "hostfw_lock_dir": f"{where}/lock",
            **self.shared,
        }
        children = {name: {"hosts": {host: {} for host in hosts}} for name, hosts in self.groups.items()}
        path = self.top / "inventory.json"
        path.write_text(json.dumps({"all": {"vars": shared, "hosts": self.variables, "children": children}}))
        return path

    def start(self, playbook: str, *arguments: str, forks: int = 5, **variables: str) -> subprocess.Popen[str]:
        """Start a playbook: `role`, or one of the collection."""
        path = self.top / "role.yml"
        path.write_text(self.playbook or ROLE)
        what = str(path) if playbook == "role" else f"hostfw.hostfw.{playbook}"
        return subprocess.Popen(
            [str(self.tools / "ansible-playbook"), "-i", str(self.inventory()), what, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.top,
            env=environment()
            | {
                "ANSIBLE_COLLECTIONS_PATH": str(self.top / "collections"),
                "ANSIBLE_FORKS": str(forks),
                "ANSIBLE_HOME": str(self.top / "ansible"),
                "ANSIBLE_PIPELINING": "1",
            }
            | variables,
        )

    def run(self, playbook: str, *arguments: str, forks: int = 5, **variables: str) -> Play:
        """Run a playbook to its end."""
        running = self.start(playbook, *arguments, forks=forks, **variables)
        said, _ = running.communicate(timeout=PLAY_PATIENCE_S)
        return Play(running.returncode, said)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without hosts."""
    (tmp_path / "hosts").mkdir()
    (tmp_path / "collections/ansible_collections/hostfw").mkdir(parents=True)
    (tmp_path / "collections/ansible_collections/hostfw/hostfw").symlink_to(COLLECTION)
    found = Fleet(tmp_path)
    yield found
    for name in found.namespaces:
        subprocess.run(["ip", "netns", "delete", name], check=True)
