"""HostEndpoints of an inventory, as the Ansible collection makes them."""

from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.model.sources import Configuration, Source

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/inventory.py"
_SPEC = spec_from_file_location("ansible_inventory", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
inventory = module_from_spec(_SPEC)
_SPEC.loader.exec_module(inventory)

_FACTS = {
    "default_ipv4": {"interface": "bond0.7"},
    "default_ipv6": {},
    "bond0_7": {
        "ipv4": {"address": "192.0.2.7"},
        "ipv4_secondaries": [{"address": "192.0.2.8"}],
        "ipv6": [{"address": "fe80::1", "scope": "link"}, {"address": "2001:db8::7", "scope": "global"}],
    },
    "docker0": {"ipv4": {"address": "172.17.0.1"}},
}


def _endpoint(**variables: object) -> Mapping[str, Mapping[str, object]]:
    """The only HostEndpoint of a host with these variables."""
    (found,) = inventory.host_endpoints(["web1"], {"web1": variables})
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("why", "variables", "expected"),
    [
        (
            "what the inventory says comes first",
            {"hostfw_addresses": ["192.0.2.1"], "ansible_facts": _FACTS, "ansible_host": "192.0.2.9"},
            ["192.0.2.1"],
        ),
        (
            "facts of the default route",
            {"ansible_facts": _FACTS, "ansible_host": "web1.example"},
            ["192.0.2.7", "192.0.2.8", "2001:db8::7"],
        ),
        (
            "and where Ansible connects to",
            {"ansible_facts": _FACTS, "ansible_host": "192.0.2.9"},
            ["192.0.2.7", "192.0.2.8", "192.0.2.9", "2001:db8::7"],
        ),
        (
            "with the others of that interface",
            {"ansible_facts": {"interfaces": ["lo", "bond0.7", "eth9"], "bond0_7": _FACTS["bond0_7"]}}
            | {"ansible_host": "192.0.2.8"},
            ["192.0.2.7", "192.0.2.8", "2001:db8::7"],
        ),
        (
            "facts of one interface",
            {"ansible_facts": _FACTS, "ansible_host": "192.0.2.9", "hostfw_interface": "docker0"},
            ["172.17.0.1"],
        ),
        ("no facts", {"ansible_host": "2001:db8::1"}, ["2001:db8::1"]),
        (
            "each address once, in order",
            {"hostfw_addresses": ["2001:DB8::1", "10.0.0.2", "10.0.0.1/24", "2001:db8:0::1"]},
            ["10.0.0.1", "10.0.0.2", "2001:db8::1"],
        ),
    ],
)
def test_addresses_are_those_that_other_hosts_know_it_by(
    why: str, variables: dict[str, object], expected: list[str]
) -> None:
    """The inventory, the facts and the connection are asked in this order."""
    assert _endpoint(**variables)["spec"]["expectedIPs"] == expected, why


def test_labels_are_those_of_the_host_of_its_groups_and_of_the_endpoint() -> None:
    """Texts all of them, as YAML would not have them; the endpoint's own win."""
    found = _endpoint(
        group_names=["web", "north"],
        hostfw_labels={"role": "web", "rack": 7, "spare": False},
        hostfw_endpoints=[{"interface": "eth1", "addresses": ["10.0.0.1"], "labels": {"role": "inside"}}],
    )

    assert found["metadata"] == {
        "name": "web1-eth1",
        "labels": {"group/web": "true", "group/north": "true", "role": "inside", "rack": "7", "spare": "false"},
    }


@pytest.mark.parametrize(
    ("why", "entry", "name", "spec"),
    [
        ("every interface", {}, "web1-all", {"interfaceName": "*"}),
        ("one", {"interface": "eth0.7"}, "web1-eth0.7", {"interfaceName": "eth0.7"}),
        ("a group", {"interface_group": "uplinks"}, "web1-uplinks", {"interfaceGroup": "uplinks"}),
        ("a name that Kubernetes would not take", {"interface": "WAN_0"}, "web1-wan-0", {"interfaceName": "WAN_0"}),
        ("a name of its own", {"name": "front"}, "front", {"interfaceName": "*"}),
    ],
)
def test_an_endpoint_is_named_after_its_node_and_interface(
    why: str, entry: dict[str, object], name: str, spec: dict[str, object]
) -> None:
    """The name is one that hostfw takes; which interfaces it governs is in the spec."""
    found = _endpoint(hostfw_endpoints=[{"addresses": ["10.0.0.1"], **entry}])

    assert found["metadata"]["name"] == name, why
    assert found["spec"] == {"node": "web1", "expectedIPs": ["10.0.0.1"]} | spec, why


