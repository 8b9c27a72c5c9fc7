#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_snapshot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_snapshot
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Keep the addresses of a fleet for runs that do not reach all of it
description:
  - Brings a file on the controller up to date with the addresses of the hosts whose facts were gathered, and gives
    those of all hosts. What is known of the others stays, with the day on which they were seen.
  - The file may be kept in the repository of the inventory, beside it.
options:
  path:
    description: The file; empty for none.
    type: path
    required: true
  hosts:
    description: The addresses of hosts, as the filter P(hostfw.hostfw.host_addresses#filter) gives them.
    type: dict
    required: true
  inventory:
    description: All hosts. Others are forgotten three months after they were seen.
    type: list
    elements: str
    required: true
  write:
    description: Whether to write the file.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: The file is for programs.
  platform:
    support: full
    platforms: posix
    description: The systems that it runs on.
"""

EXAMPLES = r"""
- name: Keep the addresses of the fleet
  hostfw.hostfw.hostfw_snapshot:
    path: "{{ inventory_dir }}/.hostfw-addresses.json"
    hosts: "{{ hostvars | hostfw.hostfw.host_addresses(groups['all']) }}"
    inventory: "{{ groups['all'] }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
hosts:
  description: The addresses of all hosts that are known, those of this run and those that were kept.
  returned: success
  type: dict
notes:
  description: What a person should know, such as how old addresses are.
  returned: success
  type: list
  elements: str
"""

import datetime as dt

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import snapshot


def main():
    """Merge, write, and say what is old."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "hosts": {"type": "dict", "required": True},
            "inventory": {"type": "list", "elements": "str", "required": True},
            "write": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    write = module.params["write"] and not module.check_mode
    today = dt.datetime.now(dt.timezone.utc).date()
    try:
        merged, changed, notes = snapshot.refresh(
            path, module.params["hosts"], module.params["inventory"], today, write
        )
    except snapshot.SnapshotError as error:
        module.fail_json(msg=f"{error}; remove it, and run this with all hosts in reach, to make it anew")
    module.exit_json(changed=changed, hosts=merged, notes=notes)


if __name__ == "__main__":
    main()
