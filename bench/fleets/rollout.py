"""A rollout to simulated hosts: each host's time until it was confirmed, beside its deadline, and its CPU time.

    python3 -m bench.fleets.rollout [--hosts 2000] [--forks 25] [--seconds 2]

Hosts are directories of this machine: Ansible's connection is local, and a stand-in for hostfwctl waits as long as the
real one does. `make ansible` has to be run before. A host takes 1.1 s of the controller's processor time and, as it is
on the same machine, 2.4 s of its own: 2,000 take more than an hour on two processors, so `make bench` leaves this out.
`molecule/modules/test_simulated_fleet.py` does it with fewer hosts.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]
_STUB = _ROOT / "molecule/shared/stub_hostfwctl.py"
_PYTHON = "/usr/bin/python3"
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec: {selector: all(), ingress: [{action: Allow, protocol: TCP, destination: {ports: [443]}}]}
"""
_GROUPS = ("web", "application", "database", "cache", "queue")
# What a host's modules take is no work of the controller, where hosts are not simulated.
_INTERPRETER = """#!/bin/sh
{python} "$@"
status=$?
times >>{top}/times
exit $status
"""
_BATCH = re.compile(r"--confirm-within (\d+)s")


class Rollout(NamedTuple):
    """A rollout that ended: what it said, what it took, and for each host that kept it the time and the deadline.

    `modules` are runs of modules on hosts, each of which is a process there and a round trip.
    """

    status: int
    text: str
    took_s: float
    controller_s: float
    hosts_s: float
    modules: int
    kept: tuple[tuple[float, float], ...]
    """Seconds from the change to its confirmation, and the seconds that the host gave it."""


def simulate(hosts: int, forks: int, seconds: float, tools: Path, *arguments: str) -> Rollout:
    """Roll a first configuration out to hosts whose `hostfwctl apply` takes so many seconds."""
    with TemporaryDirectory(prefix="hostfw-rollout-") as name:
        top = Path(name)
        names = _lay_out(top, hosts, seconds)
        argv = [str(tools / "ansible-playbook"), "-i", str(top / "inventory.json"), "hostfw.hostfw.rollout"]
        variables = os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(top / "collections"),
            "ANSIBLE_FORKS": str(forks),
            "ANSIBLE_HOME": str(top / "ansible"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
        }
        started, before = perf_counter(), _cpu_s()
        done = subprocess.run(
            [*argv, "-e", f"hostfw_directory={top}/policies", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=top,
            env=variables,
        )
        took_s, cpu_s, hosts_s = perf_counter() - started, _cpu_s() - before, _times_s(top / "times")
        kept = [found for host in names for found in _kept(top / "hosts" / host / "log")]
        return Rollout(
            done.returncode, done.stdout, took_s, cpu_s - hosts_s, hosts_s, _modules(top / "times"), tuple(kept)
        )


def lines(hosts: int, forks: int, seconds: float) -> list[str]:
    """The figures in words; raises SystemExit where the rollout failed."""
    found = simulate(hosts, forks, seconds, _ROOT / ".venv-ansible/bin")
    if found.status != 0 or len(found.kept) != hosts:
        sys.exit(f"{found.text}\nthe rollout failed: {len(found.kept)} of {hosts} hosts kept it")
    slowest = max(found.kept, key=lambda one: one[0] / one[1])
    return [
        f"rollout to {hosts} simulated hosts with {forks} forks: {found.took_s:.0f} s",
        f"  controller  {found.controller_s / hosts:5.2f} s of CPU a host",
        f"  host        {found.hosts_s / hosts:5.2f} s of CPU each, in {found.modules / hosts:.1f} runs of modules",
        f"  slowest to be confirmed: {slowest[0]:.0f} s after its change, of {slowest[1]:.0f} s that it had",
    ]


def _lay_out(top: Path, count: int, seconds: float) -> list[str]:
    """The hosts, the policies and the inventory."""
    names = [f"host{number:05}" for number in range(count)]
    for name in names:
        state = top / "hosts" / name
        (state / "etc").mkdir(parents=True)
        (state / "seconds").write_text(str(seconds))
        (state / "hostfwctl").write_text(f'#!/bin/sh\nexec {_PYTHON} -SE {_STUB} {state} "$@"\n')
        (state / "hostfwctl").chmod(0o755)
    (top / "policies").mkdir()
    (top / "policies/web.yaml").write_text(_POLICY)
    (top / "interpreter").write_text(_INTERPRETER.format(python=_PYTHON, top=top))
    (top / "interpreter").chmod(0o755)
    (top / "collections/ansible_collections/hostfw").mkdir(parents=True)
    (top / "collections/ansible_collections/hostfw/hostfw").symlink_to(_ROOT / "ansible")
    (top / "inventory.json").write_text(json.dumps(_inventory(top, names)))
    return names


def _inventory(top: Path, names: list[str]) -> dict[str, object]:
    where = f"{top}/hosts/{{{{ inventory_hostname }}}}"
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": f"{top}/interpreter",
        "ansible_remote_tmp": f"{top}/ansible-tmp",
        "hostfw_install": False,
        "hostfw_service": False,
        "hostfw_confirm_console": True,
        "hostfw_controller_command": "/nonexistent",
        "hostfw_command": f"{where}/hostfwctl",
        "hostfw_config_dir": f"{where}/etc",
        "hostfw_staging_dir": f"{where}/staging",
        "hostfw_previous_dir": f"{where}/previous",
        "hostfw_lock_dir": f"{where}/lock",
    }
    hosts = {
        name: {"hostfw_addresses": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"]}
        for number, name in enumerate(names, 1)
    }
    children = {group: {"hosts": dict.fromkeys(names[place :: len(_GROUPS)])} for place, group in enumerate(_GROUPS)}
    return {"all": {"vars": shared, "hosts": hosts, "children": children}}


def _kept(log: Path) -> list[tuple[float, float]]:
    """The time that a host took to be confirmed, and had; nothing if it was not."""
    entries = [line.split(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []
    applied = [(float(at), text) for at, text in entries if text.startswith("applied ")]
    accepted = [float(at) for at, text in entries if text.startswith("accepted ")]
    if len(applied) != 1 or len(accepted) != 1:
        return []
    within = _BATCH.search(applied[0][1])
    return [(accepted[0] - applied[0][0], float(within[1]))] if within else []


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _times_s(path: Path) -> float:
    """The sum of what `times` of a shell wrote: minutes and seconds, of user and system; 0 where no module ran."""
    text = path.read_text() if path.exists() else ""
    return sum(int(minutes) * 60 + float(rest) for minutes, rest in re.findall(r"(\d+)m([\d.]+)s", text))


def _modules(path: Path) -> int:
    """The number of runs that `times` of a shell wrote of: two lines each."""
    return len(path.read_text().splitlines()) // 2 if path.exists() else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Simulate a rollout.")
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--forks", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=2.0, help="what `hostfwctl apply` takes (2)")
    options = parser.parse_args()
    for line in lines(options.hosts, options.forks, options.seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