def test_a_host_whose_name_is_none_for_hostfw_gets_one() -> None:
    """Unless the inventory says what its node is called."""
    variables = {
        "DB_1": {"hostfw_addresses": ["10.0.0.1"]},
        "web 1": {"hostfw_addresses": ["10.0.0.2"], "hostfw_node": "web1.example"},
    }

    found = inventory.host_endpoints(list(variables), variables)

    assert [endpoint["spec"]["node"] for endpoint in found] == ["db-1", "web1.example"]
    assert [endpoint["metadata"]["name"] for endpoint in found] == ["db-1-all", "web1.example-all"]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """Each line names the host, and what to do."""
    variables = {
        "a": {},
        "b": {"hostfw_addresses": ["nowhere"]},
        "c": {"hostfw_addresses": "10.0.0.1"},
        "d": {"hostfw_endpoints": [{"adresses": ["10.0.0.1"]}]},
        "e": {"hostfw_addresses": ["10.0.0.5"], "hostfw_node": "f"},
        "f": {"hostfw_addresses": ["10.0.0.6"]},
        "g": {"hostfw_addresses": ["10.0.0.7"], "hostfw_endpoints": [{}, {}]},
    }

    with pytest.raises(inventory.InventoryError) as error:
        inventory.host_endpoints(list(variables), variables)

    assert str(error.value).splitlines() == [
        (
            "a: no address is known, so that policies of other hosts would not find it; gather its facts first, "
            "or set hostfw_addresses"
        ),
        "b: nowhere is not an address",
        "c: addresses are a list, and not the text 10.0.0.1",
        (
            "d: an entry of hostfw_endpoints has no adresses; it may have addresses, interface, interface_group, "
            "labels, name, ports, profiles"
        ),
        "f: HostEndpoint f-all is also one of e; give one of them a `name`",
        "g: HostEndpoint g-all is also one of g; give one of them a `name`",
    ]


def test_hostfw_takes_the_manifests_as_they_are_written() -> None:
    """Whatever characters labels hold, the same input gives the same bytes, and hostfw reads them without a problem."""
    variables = {
        "web1": {"hostfw_addresses": ["10.0.0.1", "fd00::1"], "hostfw_labels": {"b": "yes", "a": "1.0"}},
        "db1": {
            "hostfw_endpoints": [
                {
                    "interface": "eth0",
                    "addresses": ["10.0.0.2"],
                    "profiles": ["base"],
                    "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
                }
            ]
        },
    }
    profile = "---\napiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: base}\nspec: {}\n"

    text = inventory.manifests(inventory.host_endpoints(["web1", "db1"], variables))
    again = inventory.manifests(inventory.host_endpoints(["db1", "web1"], variables))
    candidate = check_candidate(Configuration(None, (Source("endpoints.yaml", text + profile),)))

    assert text == again
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(text)] == ["db1-eth0", "web1-all"]
    assert candidate.problems == ()
    assert {endpoint.metadata.name: endpoint.node for endpoint in candidate.resources.endpoints} == {
        "db1-eth0": "db1",
        "web1-all": "web1",
    }


def test_what_was_kept_of_the_facts_of_a_host_gives_the_same_endpoint() -> None:
    """With each way to name interfaces; a run without its facts loses none of its addresses."""
    hosts: dict[str, dict[str, object]] = {
        "all": {"ansible_facts": _FACTS, "ansible_host": "192.0.2.9"},
        "one": {"ansible_facts": _FACTS, "hostfw_interface": "docker0"},
        "more": {"ansible_facts": _FACTS, "hostfw_endpoints": [{"interface": "docker0"}, {"interface": "bond0.7"}]},
    }
    kept = inventory.gathered(list(hosts), hosts)
    bare = {name: {key: said[key] for key in said if key != "ansible_facts"} for name, said in hosts.items()}

    assert inventory.gathered(list(bare), bare) == {}
    assert inventory.host_endpoints(list(bare), bare, snapshot=kept) == inventory.host_endpoints(list(hosts), hosts)


def test_a_host_is_guessed_at_where_nothing_but_its_connection_is_known() -> None:
    """By its node; facts of another kind are no knowledge of addresses."""
    hosts = {
        "Bare": {"ansible_host": "192.0.2.1", "ansible_facts": {"distribution": "Debian"}},
        "said": {"hostfw_addresses": ["192.0.2.2"]},
        "each": {"hostfw_endpoints": [{"addresses": ["192.0.2.3"]}]},
        "facts": {"ansible_facts": {"default_ipv4": {}, "default_ipv6": {}}, "ansible_host": "192.0.2.4"},
        "kept": {"ansible_host": "192.0.2.5"},
    }

    assert inventory.guessed(list(hosts), hosts, {"kept": {"default": [], "interfaces": {}}}) == ["bare"]


def test_every_group_adds_its_labels() -> None:
    """In the order of the variables' names; the host's own win."""
    found = _endpoint(
        hostfw_addresses=["192.0.2.1"],
        hostfw_labels={"role": "web"},
        hostfw_labels_b={"site": "north", "role": "none"},
        hostfw_labels_a={"site": "south", "rack": 7},
    )

    assert found["metadata"]["labels"] == {"rack": "7", "role": "web", "site": "north"}


def test_switches_are_no_hosts_of_the_fleet() -> None:
    """Nor what Ansible reaches in their way."""
    variables: dict[str, dict[str, object]] = {
        "web1": {"ansible_connection": "ansible.builtin.ssh"},
        "switch1": {"ansible_network_os": "ios"},
        "switch2": {"ansible_connection": "ansible.netcommon.httpapi"},
        "windows1": {"ansible_connection": "winrm"},
        "web2": {},
    }

    assert inventory.fleet_hosts(list(variables), variables) == ["web1", "web2"]
