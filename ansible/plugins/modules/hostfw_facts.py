#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_facts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_facts
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Gather facts of hostfw on a host
description:
  - What M(hostfw.hostfw.hostfw_info) tells, but for the history, and the interfaces as hostfw sees them, as the fact
    C(ansible_facts.hostfw).
  - Where facts are cached, the playbook C(hostfw.hostfw.render) knows the host exactly by them, with groups of links
    and with addresses that a neighbour gave.
options:
  config_dir:
    description: The configuration directory.
    type: path
    default: /etc/hostfw
  record:
    description: The file in which M(hostfw.hostfw.hostfw_config) noted what it put into O(config_dir).
    type: path
    default: /var/lib/hostfw-ansible/deployed.json
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
  diff_mode:
    support: none
    description: Never changes anything.
  facts:
    support: full
    description: Its result is the fact C(hostfw).
"""

EXAMPLES = r"""
- name: Gather facts of hostfw
  hostfw.hostfw.hostfw_facts:

- name: Insist that the host is protected as its files say
  ansible.builtin.assert:
    that:
      - ansible_facts.hostfw.in_force
      - ansible_facts.hostfw.agrees

- name: Gather them together with those of Ansible
  ansible.builtin.gather_facts:
  vars:
    ansible_facts_modules: [ansible.legacy.setup, hostfw.hostfw.hostfw_facts]
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    hostfw:
      description:
        - The values that M(hostfw.hostfw.hostfw_info) returns, without C(history).
        - C(host_facts) are the HostFacts of hostfw.io/v1, and are left out where hostfw is not installed.
      returned: success
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import hostfwctl, state


def main():
    """Look, and ask for the interfaces as well."""
    spec = dict(state.ARGUMENT_SPEC, record={"type": "path", "default": "/var/lib/hostfw-ansible/deployed.json"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    found = state.look(module, module.params["config_dir"], module.params["record"])
    del found["history"]
    if found["installed"]:
        facts = hostfwctl.run_json(module, "interfaces")[1]
        if facts:
            found["host_facts"] = facts
    module.exit_json(changed=False, ansible_facts={"hostfw": found})


if __name__ == "__main__":
    main()
