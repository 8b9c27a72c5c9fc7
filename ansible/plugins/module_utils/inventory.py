# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""HostEndpoints of an inventory: what the variables and facts of each host say, as manifests that hosts share."""

from __future__ import annotations

import ipaddress
import re

API = "projectcalico.org/v3"
ANY_INTERFACE = "*"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")
_OTHER_SYSTEMS = frozenset(("network_cli", "netconf", "httpapi", "winrm", "psrp"))
"""Connections of Ansible that lead to no Linux host."""
_ENDPOINT_FIELDS = frozenset(("name", "interface", "interface_group", "addresses", "labels", "profiles", "ports"))


class InventoryError(Exception):
    """A part of an inventory that cannot become HostEndpoints."""


def host_endpoints(hosts, variables, group_label_prefix="group/", snapshot=None):
    """The HostEndpoints of these hosts, by name; `variables` maps each host to its variables and facts.

    `snapshot` has the addresses of hosts without facts, as `gathered` gives them. Everything that is wrong is raised at
    once, as an InventoryError: a ValueError of a variable as well, as `plain` raises it.
    """
    endpoints, owners, problems = [], {}, []
    for host in sorted(hosts):
        found, problem = _tried(host, variables[host], group_label_prefix, (snapshot or {}).get(host))
        endpoints.extend(found)
        problems.extend(problem)
        for name in sorted(endpoint["metadata"]["name"] for endpoint in found):
            owner = owners.setdefault(name, host)
            if owner != host or len([one for one in found if one["metadata"]["name"] == name]) > 1:
                problems.append(f"{host}: HostEndpoint {name} is also one of {owner}; give one of them a `name`")
    if problems:
        raise InventoryError("\n".join(dict.fromkeys(problems)))
    return sorted(endpoints, key=lambda endpoint: endpoint["metadata"]["name"])


def manifests(resources):
    """Resources as a YAML text: a document each, JSON flow where it is as clear, the same bytes for the same input."""
    return "".join(_document(resource) for resource in resources)


def gathered(hosts, variables):
    """The addresses in the facts of those hosts that need them and have them, in a form that can be kept.

    A host needs none if the inventory says its addresses. `default` are the interfaces of the default routes
    and the one that Ansible connects to, `interfaces` the addresses of these and of those that the inventory names.
    """
    found = {}
    for host in hosts:
        said = variables[host]
        facts = said.get("ansible_facts") or {}
        if _needs_facts(said) and any(name in facts for name in ("default_ipv4", "default_ipv6", "interfaces")):
            found[host] = _kept_facts(said, facts)
    return found


def guessed(hosts, variables, snapshot=None):
    """The nodes of which nothing but the address in `ansible_host` is known: there may be more."""
    known = set(gathered(hosts, variables)) | set(snapshot or {})
    return sorted(_node(host, variables[host]) for host in hosts if host not in known and _needs_facts(variables[host]))


def _needs_facts(variables):
    entries = variables.get("hostfw_endpoints") or [{}]
    return variables.get("hostfw_addresses") is None and any(entry.get("addresses") is None for entry in entries)


def _kept_facts(variables, facts):
    routes = {(facts.get(family) or {}).get("interface") for family in ("default_ipv4", "default_ipv6")}
    default = sorted((routes | set(_connected(variables, facts))) - {None})
    named = {variables.get("hostfw_interface")} | {
        entry.get("interface") for entry in variables.get("hostfw_endpoints") or []
    }
    interfaces = {}
    for name in sorted({*default, *(named - {None, ANY_INTERFACE})}):
        addresses = list(_of_interface(facts.get(fact_name(name)) or {}))
        if addresses:
            interfaces[name] = _ordered(addresses)
    return {"default": default, "interfaces": interfaces}


def _connected(variables, facts):
    """The interfaces that have the address that Ansible connects to."""
    address = _address(variables.get("ansible_host") or "")
    for name in facts.get("interfaces") or [] if address is not None else []:
        if str(address) in _of_interface(facts.get(fact_name(name)) or {}):
            yield name


def fact_name(interface):
    """The name that facts give an interface."""
    return re.sub(r"[-:.]", "_", interface)


def _node(host, variables):
    return str(variables.get("hostfw_node") or node_name(host))


def _tried(host, variables, prefix, kept):
    try:
        return list(_of_host(host, variables, prefix, kept)), []
    except (InventoryError, ValueError) as error:
        return [], [f"{host}: {error}"]


def _of_host(host, variables, prefix, kept):
    node = _node(host, variables)
    facts = gathered([host], {host: variables}).get(host) or kept or {}
    wanted = variables.get("hostfw_endpoints")
    if wanted is None:
        wanted = [{}]
    if not isinstance(wanted, (list, tuple)):
        raise InventoryError("hostfw_endpoints is not a list")
    labels = {prefix + name: "true" for name in variables.get("group_names") or [] if name != "ungrouped"}
    labels.update(_labels(variables))
    for entry in wanted:
        yield _endpoint(node, variables, labels, entry, facts)


