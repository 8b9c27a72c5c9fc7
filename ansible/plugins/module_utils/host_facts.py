# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of hosts as hostfw knows them (HostFacts of hostfw.io/v1), made of what an inventory and caches know."""

from __future__ import annotations

from ansible_collections.hostfw.hostfw.plugins.module_utils import inventory

_KINDS = {"bridge": "bridge", "bonding": "bond", "loopback": "loopback", "team": "team"}
"""The words of Ansible's facts for kinds of interfaces, and the kernel's; others are told by their name."""
_USUAL = "eth0"
"""The name of the interface of a host of which nothing but addresses is known."""

HOSTFW, FACTS, ADDRESSES, INVENTORY = "hostfw", "facts", "addresses", "inventory"
"""The sources of facts, from what is exact to what is a guess."""


def host_facts(host, variables, kept=None):
    """The HostFacts of a host, and the source that they are of.

    `variables` are those of the host with its facts. HostFacts under the fact `hostfw.host_facts` are exact; those of
    Ansible lack groups of links; `kept` has the addresses of an earlier run, as
    `inventory.gathered` gives them. What the inventory says of addresses counts for a host without any of these.
    """
    facts = variables.get("ansible_facts") or {}
    exact = (facts.get("hostfw") or {}).get("host_facts")
    if exact:
        return exact, HOSTFW
    node = str(variables.get("hostfw_node") or inventory.node_name(host))
    names = facts.get("interfaces")
    if names:
        defaults = {(facts.get(family) or {}).get("interface") for family in ("default_ipv4", "default_ipv6")}
        found = [_of_facts(name, facts, defaults, place) for place, name in enumerate(sorted(names), 1)]
        return _document(node, found), FACTS
    addresses = (kept or {}).get("interfaces") or {}
    if addresses:
        defaults, names = set(kept.get("default") or []), enumerate(sorted(addresses), 2)
        found = [_interface(name, place, addresses[name], name in defaults) for place, name in names]
        return _document(node, [_loopback(), *found]), ADDRESSES
    return _document(node, [_loopback(), *_of_inventory(host, variables)]), INVENTORY


def _document(node, interfaces):
    return {"apiVersion": "hostfw.io/v1", "kind": "HostFacts", "node": node, "interfaces": interfaces}


def _of_facts(name, facts, defaults, place):
    said = facts.get(inventory.fact_name(name)) or {}
    kind = _KINDS.get(said.get("type"), "")
    found = _interface(name, place, inventory.interface_addresses(said), name in defaults, kind)
    found["up"] = bool(said.get("active", True))
    return found


def _of_inventory(host, variables):
    """The interfaces that HostEndpoints of the host name, with their addresses."""
    by_name = {}
    for endpoint in inventory.host_endpoints([host], {host: variables}):
        spec = endpoint["spec"]
        said = spec.get("interfaceName") or spec.get("interfaceGroup")
        name = _USUAL if said in (None, inventory.ANY_INTERFACE) else said
        by_name.setdefault(name, []).extend(spec["expectedIPs"])
    names = enumerate(by_name.items(), 2)
    return [_interface(name, place, addresses, place == 2) for place, (name, addresses) in names]


def _interface(name, index, addresses, default=None, kind=""):
    return {"name": name, "index": index, "kind": kind, "addresses": list(addresses), "defaultRoute": bool(default)}


def _loopback():
    return _interface("lo", 1, ["127.0.0.1", "::1"], kind="loopback")
