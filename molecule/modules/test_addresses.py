"""HostEndpoints of hosts that a run has no facts of: they lose no address, or the run says so and changes nothing."""

import json

DUAL = {"default": ["eth0"], "interfaces": {"eth0": ["192.0.2.2", "2001:db8::2"]}, "seen": "2026-01-01"}


def test_a_run_for_some_hosts_takes_no_address_from_the_others(fleet):
    """With --limit, or without facts: what was seen of them counts, and how old it is is told."""
    fleet.add("web1")
    fleet.add("db1", hostfw_addresses=None, ansible_host="192.0.2.2")
    snapshot = fleet.top / ".hostfw-addresses.json"
    snapshot.write_text(json.dumps({"hosts": {"db1": DUAL}}))
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}", "--limit", "web1")

    done = fleet.run("role", *arguments)

    assert done.status == 0, done.text
    assert '"192.0.2.2", "2001:db8::2"' in fleet.etc("web1")["inventory-endpoints.yaml"]
    assert "addresses of db1 are those seen" in done.text
    assert json.loads(snapshot.read_text())["hosts"] == {"db1": DUAL}

    before = fleet.etc("web1"), fleet.log("web1")
    snapshot.unlink()
    refused = fleet.run("role", *arguments)

    assert refused.status != 0
    assert "the facts of db1 were not gathered, and this would take its address 2001:db8::2" in refused.text
    assert (fleet.etc("web1"), fleet.log("web1")) == before


def test_a_rollout_keeps_the_addresses_and_leaves_out_as_many_hosts_as_it_may(fleet):
    """The dead host is named at the beginning and in the report; check mode writes nothing on the controller."""
    fleet.add("web1", hostfw_addresses=None, ansible_host="192.0.2.7")
    fleet.add("dead", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1, hostfw_addresses=None)
    snapshot = fleet.top / ".hostfw-addresses.json"
    snapshot.write_text(json.dumps({"hosts": {"dead": DUAL}}))
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}")

    refused = fleet.run("rollout", *arguments)
    assert refused.status != 0
    assert "nothing was changed, because these hosts cannot be reached: dead" in refused.text
    assert fleet.log("web1") == []

    done = fleet.run("rollout", *arguments, "-e", "hostfw_rollout_unreachable=50%")

    assert done.status == 0, done.text
    assert '"192.0.2.2", "2001:db8::2"' in fleet.etc("web1")["inventory-endpoints.yaml"]
    assert "left out, since it could not be reached" in done.text
    assert sorted(json.loads(snapshot.read_text())["hosts"]) == ["dead", "web1"]