def _endpoint(node, variables, labels, entry, facts):
    unknown = sorted(set(entry) - _ENDPOINT_FIELDS)
    if unknown:
        raise InventoryError(
            "an entry of hostfw_endpoints has no {}; it may have {}".format(
                unknown[0], ", ".join(sorted(_ENDPOINT_FIELDS))
            )
        )
    group = entry.get("interface_group")
    interface = entry.get("interface") or (None if group else variables.get("hostfw_interface") or ANY_INTERFACE)
    addresses = entry.get("addresses")
    if addresses is None:
        addresses = _addresses(variables, interface, facts)
    if not addresses:
        raise InventoryError(
            "no address is known, so that policies of other hosts would not find it; gather its facts first, "
            "or set hostfw_addresses"
        )
    spec = {"node": node}
    if interface:
        spec["interfaceName"] = interface
    if group:
        spec["interfaceGroup"] = group
    spec["expectedIPs"] = _ordered(addresses)
    for field in ("profiles", "ports"):
        if entry.get(field):
            spec[field] = list(entry[field])
    found = dict(labels)
    found.update(_texts(entry.get("labels")))
    name = entry.get("name") or "{}-{}".format(node, "all" if interface == ANY_INTERFACE else interface or group)
    metadata = {"name": _named(name), "labels": found}
    return {"apiVersion": API, "kind": "HostEndpoint", "metadata": metadata, "spec": spec}


def node_name(host):
    """The node of a host of the inventory that says none."""
    return _named(host)


def interface_addresses(facts):
    """The addresses of an interface in the facts, those of the link alone left out."""
    return _ordered(_of_interface(facts))


def _named(text):
    """A name that hostfw takes, of one that an inventory or an interface has."""
    return _NOT_IN_NAMES.sub("-", str(text).lower()).strip("-.")


def _addresses(variables, interface, facts):
    """The addresses in the inventory, or else in the facts: of the interface, or of those of `gathered`.

    The address that Ansible connects to is one of them in the latter case, or where facts say nothing.
    """
    said = variables.get("hostfw_addresses")
    if said is not None:
        return said
    interfaces = facts.get("interfaces") or {}
    names = [interface] if interface and interface != ANY_INTERFACE else facts.get("default") or []
    found = [address for name in names for address in interfaces.get(name) or []]
    if not found or interface == ANY_INTERFACE:
        connected = variables.get("ansible_host")
        if connected and _address(connected) is not None:
            found.append(connected)
    return found


def _of_interface(facts):
    for entry in [facts.get("ipv4") or {}, *list(facts.get("ipv4_secondaries") or [])]:
        if entry.get("address"):
            yield entry["address"]
    for entry in facts.get("ipv6") or []:
        if entry.get("scope") == "global":
            yield entry["address"]


def _ordered(addresses):
    if isinstance(addresses, str):
        raise InventoryError(f"addresses are a list, and not the text {addresses}")
    found = {}
    for text in addresses:
        address = _address(text)
        if address is None:
            raise InventoryError(f"{text} is not an address")
        found[(address.version, int(address))] = str(address)
    return [found[key] for key in sorted(found)]


def _address(text):
    try:
        return ipaddress.ip_address(str(text).partition("/")[0])
    except ValueError:
        return None


def fleet_hosts(hosts, variables):
    """Hosts that hostfw may run on: all but switches, and other systems that Ansible reaches in their way."""
    return [
        host
        for host in hosts
        if not variables[host].get("ansible_network_os")
        and str(variables[host].get("ansible_connection") or "").rpartition(".")[2] not in _OTHER_SYSTEMS
    ]


def merged(variables, name, besides=()):
    """The values of every variable `NAME_...` but those `besides`, by their names, and then that of `NAME`.

    Ansible takes the variable of one group alone; with names of their own each group adds its part.
    """
    found = [variables[one] for one in sorted(variables) if str(one).startswith(name + "_") and one not in besides]
    return [value for value in [*found, variables.get(name)] if value is not None]


def _labels(variables):
    """The labels of a host: those of its groups, over which its own come."""
    found = {}
    for labels in merged(variables, "hostfw_labels"):
        if not isinstance(labels, dict) and not hasattr(labels, "items"):
            raise InventoryError("hostfw_labels and hostfw_labels_... are mappings of labels")
        found.update(_texts(labels))
    return found


def _texts(labels):
    """Labels are texts; what YAML made a number or a truth value is written as a person would."""
    found = {}
    for key, value in (labels or {}).items():
        found[str(key)] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _document(resource):
    lines = ["---", "apiVersion: {}".format(resource["apiVersion"]), "kind: {}".format(resource["kind"])]
    for part in ("metadata", "spec"):
        lines.append(f"{part}:")
        for field, value in resource[part].items():
            lines.append(f"  {field}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value):
    """JSON, which YAML reads alike; mappings in the order of their keys."""
    import json

    return json.dumps(value, sort_keys=True, ensure_ascii=False)
