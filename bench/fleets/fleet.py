"""A fleet of 2,000 hosts: what the controller takes for its directory, and what one host takes to enforce it.

2,000 hosts with five interfaces each are 10,000 HostEndpoints in the inventory, and 1,000 policies select among them.
The controller renders with Ansible, as the role does it, where `make ansible` has installed it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.measuring.measure import command_s

HOSTS = 2000
INTERFACES = 5
POLICIES = 1000
CONTROLLER_LIMIT_S = 120
APPLY_LIMIT_S = 10

_ROOT = Path(__file__).parents[2]
_ANSIBLE = _ROOT / ".venv-ansible"
_ROLES = ("web", "application", "database", "cache", "queue", "mail", "storage", "monitoring", "build", "gateway")
_POLICIES_A_FILE = 10

_PLAYBOOK = """\
- name: Render the directory of the fleet, which is done once for a batch, whatever its size
  hosts: all[0]
  gather_facts: false
  vars:
    ansible_connection: local
    hostfw_workspace: "{{ lookup('ansible.builtin.env', 'BENCH_WORKSPACE') }}"
    hostfw_directory: "{{ lookup('ansible.builtin.env', 'BENCH_DIRECTORY') }}"
    hostfw_controller_command: "{{ lookup('ansible.builtin.env', 'BENCH_HOSTFWCTL') }}"
  tasks:
    - name: Render
      ansible.builtin.import_role:
        name: hostfw.hostfw.hostfw
        tasks_from: render
"""

_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: service-{number}}}
spec:
  order: {number}
  selector: role == '{role}' && site == 'site{site}'
  types: [Ingress, Egress]
  ingress:
    - action: Allow
      protocol: TCP
      source: {{selector: role == '{client}' && site == 'site{site}'}}
      destination: {{ports: [{port}]}}
  egress:
    - action: Allow
      protocol: TCP
      destination: {{selector: role == '{server}' && site == 'site{site}', ports: [{port}]}}
---
"""


def lines() -> Iterator[str]:
    """The figures, line by line as they are measured."""
    yield f"a fleet of {HOSTS} hosts, {HOSTS * INTERFACES} HostEndpoints, {POLICIES} policies"
    with TemporaryDirectory(prefix="hostfw-bench-") as folder:
        room = Path(folder)
        _write_policies(room / "policies")
        etc = room / "work" / "etc"
        if (_ANSIBLE / "stamp").exists():
            yield _row("render and validate, Ansible", _render_s(room, etc), CONTROLLER_LIMIT_S)
        else:
            yield "  render, Ansible             left out: `make ansible` installs it"
            _write_endpoints(etc)
        (etc / "hostfw.yaml").write_text("node: host0000\n")
        yield _row("validate", _hostfwctl_s(["validate", "-f", str(etc)]), CONTROLLER_LIMIT_S)
        yield _row("apply, from scratch", _apply_s(room, etc), APPLY_LIMIT_S)
        yield _row("apply, nothing new", _apply_again_s(room, etc), APPLY_LIMIT_S)


def _row(title: str, took_s: float, limit_s: float) -> str:
    return f"  {title:28}{took_s:10.2f} s   of {limit_s} s" + ("" if took_s <= limit_s else "   TOO LONG")


def _write_policies(folder: Path) -> None:
    folder.mkdir()
    for start in range(0, POLICIES, _POLICIES_A_FILE):
        texts = [_policy(number) for number in range(start, start + _POLICIES_A_FILE)]
        (folder / f"{start:05}.yaml").write_text("".join(texts))


def _policy(number: int) -> str:
    count = len(_ROLES)
    return _POLICY.format(
        number=number,
        role=_ROLES[number % count],
        client=_ROLES[(number + 1) % count],
        server=_ROLES[(number + 3) % count],
        site=number // count % 20,
        port=1024 + number,
    )


