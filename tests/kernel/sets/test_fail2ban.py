"""The real fail2ban with the action that hostfw brings: a ban closes, its end opens, by real packets."""

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep, strftime

import pytest

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import process, run
from tests.kernel.conftest import Hostfwctl
from tests.kernel.sets.test_external_sets import admitted

ROOT = Path(__file__).parents[3]
SERVER = shutil.which("fail2ban-server")
CLIENT = shutil.which("fail2ban-client")
POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {interfaceName: eth0}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: fail2ban, labels: {list: fail2ban}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: all()
  ingress:
  - {action: Deny, source: {selector: list == 'fail2ban'}}
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
"""
JAIL = """\
[Definition]
[door]
enabled = true
backend = polling
filter = door
logpath = {log}
banaction = hostfw
action = hostfw[name=door, bantime="%(bantime)s"]
maxretry = 2
findtime = 600
bantime = {bantime}
"""
_PATIENCE_S = 60.0


def until(holds: Callable[[], bool], log: Path) -> None:
    """Wait until something holds."""
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline, log.read_text()
        sleep(0.2)


@pytest.mark.skipif(SERVER is None or CLIENT is None, reason="fail2ban is not installed (tools/bootstrap test)")
@pytest.mark.parametrize("bantime", ["3600", "-1"], ids=["an hour", "for ever"])
def test_a_ban_closes_and_its_end_opens(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path, bantime: str
) -> None:
    """Of either family; fail2ban finds the failures in a log file that is written to meanwhile."""
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")
    etc, log, journal = tmp_path / "fail2ban", tmp_path / "door.log", tmp_path / "fail2ban.log"
    for folder in ("action.d", "filter.d"):
        (etc / folder).mkdir(parents=True)
    shutil.copy(ROOT / "units/fail2ban-action.conf", etc / "action.d/hostfw.conf")
    (etc / "filter.d/door.conf").write_text("[Definition]\nfailregex = ^\\s*door knocked: <ADDR>$\n")
    (etc / "fail2ban.conf").write_text(
        f"[Definition]\nloglevel = INFO\nlogtarget = {journal}\nsyslogsocket = auto\nsocket = {tmp_path}/socket\n"
        f"pidfile = {tmp_path}/pid\ndbfile = None\ndbpurgeage = 1d\ndbmaxmatches = 10\n"
    )
    (etc / "jail.conf").write_text(JAIL.removeprefix("[Definition]\n").format(log=log, bantime=bantime))
    log.touch()
    journal.touch()
    # The action calls hostfwctl by its name.
    (tmp_path / "bin").mkdir()
    called = tmp_path / "bin/hostfwctl"
    called.write_text(f'#!/bin/sh\nexec {" ".join(installation.arguments)} "$@"\n')
    called.chmod(0o755)
    own = environment()
    own["PATH"] = f"{tmp_path / 'bin'}:{own['PATH']}"
    arguments = ("-c", str(etc), "-s", f"{tmp_path}/socket", "-p", f"{tmp_path}/pid")
    assert SERVER is not None
    assert CLIENT is not None
    with process(lab["host"], [SERVER, "-f", *arguments, "start"], environment=own):
        until(lambda: "Jail 'door' started" in journal.read_text(), journal)
        assert admitted(lab, 80) == (True, True)

        with log.open("a") as file:
            for _ in range(3):
                moment = strftime("%Y-%m-%d %H:%M:%S")
                file.write(f"{moment} door knocked: 192.0.2.2\n{moment} door knocked: 2001:db8::2\n")
        until(lambda: admitted(lab, 80) == (False, False), journal)

        assert "192.0.2.2" in hostfwctl("set", "list", "fail2ban").stdout
        run(lab["host"], [CLIENT, *arguments, "set", "door", "unbanip", "192.0.2.2", "2001:db8::2"], environment=own)
        until(lambda: admitted(lab, 80) == (True, True), journal)
