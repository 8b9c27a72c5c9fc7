"""Administration over real ssh: refused lockouts, the panic button, the doctor, and turning hostfw off."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.journal.message_ids import MessageId
from lab.hosts.host import Host
from lab.namespace import run
from tests.system.street import (
    CLOSED,
    HOST,
    OPEN,
    PEER,
    SETTINGS,
    Street,
    configure,
    connects,
    entries,
    eventually,
    letting_in,
    rules,
)

Ssh = Callable[..., CompletedProcess[str]]

_NO_SSH = letting_in(OPEN)
# Everything that listens: the doctor notes what listens in vain.
_UDP = f"    - {{action: Allow, protocol: UDP, destination: {{ports: [{CLOSED}]}}}}\n"
_ALL_REACHED = letting_in(OPEN, CLOSED, 22) + _UDP
_CLOSED = f"{SETTINGS}failsafe: none\n"
_YOURS = f"another ssh connection like yours from {PEER} to port 22 on eth0 would be lost"


@pytest.fixture
def ssh(host: Host, street: Street, tmp_path: Path) -> Ssh:
    """A command as root on the host, over ssh from the neighbour."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    host.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600)
    host.run(["chmod", "700", "/root/.ssh"])
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=3")
    command = ["ssh", "-q", "-i", str(key), *(word for option in options for word in ("-o", option)), f"root@{HOST}"]

    def over_ssh(script: str, *, check: bool = True, text: str | None = None) -> CompletedProcess[str]:
        return run(street.peer, [*command, script], check=check, text=text)

    host.run(["systemctl", "start", "ssh"])
    assert eventually(lambda: over_ssh("true", check=False).returncode == 0, 20) is not None
    return over_ssh


@pytest.mark.parametrize("unit", ["ssh.service", "ssh.socket"])
def test_a_change_that_would_lock_the_caller_out_is_refused(host: Host, ssh: Ssh, unit: str) -> None:
    """With sshd or systemd listening; the active generation stays, and the flag overrides the refusal."""
    if unit == "ssh.socket":
        host.run(["systemctl", "stop", "ssh.service"])
        host.run(["systemctl", "start", "ssh.socket"])
    host.write("/etc/hostfw/hostfw.yaml", _CLOSED)
    host.write("/etc/hostfw/policy.yaml", _NO_SSH)
    before = rules(host)
    refused = ssh("hostfwctl apply", check=False)
    assert refused.returncode == 1
    assert f"this would cut the host off: {_YOURS}" in refused.stderr
    assert "policy.yaml:1)" in refused.stderr
    assert "to do it anyway, add --accept-lockout" in refused.stderr
    assert rules(host) == before

    accepted = ssh("hostfwctl apply --accept-lockout", check=False)
    assert accepted.returncode == 0
    assert _YOURS in accepted.stderr
    assert ssh("true", check=False).returncode == 255


def test_a_reload_by_systemd_knows_ssh_by_its_port(host: Host, ssh: Ssh) -> None:
    """The sandboxed service sees no processes: it tells the session by its port, and refuses."""
    host.write("/etc/hostfw/hostfw.yaml", _CLOSED)
    host.write("/etc/hostfw/policy.yaml", _NO_SSH)
    refused = ssh("systemctl reload hostfw; echo $?; systemctl show -p StatusText hostfw", check=False)

    assert refused.stdout.startswith("1\n")
    assert ssh("true").returncode == 0


def test_a_block_keeps_the_session_and_outlives_a_reboot(host: Host, street: Street, ssh: Ssh) -> None:
    """The reboot ends every session; after it the same address may come back by ssh, and nothing else passes."""
    there = ssh("hostfwctl lockdown && sleep 1 && echo still here")
    assert there.stdout == "still here\n"
    assert f"kept: ssh from {PEER} port " in there.stderr
    assert not connects(street.peer, OPEN)
    assert not connects(street.peer, 22)
    assert entries(host, MessageId.HOST_BLOCKED)

    host.reboot()

    assert eventually(lambda: ssh("true", check=False).returncode == 0, 20) is not None
    assert not connects(street.peer, OPEN)
    assert ssh("hostfwctl status").stdout.startswith("BLOCKED:")
    assert "BLOCKED" in host.journal("--boot", "-u", "hostfw-boot")
    ssh("hostfwctl unblock")
    assert connects(street.peer, OPEN)
    assert entries(host, MessageId.HOST_UNBLOCKED)


def test_the_doctor_finds_nothing_on_a_sound_host_and_each_thing_on_another(host: Host) -> None:
    """In a line each, with the command that is the next step."""
    host.write("/etc/hostfw/policy.yaml", _ALL_REACHED)
    host.run(["hostfwctl", "apply"])
    sound = host.run(["hostfwctl", "doctor"], check=False)
    assert (sound.stdout, sound.returncode) == ("", 0)

    host.run(["systemctl", "enable", "nftables.service"])
    host.run(["systemctl", "disable", "hostfw-boot.service"])
    host.run(["systemctl", "start", "ssh"])
    configure(host)
    host.write("/etc/hostfw/hostfw.yaml", _CLOSED)
    host.run(["hostfwctl", "apply"])
    host.run(["chmod", "777", "/run/hostfw"])
    found = json.loads(host.run(["hostfwctl", "doctor", "-o", "json"], check=False).stdout)["items"]

    assert [item["check"] for item in found] == ["own-service", "other-service", "permissions", "service", "failsafe"]
    assert [item["next"] for item in found[:3]] == [
        "`systemctl enable hostfw-boot.service`",
        "`systemctl disable nftables.service`, without --now, which would flush everything",
        "`chmod go-w /run/hostfw`",
    ]


def test_disabled_it_stays_off(host: Host, street: Street) -> None:
    """Neither the service nor a boot puts anything back; what was accepted can still be gone back to."""
    done = json.loads(host.run(["hostfwctl", "disable", "--remove-rules", "-o", "json"]).stdout)
    assert done["steps"][:2] == ["stopped and disabled hostfw.service", "stopped and disabled hostfw-boot.service"]
    assert host.run(["nft", "list", "ruleset"]).stdout == ""
    assert [message for _, message in entries(host, MessageId.RULES_REMOVED)] == [
        f"hostfw was disabled: the rules of generation {done['generation']} are removed, and no boot loads any"
    ]

    host.reboot()

    assert host.run(["nft", "list", "ruleset"]).stdout == ""
    assert host.property_of("hostfw", "ActiveState") == "inactive"
    host.run(["hostfwctl", "rollback", "--to", str(done["number"])])
    host.run(["systemctl", "enable", "--now", "hostfw-boot", "hostfw"])
    assert connects(street.peer, OPEN)
    assert host.run(["hostfwctl", "status"]).returncode == 0
