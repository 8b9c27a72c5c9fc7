"""Generations put into force on a real kernel: what changes, what stays, and what another program does to it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.host.nftables.tables import read_generation
from hostfw.model.values import UDP, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from lab.packets.probe import DENY_PATIENCE_S, Flow, probe
from lab.ruleset import without_links

Hostfwctl = Callable[..., CompletedProcess[str]]

APPLIES = 100

_BLOCK = re.compile(r"^\t\w.*?^\t\}$", re.MULTILINE | re.DOTALL)

FOREIGN = """\
table ip nat {
	map published { type inet_service : ipv4_addr . inet_service; elements = { 8080 : 172.17.0.2 . 80 } }
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		dnat ip to tcp dport map @published
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
	}
}
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy accept;
		iifname "docker0" oifname "docker0" counter accept comment "between containers"
	}
}
table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; flags timeout; elements = { 203.0.113.7, 203.0.113.9 } }
	set addr6-set-sshd { type ipv6_addr; flags interval; elements = { 2001:db8:bad::/48 } }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject
		tcp dport 22 ip6 saddr @addr6-set-sshd reject
	}
}
"""
"""Tables as Docker and fail2ban leave them."""

ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: host-eth0, labels: {role: web}}
spec: {node: host, interfaceName: eth0}
"""


def _policy(port: int, name: str = "web") -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}}}
spec:
  selector: role == 'web'
  types: [Ingress, Egress]
  ingress:
    - action: Allow
      protocol: TCP
      destination: {{ports: [{port}]}}
  egress:
    - action: Allow
"""


@pytest.fixture
def etc(installation: Installation) -> Path:
    """A configuration of one endpoint and one policy for port 80."""
    (installation.config / "hostfw.yaml").write_text("node: host\n")
    (installation.config / "endpoint.yaml").write_text(ENDPOINT)
    (installation.config / "policy.yaml").write_text(_policy(80))
    return installation.config


def _nft(host: Namespace, *arguments: str) -> str:
    return run(host, ("nft", *arguments)).stdout


def _load(host: Namespace, script: str) -> None:
    run(host, ("nft", "-f", "-"), text=script)


def _ours(host: Namespace) -> str:
    """Both our tables without the values of counters, which packets move, and in an order that history does not."""
    tables = (_nft(host, "-s", "list", "table", family, "hostfw") for family in ("ip", "ip6"))
    return "\n".join(block for table in tables for block in sorted(_BLOCK.findall(table)))


def _foreign(host: Namespace) -> str:
    tables = (("ip", "nat"), ("ip", "filter"), ("inet", "f2b-table"))
    return "".join(_nft(host, "list", "table", *table) for table in tables)


def _generation(host: Namespace) -> int:
    with inside(host):
        return read_generation()


def _counters(host: Namespace) -> dict[str, int]:
    listed = json.loads(_nft(host, "-j", "list", "counters", "table", "ip", "hostfw"))["nftables"]
    return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}


def test_what_others_own_stays_byte_for_byte(host: Namespace, etc: Path, hostfwctl: Hostfwctl) -> None:
    """A bridge, tables of Docker's kind and bans of fail2ban's kind outlive a hundred changes untouched."""
    run(host, ("ip", "link", "add", "docker0", "type", "bridge"))
    _load(host, FOREIGN)
    before = _foreign(host)

    for number in range(APPLIES):
        (etc / "policy.yaml").write_text(_policy(1000 + number))
        hostfwctl("apply")

    assert before == _foreign(host)
    assert f"th dport {1000 + APPLIES - 1}" in _ours(host) or f"tcp dport {1000 + APPLIES - 1}" in _ours(host)


def test_any_way_of_changes_ends_in_the_same_ruleset(host: Namespace, etc: Path, hostfwctl: Hostfwctl) -> None:
    """Nothing of the generations between is left behind, and nothing of the last is missing."""
    hostfwctl("apply")
    fresh = _ours(host)

    (etc / "other.yaml").write_text(_policy(443, "other"))
    hostfwctl("apply")
    grown = _ours(host)
    (etc / "other.yaml").unlink()
    hostfwctl("apply")

    assert fresh != grown
    assert fresh == _ours(host)


def test_nothing_to_change_commits_nothing(host: Namespace, etc: Path, hostfwctl: Hostfwctl) -> None:
    """The generation of the kernel's nftables does not move."""
    hostfwctl("apply")
    before = _generation(host)
    (etc / "policy.yaml").write_text("# now with a comment\n" + _policy(80))

    again = json.loads(hostfwctl("apply", "-o", "json").stdout)

    assert again["result"] == "unchanged"
    assert before == _generation(host)


