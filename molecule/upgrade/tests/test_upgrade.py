"""The package is replaced under traffic, over IPv4 and IPv6, on both releases at once."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import NETNS, PYTHON

HOSTS = ("hfm-upgrade12", "hfm-upgrade13")
_TRAFFIC = str(Path(__file__).with_name("traffic.py"))
_ENOUGH = 100


@pytest.fixture
def traffic(machines):
    """Packets to every address of every host until asked to stop; gives what became of them, by address."""
    addresses = [address for name in HOSTS for address in machines.addresses(name)]
    sending = subprocess.Popen(
        ["ip", "netns", "exec", NETNS, PYTHON, _TRAFFIC, *addresses],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def stop():
        out, _ = sending.communicate(input="", timeout=30)
        return json.loads(out)

    yield stop
    if sending.poll() is None:
        sending.kill()
        sending.communicate()


def test_an_upgrade_loses_no_connection_and_lets_none_in(play, machines, traffic):
    """Old connections go on, new ones are taken without a retry, and what is denied stays denied at every moment."""
    version = "dpkg-query --show --showformat='${Version}' hostfw"
    rules = "for family in ip ip6; do nft --stateless --terse list table $family hostfw; done"
    before = {
        name: (machines.host(name).check_output(version), machines.host(name).check_output(rules)) for name in HOSTS
    }

    done = play("converge", "-e", f"hostfw_package_deb={os.environ['HOSTFW_DEB']}")
    seen = traffic()

    assert done.status == 0, done.text
    assert len(seen) == 2 * len(HOSTS)
    for address, found in seen.items():
        assert found["established"]["broken"] == 0, address
        assert found["allowed"]["refused"] == 0, address
        assert found["denied"]["let in"] == 0, address
        assert min(found["established"]["echoes"], found["allowed"]["taken"], found["denied"]["kept out"]) > _ENOUGH
    for name in HOSTS:
        host = machines.host(name)
        assert before[name][0] == "0.0.1"
        assert host.check_output(version) != "0.0.1"
        assert host.check_output(rules) == before[name][1]
        assert host.service("hostfw.service").is_running
        assert host.run("hostfwctl diff").rc == 0


def test_a_package_is_fetched_from_a_web_server(play, machines):
    """One with another checksum is not installed, and the role ends there; the right one is, and the rules stay."""
    version = "dpkg-query --show --showformat='${Version}' hostfw"
    before = {name: machines.host(name).check_output(version) for name in HOSTS}

    forged = play("fetched", "-e", f"checksum={'0' * 64}")
    after_forged = {name: machines.host(name).check_output(version) for name in HOSTS}
    done = play("fetched")

    assert forged.status != 0
    assert "did not match" in " ".join(forged.text.split())
    assert after_forged == before
    assert done.status == 0, done.text
    for name in HOSTS:
        host = machines.host(name)
        assert host.check_output(version) == "99"
        assert host.service("hostfw.service").is_running
        assert host.run("hostfwctl diff").rc == 0
