"""Other firewalls as Debian ships them, beside hostfw on one host: named by the doctor, and left as they are."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image
from lab.hosts.package import install_package
from lab.namespace import LabError
from tests.system.street import (
    CLOSED,
    OPEN,
    POLICY,
    Street,
    configure,
    connects,
    eventually,
    listen,
    reload,
    start_service,
)

_EXTRA = ("firewalld", "ufw")


@pytest.fixture
def shared_host(release: Release, street: Street, package: Path) -> Iterator[Host]:
    """A host with hostfw in force, and with firewalld and ufw installed but off."""
    try:
        root_image(release, _EXTRA)
    except LabError as reason:
        pytest.skip(str(reason))
    with debian(release, "web", [street.uplink()], extra=_EXTRA) as host:
        host.run(["systemctl", "disable", "--now", "firewalld", "ufw"])
        host.run(["nft", "flush", "ruleset"])
        listen(host)
        host.run(["systemctl", "start", f"listen-stream-{OPEN}.socket", f"listen-stream-{CLOSED}.socket"])
        install_package(host, package)
        configure(host)
        start_service(host)
        yield host


def test_firewalld_is_named_and_left_alone(shared_host: Host, street: Street) -> None:
    """Its unit, and that what policy allows it may deny; a reload of ours changes nothing of it, nor its of ours."""
    host = shared_host
    assert _findings(host) == []
    host.run(["systemctl", "start", "firewalld"])
    # By default it lets ssh in and nothing else, some time after its unit has started.
    assert eventually(lambda: not connects(street.peer, OPEN), 20) is not None

    found = _findings(host)

    assert [check for check, _ in found] == ["other-table", "other-service"]
    assert found[0][1].startswith("firewalld (inet firewalld) denies packets as well:")
    assert "what policy allows it may still deny at input (10), forward (10)" in found[0][1]
    assert found[1][1].startswith("firewalld.service is running: two firewalls decide")
    theirs = host.run(["nft", "list", "table", "inet", "firewalld"]).stdout
    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))
    reload(host)
    assert host.run(["nft", "list", "table", "inet", "firewalld"]).stdout == theirs
    host.run(["systemctl", "stop", "firewalld"])
    assert connects(street.peer, CLOSED)
    assert _findings(host) == []


def test_ufw_is_named_and_left_alone(shared_host: Host, street: Street) -> None:
    """In the tables of iptables-nft."""
    host = shared_host
    host.run(["systemctl", "enable", "--now", "ufw"])
    assert _findings(host) == []
    host.run(["ufw", "--force", "enable"])
    assert not connects(street.peer, OPEN)

    found = _findings(host)

    assert ("other-table", True) in [
        (check, "ufw (ip filter, ip6 filter) denies packets" in text) for check, text in found
    ]
    assert any(text.startswith("ufw.service is enabled") for check, text in found if check == "other-service")
    assert {check for check, _ in found} == {"other-table", "other-service"}
    theirs = host.run(["iptables-save"]).stdout
    host.run(["hostfwctl", "apply"])
    assert _rules_of(host.run(["iptables-save"]).stdout) == _rules_of(theirs)
    host.run(["ufw", "disable"])
    assert connects(street.peer, OPEN)


def _findings(host: Host) -> list[tuple[str, str]]:
    """The doctor's findings: subject and message, without unused services."""
    done = host.run(["hostfwctl", "doctor", "-o", "json"], check=False)
    items = json.loads(done.stdout)["items"]
    assert done.returncode == (1 if any(item["weight"] == "problem" for item in items) else 0)
    return [(item["check"], item["message"]) for item in items if item["check"] != "service"]


def _rules_of(saved: str) -> list[str]:
    """The rules of iptables-save, without the times of its comments and the packets of its chains."""
    return [line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
