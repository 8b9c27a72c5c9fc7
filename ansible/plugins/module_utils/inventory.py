# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""HostEndpoints of an inventory: what the variables and facts of each host say, as manifests that hosts share."""

from __future__ import annotations

__metaclass__ = type

import ipaddress
import re

API = "projectcalico.org/v3"
ANY_INTERFACE = "*"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")
_ENDPOINT_FIELDS = frozenset(("name", "interface", "interface_group", "addresses", "labels", "profiles", "ports"))


class InventoryError(Exception):
    """What an inventory says that cannot become HostEndpoints."""


def host_endpoints(hosts, variables, group_label_prefix="group/"):
    """The HostEndpoints of these hosts, by name; `variables` maps each host to its variables and facts.

    Everything that is wrong is raised at once, as an InventoryError.
    """
    endpoints, owners, problems = [], {}, []
    for host in sorted(hosts):
        try:
            for endpoint in _of_host(host, variables[host], group_label_prefix):
                name = endpoint["metadata"]["name"]
                if name in owners:
                    raise InventoryError(
                        "HostEndpoint {0} is also one of {1}; give one of them a `name`".format(name, owners[name])
                    )
                owners[name] = host
                endpoints.append(endpoint)
        except InventoryError as error:
            problems.append("{0}: {1}".format(host, error))
    if problems:
        raise InventoryError("\n".join(problems))
    return sorted(endpoints, key=lambda endpoint: endpoint["metadata"]["name"])


def manifests(resources):
    """Resources as a YAML text: a document each, JSON flow where it is as clear, the same bytes for the same input."""
    return "".join(_document(resource) for resource in resources)


def _of_host(host, variables, prefix):
    node = str(variables.get("hostfw_node") or host)
    wanted = variables.get("hostfw_endpoints")
    if wanted is None:
        wanted = [{}]
    if not isinstance(wanted, (list, tuple)):
        raise InventoryError("hostfw_endpoints is not a list")
    labels = dict((prefix + name, "true") for name in variables.get("group_names") or [])
    labels.update(_texts(variables.get("hostfw_labels")))
    for entry in wanted:
        yield _endpoint(host, node, variables, labels, entry)


def _endpoint(host, node, variables, labels, entry):
    unknown = sorted(set(entry) - _ENDPOINT_FIELDS)
    if unknown:
        raise InventoryError(
            "an entry of hostfw_endpoints has no {0}; it may have {1}".format(unknown[0], ", ".join(sorted(_ENDPOINT_FIELDS)))
        )
    group = entry.get("interface_group")
    interface = entry.get("interface") or (None if group else variables.get("hostfw_interface") or ANY_INTERFACE)
    addresses = entry.get("addresses")
    if addresses is None:
        addresses = _addresses(variables, interface)
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
    name = entry.get("name") or "{0}-{1}".format(node, "all" if interface == ANY_INTERFACE else interface or group)
    metadata = {"name": _NOT_IN_NAMES.sub("-", str(name).lower()).strip("-."), "labels": found}
    return {"apiVersion": API, "kind": "HostEndpoint", "metadata": metadata, "spec": spec}


def _addresses(variables, interface):
    """What the inventory says; or else the facts of the interface, or of those with a default route; or else the
    address that Ansible connects to."""
    said = variables.get("hostfw_addresses")
    if said is not None:
        return said
    facts = variables.get("ansible_facts") or {}
    found = []
    if interface and interface != ANY_INTERFACE:
        found.extend(_of_interface(facts.get(re.sub(r"[-:.]", "_", interface)) or {}))
    else:
        for family in ("default_ipv4", "default_ipv6"):
            default = facts.get(family) or {}
            if default.get("interface"):
                found.extend(_of_interface(facts.get(re.sub(r"[-:.]", "_", default["interface"])) or {}))
    if not found or interface == ANY_INTERFACE:
        connected = variables.get("ansible_host")
        if connected and _address(connected) is not None:
            found.append(connected)
    return found


def _of_interface(facts):
    for entry in [facts.get("ipv4") or {}] + list(facts.get("ipv4_secondaries") or []):
        if entry.get("address"):
            yield entry["address"]
    for entry in facts.get("ipv6") or []:
        if entry.get("scope") == "global":
            yield entry["address"]


def _ordered(addresses):
    if isinstance(addresses, str):
        raise InventoryError("addresses are a list, and not the text {0}".format(addresses))
    found = {}
    for text in addresses:
        address = _address(text)
        if address is None:
            raise InventoryError("{0} is not an address".format(text))
        found[(address.version, int(address))] = str(address)
    return [found[key] for key in sorted(found)]


def _address(text):
    try:
        return ipaddress.ip_address(str(text).partition("/")[0])
    except ValueError:
        return None


def _texts(labels):
    """Labels are texts; what YAML made a number or a truth value is written as a person would."""
    found = {}
    for key, value in (labels or {}).items():
        found[str(key)] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _document(resource):
    lines = ["---", "apiVersion: {0}".format(resource["apiVersion"]), "kind: {0}".format(resource["kind"])]
    for part in ("metadata", "spec"):
        lines.append("{0}:".format(part))
        for field, value in resource[part].items():
            lines.append("  {0}: {1}".format(field, _flow(value)))
    return "\n".join(lines) + "\n"


def _flow(value):
    """JSON, which YAML reads alike; mappings in the order of their keys."""
    import json

    return json.dumps(value, sort_keys=True, ensure_ascii=False)
