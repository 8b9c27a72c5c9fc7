"""The first ten minutes of README on a new host, line by line as root over ssh: no YAML is written, and it is quick."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from lab.hosts.host import Host
from lab.namespace import run
from tests.system.street import CLOSED, HOST, OPEN, Street, connects, eventually

ROOT = Path(__file__).parents[3]
MINUTES = 3
_WEB = "import http.server as h, socket; h.HTTPServer(('', 80), h.SimpleHTTPRequestHandler).serve_forever()"
_SSH = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=3")


@pytest.fixture
def login(bare_host: Host, street: Street, tmp_path: Path) -> Callable[[str], "subprocess.CompletedProcess[str]"]:
    """A function that runs a line in a session of its own, from the neighbour."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    bare_host.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600)
    bare_host.run(["chmod", "700", "/root/.ssh"])
    bare_host.run(["systemctl", "start", "ssh"])
    base = ["ssh", "-q", "-i", str(key), *(word for option in _SSH for word in ("-o", option)), f"root@{HOST}"]

    def typed(line: str) -> "subprocess.CompletedProcess[str]":
        return run(street.peer, [*base, line], check=False, timeout_s=120)

    assert eventually(lambda: typed("true").returncode == 0, 20) is not None
    return typed


def _lines() -> list[str]:
    """The commands of README's first block after its heading, without their comments."""
    section = (ROOT / "README.md").read_text().partition("## The first ten minutes")[2]
    block = re.search(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [re.split(r"\s+#", line)[0] for line in block[1].splitlines()]


def connects_from_itself(host: Host, port: int) -> bool:
    """True once something listens at a port of the host."""
    return f":{port} " in host.run(["ss", "--listening", "--tcp", "--numeric"]).stdout


def test_a_web_server_is_protected_by_readme_alone(
    bare_host: Host, street: Street, package: Path, login: Callable[[str], "subprocess.CompletedProcess[str]"]
) -> None:
    """From the package to confirmed rules: what listened is reachable, what begins later is not, nor after a reboot."""
    host = bare_host
    host.copy_in(package, f"/root/{package.name}")
    host.run(["systemd-run", "--quiet", "--unit=web", "/usr/bin/python3", "-c", _WEB])
    lines = _lines()
    began = monotonic()
    told = {line: login(line) for line in lines}
    took = monotonic() - began

    assert {line: f"{done.returncode}: {done.stderr}" for line, done in told.items() if done.returncode} == {}
    assert [shlex.split(line)[0] for line in lines].count("hostfwctl") >= 8
    assert took < 60 * MINUTES
    assert "is accepted" in told["hostfwctl confirm"].stderr
    assert told["hostfwctl explain 203.0.113.9 host:443"].stdout.startswith("allowed")
    host.run(["systemd-run", "--quiet", "--unit=later", "/usr/bin/python3", "-c", _WEB.replace("80)", "8088)")])
    assert eventually(lambda: connects(street.peer, 80), 10) is not None
    assert connects(street.peer, OPEN)
    assert eventually(lambda: connects_from_itself(host, 8088), 10) is not None
    assert not connects(street.peer, 8088)
    assert connects(street.peer, CLOSED), "it listened when `init` looked"

    host.reboot()
    for unit, web in (("web", _WEB), ("later", _WEB.replace("80)", "8088)"))):
        host.run(["systemd-run", "--quiet", f"--unit={unit}", "/usr/bin/python3", "-c", web])
    assert eventually(lambda: connects(street.peer, 80), 10) is not None
    assert eventually(lambda: connects_from_itself(host, 8088), 10) is not None
    assert not connects(street.peer, 8088)
    assert login("systemctl is-active hostfw").stdout == "active\n"
