"""The doctor on a real kernel: other firewalls in their shapes, one line each, and all of them left as they were."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hostfw.host.nftables.base_chains import read_others
from hostfw.host.nftables.nflog import NflogReader
from lab.hostfwctl import Installation
from lab.namespace import Namespace, inside, process, run
from tests.kernel.cli.other_firewalls import (
    DOCKER,
    FAIL2BAN,
    FIREWALLD,
    LIBVIRT,
    MAPPED,
    NFTABLES_SERVICE,
    UFW,
)

Hostfwctl = Callable[..., CompletedProcess[str]]

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {node: host, interfaceName: eth0}
"""

CHURN = """\
while :; do
    nft 'add table inet churn; add chain inet churn c { type filter hook input priority 0; policy drop; }'
    nft delete table inet churn
done
"""
DENIES = " denies packets as well:"
STILL = "what policy allows it may still deny at"
BEHIND = f"{STILL} input (10), forward (10)"
CASES = [
    (
        "firewalld",
        FIREWALLD,
        [f"firewalld (inet firewalld){DENIES} what it denies at prerouting (10) never reaches policy, and {BEHIND}"],
    ),
    (
        "ufw by iptables-nft",
        UFW,
        [f"ufw (ip filter){DENIES} {STILL} input (0)"],
    ),
    (
        "Docker by iptables-nft",
        DOCKER,
        [f"Docker (ip filter){DENIES} {STILL} forward (0)"],
    ),
    (
        "ufw and Docker in one table",
        UFW + DOCKER.replace("policy accept; }\n\tchain OUTPUT", "policy drop; }\n\tchain OUTPUT"),
        [
            f"ufw (ip filter){DENIES} {STILL} input (0)",
            f"Docker (ip filter){DENIES} {STILL} forward (0)",
        ],
    ),
    (
        "libvirt",
        LIBVIRT,
        [f"libvirt (ip libvirt_network){DENIES} {STILL} forward (0)"],
    ),
    (
        "fail2ban",
        FAIL2BAN,
        ["fail2ban (inet f2b-table) denies packets as well: what it denies at input (-1) never reaches policy"],
    ),
    ("hooks that deny nothing", NFTABLES_SERVICE, []),
    (
        "what it is not known whose it is",
        MAPPED,
        [
            f"the table inet custom{DENIES} {STILL} input (5)",
            "iptables (ip6 raw) denies packets as well: what it denies at prerouting (-300) never reaches policy",
            "the table netdev early denies packets as well: what it denies at ingress (-500) never reaches policy",
        ],
    ),
]


@pytest.mark.parametrize(("tables", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_other_firewalls_are_named_in_a_line_each(
    host: Namespace, installation: Installation, hostfwctl: Hostfwctl, tables: str, expected: list[str]
) -> None:
    """With what they do to our verdicts; neither theirs nor ours changes by a byte, before, while or after an apply."""
    (installation.config / "host.yaml").write_text(POLICY)
    run(host, ["nft", "-f", "-"], text=tables)
    theirs = run(host, ["nft", "list", "ruleset"]).stdout
    hostfwctl("apply")
    both = run(host, ["nft", "list", "ruleset"]).stdout

    examined = hostfwctl("doctor", "-o", "json", check=False)
    items = json.loads(examined.stdout)["items"]

    assert [item["message"] for item in items if item["check"] == "other-table"] == expected
    assert all(item["next"] for item in items)
    assert run(host, ["nft", "list", "ruleset"]).stdout == both
    hostfwctl("disable", "--remove-rules")
    assert run(host, ["nft", "list", "ruleset"]).stdout == theirs


def _findings(output: str) -> list[str]:
    """A line each, but for the note that a machine without journald gets."""
    return [line for line in output.splitlines() if "denied packets leave no history" not in line]


def test_a_healthy_host_has_no_findings(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Units are not missed where systemd does not run."""
    (installation.config / "host.yaml").write_text(POLICY)
    installation.state.chmod(0o700)
    hostfwctl("apply")
    examined = hostfwctl("doctor")

    assert (_findings(examined.stdout), examined.returncode) == ([], 0)
    assert examined.stderr.startswith("no problems")


def test_drift_a_block_and_wrong_permissions_are_found(
    host: Namespace, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Each in a line with the next step."""
    (installation.config / "host.yaml").write_text(POLICY)
    hostfwctl("apply")
    run(host, ["nft", "insert", "rule", "ip", "hostfw", "input", "accept"])
    hostfwctl("lockdown", "--all")
    installation.run.chmod(0o777)
    (installation.state / "last-good.nft").unlink()
    examined = hostfwctl("doctor", check=False)

    changed = "table ip hostfw: chain input was changed by another program"
    directory, script = installation.run, installation.state / "last-good.nft"
    assert examined.returncode == 1
    assert [line.partition(". Next: ")[0] for line in _findings(examined.stdout)] == [
        "block: the host is blocked: no packet passes, whatever policy allows",
        f"drift: another program changed our tables: {changed}",
        f"state: {script} is missing: the next boot enforces the failsafes alone",
        f"permissions: {directory} is writable by others than root (mode 0777)",
    ]
    assert [line.partition(". Next: ")[2] for line in _findings(examined.stdout)] == [
        "`hostfwctl unblock`",
        "`hostfwctl reload` puts them right; `nft monitor` shows who changes them",
        "`hostfwctl apply`",
        f"`chmod go-w {directory}`",
    ]


def test_a_log_that_another_reads_is_found(host: Namespace, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """There is but one reader of a group, and it is not the service."""
    (installation.config / "host.yaml").write_text(POLICY)
    hostfwctl("apply")
    with inside(host):
        reader = NflogReader(100, 128)
    with reader:
        examined = hostfwctl("doctor", check=False)

    assert examined.stdout.startswith("log: another program reads NFLOG group 100, so denied packets are")


def test_tables_that_come_and_go_do_not_disturb(host: Namespace) -> None:
    """The chains of others are read while they change, and those that stay are always there."""
    run(host, ["nft", "-f", "-"], text=FAIL2BAN)
    with process(host, ["sh", "-c", CHURN]), inside(host):
        found = [[str(table) for table in read_others()] for _ in range(50)]

    assert all("inet f2b-table" in titles for titles in found)
