#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_info
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: What hostfw has in force on a host
description:
  - Gives what C(hostfwctl status), C(hostfwctl history) and C(hostfwctl version) say, and whether the configuration
    directory agrees with what is accepted.
  - Does not fail where hostfw is not installed or nothing is in force, but says so.
options:
  config_dir:
    description: The configuration directory.
    type: path
    default: /etc/hostfw
  details:
    description: Whether to give RV(history), RV(workloads) and RV(version), each of which is a run of hostfwctl.
    type: bool
    default: true
  record:
    description: The file in which M(hostfw.hostfw.hostfw_config) noted what it put into O(config_dir).
    type: path
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
  diff_mode:
    support: none
    description: Never changes anything.
"""

EXAMPLES = r"""
- name: Look what is in force
  hostfw.hostfw.hostfw_info:
  register: firewall

- name: Insist that the host is protected as its files say
  ansible.builtin.assert:
    that:
      - firewall.in_force
      - firewall.agrees
      - firewall.status.drift == []

- name: Say where the databases of the shop run
  ansible.builtin.debug:
    msg: "{{ item.namespace }}/{{ item.name }} has {{ item.ipNetworks | join(', ') }}"
  loop: "{{ firewall.workloads | selectattr('labels.app', 'defined') | selectattr('labels.app', 'eq', 'db') }}"
"""

RETURN = r"""
installed:
  description: Whether there is a hostfwctl.
  returned: always
  type: bool
in_force:
  description: Whether a generation is in force.
  returned: always
  type: bool
generation:
  description: The generation in force, empty if there is none or it is not known.
  returned: always
  type: str
configuration:
  description:
    - A digest of the files of the configuration directory without the settings, which name the node.
    - Hosts that got the same configuration have the same one, whereas a generation is compiled for each host.
  returned: always
  type: str
agrees:
  description: Whether the configuration directory says what is accepted.
  returned: always
  type: bool
edited:
  description: The files of the directory that are new (+), changed (~) or gone (-) since O(record) was written.
  returned: always
  type: list
  elements: str
ssh_ports:
  description: The ports that sshd is configured to listen on, empty if it does not tell.
  returned: always
  type: list
  elements: int
waits:
  description: Whether what is in force waits to be confirmed.
  returned: always
  type: bool
status:
  description: The Status of hostfw.io/v1, empty if hostfw is not installed.
  returned: always
  type: dict
history:
  description: The stored generations, the latest first.
  returned: always
  type: list
  elements: dict
workloads:
  description:
    - The containers and machines of the host, of its configuration and those that run now, as C(hostfwctl workloads)
      lists them.
    - Each has C(namespace), C(name), C(labels), C(interface), C(ipNetworks), C(policies) and C(state), which is
      C(governed) if these policies decide about it.
  returned: always
  type: list
  elements: dict
version:
  description: The Version of hostfw.io/v1, empty if hostfw is not installed.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import hostfwctl, state


def main():
    """Ask the verbs that only look."""
    argument_spec = dict(state.ARGUMENT_SPEC, details={"type": "bool", "default": True})
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    details = module.params["details"]
    found = state.look(module, module.params["config_dir"], module.params["record"], details=details)
    workloads = hostfwctl.workloads(module, module.params["config_dir"]) if details else []
    module.exit_json(changed=False, workloads=workloads, **found)


if __name__ == "__main__":
    main()
