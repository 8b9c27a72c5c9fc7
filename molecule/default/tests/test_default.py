"""After two deployments, the hosts do what the policies say: in the kernel, on the wire and in the journal."""

import json

import pytest

from conftest import wait_until

# Everything that a deployment might touch, without counters.
_FINGERPRINT = """
find /etc /var/lib/hostfw /var/lib/hostfw-ansible ! -type d -printf '%p %T@ %s\\n' | sort
nft --stateless --terse list ruleset
"""

HOSTS = ("hfm-web", "hfm-db")


@pytest.mark.parametrize("name", HOSTS)
def test_both_tables_are_in_force_and_agree_with_etc(machines, name):
    """The ruleset is loaded for both families, accepted, and says what /etc/hostfw says."""
    host = machines.host(name)
    status = json.loads(host.check_output("hostfwctl status -o json"))

    assert {"ip hostfw", "ip6 hostfw"} <= {
        line.removeprefix("table ") for line in host.check_output("nft list tables").splitlines()
    }
    assert status["inForce"]
    assert status["accepted"] == status["generation"]
    assert (status["drift"], status["pending"], status["confirmation"]) == ([], False, None)
    assert host.run("hostfwctl diff").rc == 0


@pytest.mark.parametrize("name", HOSTS)
def test_etc_holds_the_inventory_the_templates_and_the_settings(machines, name):
    """The directory is root's own, complete, and nothing of the way there is left."""
    host = machines.host(name)

    assert host.file("/etc/hostfw/hostfw.yaml").content_string == f"node: {name}\n"
    for other in HOSTS:
        assert f'name: "{other}-all"' in host.file("/etc/hostfw/inventory-endpoints.yaml").content_string
    assert f"# Written by Ansible for {name}.\n" in host.file("/etc/hostfw/policies/operations.yaml").content_string
    assert not host.file("/etc/hostfw/policies/operations.yaml.j2").exists
    assert not host.file("/etc/hostfw.staging").exists
    assert host.check_output("find /etc/hostfw ! -user root -o -perm /022 ! -type l") == ""
    assert host.check_output("ls -A /etc | grep '^[.]hostfw' || true") == ""


@pytest.mark.parametrize(
    ("source", "target", "port", "allowed"),
    [
        ("hfm-web", "hfm-db", 5432, True),
        ("hfm-web", "hfm-db", 80, False),
        ("hfm-db", "hfm-web", 80, False),  # no policy lets the database out
        ("hfm-db", "hfm-web", 5432, False),
        ("hfm-web", "hfm-db", 9100, False),
        (None, "hfm-db", 5432, False),
        (None, "hfm-db", 9100, True),
        (None, "hfm-web", 80, True),
    ],
)
def test_packets_pass_as_policies_say(machines, connects, source, target, port, allowed):
    """Selectors mean hosts of the inventory, over IPv4 and IPv6; what no policy allows is dropped."""
    come_from = machines.host(source) if source else None
    for address in machines.addresses(target):
        if port != 9100 or ":" not in address:
            assert connects(come_from, address, port) is allowed, address


@pytest.mark.parametrize("name", HOSTS)
def test_ssh_still_works_from_anywhere(machines, connects, name):
    """The failsafe keeps the door open that the role came through."""
    assert connects(None, machines.address(name), 22)


@pytest.mark.parametrize("name", HOSTS)
def test_the_units_are_there_and_go_on_after_a_boot(machines, name):
    """The service runs, enabled, and the rules come before the network at the next boot."""
    host = machines.host(name)

    assert host.service("hostfw.service").is_running
    assert host.service("hostfw.service").is_enabled
    assert host.service("hostfw-boot.service").is_enabled
    assert host.check_output("systemctl is-system-running") == "running"


def test_a_dropped_packet_is_in_the_journal(machines, connects):
    """The source, destination and decision of a denied packet are fields that journalctl finds."""
    database = machines.host("hfm-db")
    cursor = database.check_output("journalctl --no-pager -n 1 --show-cursor | sed -n 's/^-- cursor: //p'")
    assert not connects(None, machines.address("hfm-db"), 5432)

    def entries():
        search = "journalctl -o json --after-cursor %s HOSTFW_SRC_ADDR=10.77.0.1 HOSTFW_DST_PORT=5432"
        return [json.loads(line) for line in database.check_output(search, cursor).splitlines()]

    wait_until(lambda: bool(entries()), 10)
    entry = entries()[0]
    expected = {
        "HOSTFW_ACTION": "deny",
        "HOSTFW_DIRECTION": "ingress",
        "HOSTFW_ENDPOINT": "hfm-db-all",
        "HOSTFW_INTERFACE": "eth0",
        "HOSTFW_TIER": "default",
        "HOSTFW_DST_ADDR": "10.77.0.22",
        "HOSTFW_PROTOCOL": "TCP",
        "SYSLOG_IDENTIFIER": "hostfw",
    }
    assert {field: entry.get(field) for field in expected} == expected


def test_check_mode_predicts_what_the_run_does_and_changes_nothing(play, machines):
    """For one that touches the ruleset, and for one that touches only files."""
    cases = (
        ("another net", ("-e", "operations_net=10.77.0.0/24"), {"hfm-web": 2, "hfm-db": 2}),
        ("a comment", ("-e", "operations_net=10.77.0.0/24", "-e", "remark=yes"), {"hfm-web": 1, "hfm-db": 1}),
    )
    for what, arguments, expected in cases:
        before = {name: machines.host(name).check_output(_FINGERPRINT) for name in machines}
        predicted = play("converge", "--check", "--diff", *arguments)
        after = {name: machines.host(name).check_output(_FINGERPRINT) for name in machines}
        done = play("converge", *arguments)

        assert (predicted.status, done.status) == (0, 0), predicted.text + done.text
        assert after == before, what
        assert {name: predicted.changed(name) for name in machines} == expected, what
        assert {name: done.changed(name) for name in machines} == expected, what
    assert play("converge").status == 0