def test_counters_of_rules_that_stay_keep_counting(lab: Lab, host: Namespace, etc: Path, hostfwctl: Hostfwctl) -> None:
    """A policy that comes in front moves no counter of the others."""
    hostfwctl("apply")
    probe(lab, (Flow("peer", "host", UDP, 4000, Family.V4),), DENY_PATIENCE_S)
    before = _counters(host)

    (etc / "first.yaml").write_text(_policy(25, "a-first"))
    hostfwctl("apply")
    after = _counters(host)

    assert before["drop/in/end-of-tier/default"] == 1
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2, "the rules of the new policy"


@pytest.mark.usefixtures("etc")
@pytest.mark.parametrize(
    ("hand", "complaint"),
    [
        ("flush chain ip hostfw input", "chain input was changed by another program"),
        ("insert rule ip hostfw input accept", "chain input was changed by another program"),
        ("add chain ip6 hostfw input { policy accept; }", "chain input does not drop by policy any more"),
        ("delete table ip6 hostfw", "table ip6 hostfw is gone"),
        ("flush ruleset", "table ip hostfw is gone"),
        ("flush table ip hostfw", "was changed by another program"),
        ("add chain ip hostfw mine", "chain mine is not ours"),
    ],
)
def test_what_another_hand_did_is_said_and_made_good(
    host: Namespace, hostfwctl: Hostfwctl, hand: str, complaint: str
) -> None:
    """`status` names it, and the next apply of the same configuration restores the very ruleset."""
    hostfwctl("apply")
    intended = _ours(host)
    _load(host, hand)

    status = hostfwctl("status", check=False)
    hostfwctl("apply")

    assert complaint in status.stdout
    assert intended == _ours(host)
    assert complaint not in hostfwctl("status").stdout


@pytest.mark.usefixtures("etc")
def test_a_lost_record_is_made_good(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Without a record nothing in the kernel is trusted: what names claim is written again, and is right."""
    host = installation.node
    hostfwctl("apply")
    intended = _ours(host)
    chain = next(line.split()[1] for line in intended.splitlines() if line.strip().startswith("chain in/host-eth0"))
    _load(host, f"flush chain ip hostfw {chain}")
    (installation.run / "generation.json").unlink()

    hostfwctl("apply")

    assert intended == _ours(host)


@pytest.mark.usefixtures("etc")
def test_the_accepted_script_loads_without_us(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """After a boot, `nft -f` of the last good script gives the same ruleset; the next apply changes nothing of it.

    Indices of interfaces are of one boot, and no script has them: the sets of them are filled by the next apply.
    """
    host = installation.node
    hostfwctl("apply")
    intended = _ours(host)
    _load(host, "flush ruleset")

    _nft(host, "-f", str(installation.state / "last-good.nft"))

    assert without_links(intended) == _ours(host)
    hostfwctl("apply")
    assert intended == _ours(host)


@pytest.mark.usefixtures("etc")
def test_a_state_directory_that_cannot_be_written_is_said(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """The generation is in force all the same; the exit status and a message say that it will not survive a reboot."""
    installation.state.rmdir()
    installation.state.write_text("in the way")

    done = hostfwctl("apply", check=False)

    assert done.returncode == 1
    assert "in force" in done.stderr
    assert "after a reboot the failsafes alone are in force" in done.stderr
