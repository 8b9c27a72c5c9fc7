"""Disks of the run directory and of the state that are full, have no room for names, or are read-only.

Whatever a verb says, and the status that it ends with, is what is in force and what is saved. The service goes on, is
in trouble for as long as something is not written, and is whole once there is room.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from subprocess import CompletedProcess, Popen
from time import monotonic, sleep

import pytest
from _pytest.mark import ParameterSet

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process, run
from lab.service import command
from tests.kernel.drift.test_drift import structure
from tests.kernel.packets.connections import admits
from tests.kernel.web_policy import two_endpoints

_PATIENCE_S = 30
_MOUNT = 'mount -t tmpfs -o size={size},nr_inodes={names} tmpfs "$1"'
_SIZES = {"run": ("64k", 64), "state": ("400k", 128)}
_FILL = {
    "full": 'while head -c 4096 /dev/zero >>"$1/filler"; do :; done 2>/dev/null; true',
    "no names": 'n=0; while touch "$1/filler$n"; do n=$((n + 1)); done 2>/dev/null; true',
    "read-only": 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"',
}
_FREE = {
    "full": 'rm "$1/filler"',
    "no names": 'rm "$1"/filler*',
    "read-only": 'umount "$1"',
}
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
  - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A host whose run directory or state is a small disk, in the mount namespace of a process."""

    installation: Installation
    directory: Path
    holder: "Popen[str]"

    def sh(self, script: str) -> None:
        """Run shell commands there, with the directory as $1."""
        self._run(["sh", "-c", script, "sh", str(self.directory)], check=True)

    def hostfwctl(self, *arguments: str) -> "CompletedProcess[str]":
        """Run a verb there."""
        return self._run([*self.installation.arguments, *arguments], check=False)

    def configure(self, port: int) -> None:
        """Have a port open by policy."""
        (self.installation.config / "policy.yaml").write_text(two_endpoints("later0") + _POLICY.format(port=port))

    def status(self) -> dict[str, object]:
        """The output of status, as data."""
        found: dict[str, object] = json.loads(self.hostfwctl("status", "-o", "json").stdout)
        return found

    def trouble(self) -> str:
        """The troubles that the service tells."""
        service = self.status()["service"]
        return str(service["trouble"]) if isinstance(service, dict) else "no service"

    def _run(self, arguments: list[str], *, check: bool) -> "CompletedProcess[str]":
        entered = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *arguments]
        return run(self.installation.node, entered, environment=environment(), check=check)


@contextmanager
def _place(installation: Installation, which: str, *then: str) -> Iterator[Place]:
    directory = installation.run if which == "run" else installation.state
    size, names = _SIZES[which]
    script = f'{_MOUNT.format(size=size, names=names)} && echo ready && shift && exec "$@"'
    arguments = ["unshare", "--mount", "sh", "-c", script, "sh", str(directory), *(then or ("sleep", "600"))]
    with process(installation.node, arguments, environment=environment()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield Place(installation, directory, holder)


def _until(holds: object, said: object = "") -> None:
    assert callable(holds)
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline, said() if callable(said) else said
        sleep(0.1)


def _disks(*always: tuple[str, str]) -> list[ParameterSet]:
    """Each disk in each way of being of no use; all but those that are `always` tried take --soak."""
    return [
        pytest.param(*one, marks=() if one in always else pytest.mark.soak, id="-".join(one))
        for one in product(_SIZES, _FILL)
    ]


@pytest.mark.parametrize(("which", "how"), _disks(("state", "full"), ("run", "full"), ("run", "read-only")))
def test_what_verbs_say_is_so(lab: Lab, installation: Installation, which: str, how: str) -> None:
    """Without a service: the kernel, the next boot and the words agree."""
    with _place(installation, which) as place:
        place.configure(80)
        assert place.hostfwctl("apply").returncode == 0
        boot = place.sh if which == "state" else None
        before = structure(lab["host"])
        place.sh(_FILL[how])
        for verb in (["status"], ["diff"], ["rules"], ["counters"], ["history"]):
            assert place.hostfwctl(*verb).returncode == 0, verb
        assert structure(lab["host"]) == before
        assert boot is None or place.hostfwctl("doctor").returncode == 1

        place.configure(81)
        applied = place.hostfwctl("apply", "--accept-loss")
        said = f"{applied.returncode}: {applied.stdout}{applied.stderr}"
        is_new = admits(lab, 81)
        assert is_new is not admits(lab, 80), said
        assert (applied.returncode == 0) is (is_new and which == "run"), said
        if applied.returncode:
            assert ("could not be saved" in said and "after a reboot an earlier" in said) is is_new, said
            assert ("unchanged" in said) is not is_new, said
        status = place.status()
        assert status["inForce"] is True
        # Where a record can be neither written nor removed, that of before tells of chains that are not there any more.
        assert status["drift"] == [] or (which, how) == ("run", "read-only"), said
        if which == "state" and is_new:
            assert status["saved"] is False
            assert place.hostfwctl("doctor").returncode == 1

        for words, passes in ((("lockdown", "--all"), False), (("unblock",), True)):
            done = place.hostfwctl(*words)
            said = f"{words[0]} {done.returncode}: {done.stdout}{done.stderr}"
            assert done.returncode in (0, 1), said
            if done.returncode == 0:
                assert admits(lab, 81) is (passes and is_new), said
            else:
                assert "could not be saved" in said or "cannot be" in said or "could not be removed" in said, said

        place.sh(_FREE[how])
        place.hostfwctl("unblock")
        assert place.hostfwctl("apply", "--accept-loss").returncode == 0
        assert place.status()["saved"] is True
        assert (admits(lab, 80), admits(lab, 81)) == (False, True)
        assert place.hostfwctl("status").returncode == 0


@pytest.mark.parametrize(("which", "how"), _disks(("state", "full"), ("run", "no names")))
def test_the_service_goes_on_and_is_whole_once_there_is_room(
    lab: Lab, installation: Installation, which: str, how: str, tmp_path: Path
) -> None:
    """It repairs, follows interfaces and reloads; what is not written is trouble until it is."""
    host = lab["host"]
    log = tmp_path / "log"
    with _place(installation, which, "sh", "-c", f'exec "$@" 2>>{log}', "sh", *command(installation)) as place:
        place.configure(80)
        _until(lambda: place.hostfwctl("apply").returncode == 0)
        _until(lambda: place.trouble() == "")
        before = structure(host)
        place.sh(_FILL[how])

        run(host, ["nft", "flush", "ruleset"])
        _until(lambda: structure(host) == before, log.read_text)
        run(host, ["ip", "link", "add", "later0", "type", "veth", "peer", "name", "other0"])
        _until(lambda: "interface later0 is governed" in log.read_text(), log.read_text)
        place.configure(81)
        reloaded = place.hostfwctl("reload")
        said = f"{reloaded.returncode}: {reloaded.stderr}"
        assert (admits(lab, 80), admits(lab, 81)) == (False, True), said
        assert (reloaded.returncode == 0) is (which == "run"), said
        # An old record gives way to a new one, for which it leaves room.
        assert place.trouble() or (which == "run" and how != "read-only"), said
        assert place.hostfwctl("doctor").returncode == 1

        place.sh(_FREE[how])
        _until(lambda: place.trouble() == "", place.trouble)
        status = place.status()
        assert (status["saved"], status["drift"]) == (True, [])
        assert place.holder.poll() is None