def _hosts() -> dict[str, dict[str, object]]:
    """The inventory: every host with its labels, and five interfaces with an address of each family."""
    found: dict[str, dict[str, object]] = {}
    for number in range(HOSTS):
        endpoints = [
            {
                "interface": f"eth{place}",
                "addresses": [f"10.{place}.{number // 250}.{number % 250 + 1}", f"2001:db8:{place}::{number + 1:x}"],
            }
            for place in range(INTERFACES)
        ]
        labels = {"role": _ROLES[number % len(_ROLES)], "site": f"site{number // len(_ROLES) % 20}"}
        found[f"host{number:04}"] = {"hostfw_labels": labels, "hostfw_endpoints": endpoints}
    return found


def _render_s(room: Path, etc: Path) -> float:
    (room / "inventory.json").write_text(json.dumps({"all": {"hosts": _hosts()}}))
    (room / "render.yml").write_text(_PLAYBOOK)
    hostfwctl = room / "hostfwctl"
    hostfwctl.write_text(f'#!/bin/sh\nPYTHONPATH={_ROOT} exec {sys.executable} -m hostfw.cli "$@"\n')
    hostfwctl.chmod(0o755)
    etc.parent.mkdir()
    collections = room / "collections"
    galaxy = [str(_ANSIBLE / "bin/ansible-galaxy"), "collection", "install", "--force", str(_ROOT / "ansible")]
    environment = os.environ | {
        "PATH": f"{_ANSIBLE / 'bin'}:{os.environ['PATH']}",
        "HOME": str(room),
        "ANSIBLE_HOME": str(room / ".ansible"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "BENCH_WORKSPACE": str(etc),
        "BENCH_DIRECTORY": str(room / "policies"),
        "BENCH_HOSTFWCTL": str(hostfwctl),
    }
    subprocess.run([*galaxy, "--collections-path", str(collections)], check=True, capture_output=True, env=environment)
    playbook = [str(_ANSIBLE / "bin/ansible-playbook"), f"--inventory={room}/inventory.json", str(room / "render.yml")]
    started = perf_counter()
    done = subprocess.run(playbook, check=False, capture_output=True, text=True, env=environment)
    took_s = perf_counter() - started
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return took_s


def _write_endpoints(etc: Path) -> None:
    """Write the files that Ansible would have rendered, by the same code."""
    etc.mkdir(parents=True)
    for policies in (etc.parents[1] / "policies").iterdir():
        (etc / policies.name).write_text(policies.read_text())
    sys.path.insert(0, str(_ROOT / "ansible/plugins/module_utils"))
    from inventory import host_endpoints, manifests  # type: ignore[import-not-found]

    hosts = _hosts()
    (etc / "inventory-endpoints.yaml").write_text(manifests(host_endpoints(list(hosts), hosts)))


def _hostfwctl_s(arguments: list[str]) -> float:
    return command_s([sys.executable, "-m", "hostfw.cli", *arguments])


def _apply_s(room: Path, etc: Path) -> float:
    """One host's own apply: it has the five interfaces, and no ruleset."""
    return _in_namespace_s(room, etc, again=False)


def _apply_again_s(room: Path, etc: Path) -> float:
    return _in_namespace_s(room, etc, again=True)


def _in_namespace_s(room: Path, etc: Path, *, again: bool) -> float:
    """Seconds of the last `apply` of one or two, in a network namespace that ends with it."""
    links = "; ".join(
        f"ip link add eth{place} type veth peer name peer{place}; ip link set eth{place} up"
        for place in range(INTERFACES)
    )
    state = room / f"state-{again}"
    apply = f"{sys.executable} -m hostfw.cli --state-dir {state} --run-dir {state}/run --quiet apply -f {etc}"
    timed = f"started=$(date +%s%N); {apply}; echo $(($(date +%s%N) - started))"
    script = f"set -e; ip link set lo up; {links}; " + (f"{apply}; " if again else "") + timed
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return int(done.stdout.split()[-1]) / 1e9
