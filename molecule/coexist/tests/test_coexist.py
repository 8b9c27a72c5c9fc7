"""Other firewalls are retired, what is not a firewall stays, now and after a boot."""

import subprocess
from pathlib import Path

import pytest

from conftest import PYTHON, TREE, wait_until

HOSTS = {"hfm-nftables12": "nftables.service", "hfm-nftables13": "nftables.service", "hfm-ufw": "ufw.service"}
_CONTAINERS = Path(__file__).parents[1] / "containers.nft"


def _chains(host):
    """The container engine's chains without their counters; ufw has chains of its own in `ip filter`."""
    found = {}
    for table, chain in (("nat", "PREROUTING"), ("nat", "POSTROUTING"), ("nat", "DOCKER"), ("filter", "DOCKER-USER")):
        listed = host.run("nft --stateless list chain ip %s %s", table, chain)
        found[table, chain] = listed.stdout if listed.rc == 0 else None
    return found


@pytest.mark.parametrize("name", HOSTS)
def test_the_other_firewall_is_masked_and_its_rules_are_gone(machines, connects, name):
    """Packets that it blocked and our policy allows get in; those that neither allows stay out."""
    host = machines.host(name)

    assert host.check_output("systemctl show --property=LoadState %s", HOSTS[name]) == "LoadState=masked"
    assert host.run("nft list table inet filter").rc != 0
    for address in machines.addresses(name):
        assert connects(None, address, 80), address
        assert not connects(None, address, 9100), address


@pytest.mark.parametrize("name", HOSTS)
def test_the_tables_of_containers_stay_as_they_were(machines, name):
    """Every chain and rule of them, whatever was deployed."""
    host = machines.host(name)
    found = _chains(host)

    assert None not in found.values(), found
    assert "dnat to 172.17.0.2:80" in found["nat", "DOCKER"]
    assert "masquerade" in found["nat", "POSTROUTING"]
    assert {"ip hostfw", "ip6 hostfw"} <= {
        line.removeprefix("table ") for line in host.check_output("nft list tables").splitlines()
    }


@pytest.mark.parametrize("name", HOSTS)
def test_a_boot_brings_back_ours_and_the_containers_alone(machines, connects, name):
    """The masked unit does not come back, ours protects again, and nothing has drifted."""
    again = [PYTHON, "-m", "lab.hosts", "restart", name]
    subprocess.run(again, check=True, cwd=TREE, capture_output=True, timeout=120)
    wait_until(lambda: connects(None, machines.address(name), 22), 60)
    host = machines.host(name)
    wait_until(lambda: host.run("systemctl is-active hostfw.service").rc == 0, 60)

    assert host.run("nft list table inet filter").rc != 0
    assert None not in _chains(host).values()
    assert host.run("hostfwctl diff").rc == 0
    wait_until(lambda: connects(None, machines.address(name), 80), 20)
    assert not connects(None, machines.address(name), 9100)
