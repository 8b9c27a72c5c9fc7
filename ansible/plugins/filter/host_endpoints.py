# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter hostfw.hostfw.host_endpoints."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_endpoints
author: The hostfw authors
version_added: 0.1.0
short_description: HostEndpoints of an inventory, as YAML
description:
  - Makes HostEndpoint manifests of what the inventory and the facts say about hosts, so that selectors in policies
    mean the fleet.
  - A host has the labels of C(hostfw_labels) and one for each of its groups.
  - Its addresses are those of C(hostfw_addresses), or else those of its facts, or else the one in C(ansible_host).
  - The same inventory and facts give the same bytes.
positional: _input, hosts
options:
  _input:
    description: The variables of each host, which is C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts that get HostEndpoints.
    type: list
    elements: str
    required: true
  group_label_prefix:
    description: What stands before the name of a group in the label that its hosts get.
    type: str
    default: group/
  snapshot:
    description: Addresses of hosts without facts, as M(hostfw.hostfw.hostfw_snapshot) gives them.
    type: dict
"""

EXAMPLES = r"""
- name: Write the HostEndpoints of the whole inventory
  ansible.builtin.copy:
    content: "{{ hostvars | hostfw.hostfw.host_endpoints(groups['all']) }}"
    dest: etc/endpoints.yaml
    mode: "0644"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_value:
  description: A YAML text of one document for each HostEndpoint, in the order of their names.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hostfw.hostfw.plugins.module_utils import allow, host_facts
from ansible_collections.hostfw.hostfw.plugins.module_utils.inventory import (
    InventoryError,
    fleet_hosts,
    gathered,
    guessed,
    host_endpoints,
    manifests,
    merged,
)
from ansible_collections.hostfw.hostfw.plugins.module_utils.plain import PlainVariables, VaultedError, plain


def _host_endpoints(hostvars, hosts, group_label_prefix="group/", snapshot=None):
    missing = [host for host in hosts if host not in hostvars]
    if missing:
        raise AnsibleFilterError("not in the inventory: {}".format(", ".join(missing)))
    try:
        return manifests(host_endpoints(hosts, _variables(hostvars, hosts), group_label_prefix, snapshot))
    except InventoryError as error:
        raise AnsibleFilterError(f"these hosts cannot become HostEndpoints:\n{error}") from error


def _variables(hostvars, hosts):
    return {host: PlainVariables(hostvars[host]) for host in hosts if host in hostvars}


def _gathered(hostvars, hosts):
    known = _variables(hostvars, hosts)
    return _checked(lambda: gathered(list(known), known))


def _guessed(hostvars, hosts, snapshot=None):
    known = _variables(hostvars, hosts)
    return _checked(lambda: guessed(list(known), known, snapshot))


def _facts(hostvars, host, snapshot=None):
    """The HostFacts of a host, and where they are from."""
    known = PlainVariables(hostvars[host])
    try:
        found, source = host_facts.host_facts(host, known, (snapshot or {}).get(host))
    except (InventoryError, VaultedError) as error:
        raise AnsibleFilterError(f"nothing is known of {host}: {error}") from error
    return {"facts": plain(found, "facts"), "source": source}


def _fleet(hosts, hostvars):
    return fleet_hosts([host for host in hosts if host in hostvars], hostvars)


def _plain(value, name):
    """A value of variables as plain data, whatever is vaulted in it."""
    return _checked(lambda: plain(value, name))


def _allowed(variables, order, group_label_prefix="group/", after=()):
    """The policies of hostfw_allow and hostfw_allow_... of a host, behind the resources of `after`."""
    try:
        said = merged(PlainVariables(variables), "hostfw_allow", besides=("hostfw_allow_order",))
        return [*after, *allow.policies(allow.joined(said), order, group_label_prefix)]
    except (allow.AllowError, VaultedError) as error:
        raise AnsibleFilterError(str(error)) from error


def _checked(find):
    try:
        return find()
    except VaultedError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """The filters by name."""
        return {
            "host_endpoints": _host_endpoints,
            "host_addresses": _gathered,
            "host_guesses": _guessed,
            "fleet_hosts": _fleet,
            "host_facts": _facts,
            "allowed": _allowed,
            "plain": _plain,
        }
