"""External sets: other programs fill them with nft, packets obey, and nothing that hostfw does takes their members."""

import socket
from pathlib import Path

import pytest

from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import inside, run
from lab.service import service
from tests.kernel.conftest import Hostfwctl

POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink}
spec: {interfaceName: eth0}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bans, labels: {list: bans}}
spec: {external: true}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: guests, labels: {list: guests}}
spec: {external: true, size: 2, timeout: 1h}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: listed, labels: {list: bans}}
spec: {nets: [198.51.100.0/24]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: ports}
spec:
  selector: all()
  ingress:
  - {action: Deny, protocol: TCP, source: {selector: list == 'bans'}, destination: {ports: [80]}}
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  - {action: Allow, protocol: TCP, source: {selector: list == 'guests'}, destination: {ports: [81]}}
  - {action: Allow, protocol: TCP, source: {notSelector: list == 'bans'}, destination: {ports: [82]}}
"""
FAMILIES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def admitted(lab: Lab, port: int) -> tuple[bool, bool]:
    """True for IPv4 and for IPv6 if a new connection of the neighbour is let in."""
    found = []
    for family, address in FAMILIES:
        with inside(lab["peer"]), socket.socket(family) as client:
            client.settimeout(0.3)
            try:
                client.connect((address, port))
                found.append(True)
            except ConnectionRefusedError:
                found.append(True)
            except TimeoutError:
                found.append(False)
    return found[0], found[1]


def nft(lab: Lab, script: str, *, check: bool = True) -> str:
    """Another program's transaction."""
    return run(lab["host"], ["nft", "-f", "-"], text=script, check=check).stderr


@pytest.fixture(name="applied")
def _applied(installation: Installation, hostfwctl: Hostfwctl) -> None:
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")


@pytest.mark.usefixtures("applied")
def test_what_another_program_puts_in_is_denied_and_let_in_again_once_taken_out(lab: Lab) -> None:
    """Also where the rule has addresses of its own, and where the selector is negated."""
    assert [admitted(lab, port) for port in (80, 81, 82)] == [(True, True), (False, False), (True, True)]

    nft(lab, "add element ip hostfw external/bans { 192.0.2.2 timeout 1h }")
    assert [admitted(lab, port) for port in (80, 82)] == [(False, True), (False, True)]
    nft(lab, "add element ip6 hostfw external/bans { 2001:db8::2 }")
    assert [admitted(lab, port) for port in (80, 82)] == [(False, False), (False, False)]
    nft(lab, "delete element ip hostfw external/bans { 192.0.2.2 }\n")
    assert [admitted(lab, port) for port in (80, 82)] == [(True, False), (True, False)]

    nft(lab, "add element ip hostfw external-nets/bans { 192.0.0.0/16 timeout 1h }")
    assert [admitted(lab, port) for port in (80, 82)] == [(False, False), (False, False)]


@pytest.mark.usefixtures("applied")
def test_a_set_that_is_allowed_opens_for_its_members_and_takes_no_more_than_its_size(lab: Lab) -> None:
    """Nobody else; the kernel refuses what is beyond the size."""
    nft(lab, "add element ip hostfw external/guests/2/3600s { 192.0.2.2 }")
    assert admitted(lab, 81) == (True, False)
    nft(lab, "add element ip hostfw external/guests/2/3600s { 192.0.2.3 }")
    assert nft(lab, "add element ip hostfw external/guests/2/3600s { 192.0.2.4 }", check=False) != ""


@pytest.mark.usefixtures("applied")
def test_members_go_by_themselves_when_their_time_is_over(lab: Lab) -> None:
    """The kernel's own time, whoever runs."""
    nft(lab, "add element ip hostfw external/bans { 192.0.2.2 timeout 2s }")
    assert admitted(lab, 80) == (False, True)
    run(lab["host"], ["sleep", "2"])
    assert admitted(lab, 80) == (True, True)


@pytest.mark.usefixtures("applied")
def test_members_live_through_generations_and_are_no_damage(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Members of others are neither reported nor repaired, and a rollback keeps it too."""
    nft(lab, "add element ip hostfw external/bans { 192.0.2.2 timeout 1h }")

    assert "another program" not in hostfwctl("status").stdout
    assert "no change" in hostfwctl("apply").stderr
    policy = installation.config / "policy.yaml"
    policy.write_text(POLICY.replace("ports: [82]", "ports: [82, 83]"))
    hostfwctl("apply")
    assert admitted(lab, 80) == (False, True)
    hostfwctl("reload")
    hostfwctl("rollback", "--to", "1")
    assert admitted(lab, 80) == (False, True)
    # Another program takes a rule away: what is repaired is that rule alone.
    nft(lab, "flush chain ip hostfw input")
    hostfwctl("apply")
    assert admitted(lab, 80) == (False, True)


def test_the_service_takes_no_member_for_damage(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """A ban each minute would be a repair each minute; and a repair of something else leaves the members alone."""
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")
    with service(installation, tmp_path / "log") as running:
        nft(lab, "add element ip hostfw external/bans { 192.0.2.2 timeout 1h }")
        nft(lab, "add element ip hostfw external-nets/bans { 198.51.0.0/16 }")
        hostfwctl("status")
        assert not running.told("restored")

        nft(lab, "flush chain ip hostfw input\nadd element ip hostfw external/bans { 192.0.2.9 }")
        running.wait_for(lambda _: running.told("restored"))

        listed = run(lab["host"], ["nft", "list", "set", "ip", "hostfw", "external/bans"]).stdout
        assert "192.0.2.2 timeout 1h" in listed
        assert "192.0.2.9" in listed
        assert admitted(lab, 80) == (False, True)
