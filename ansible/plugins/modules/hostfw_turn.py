#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_turn."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_turn
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Take the lock of a host, and a staging directory of this run's own
description:
  - One run at a time changes the configuration of a host. Another one, of whatever controller, is refused until the
    first has given the lock up, or its lease is over, or it is known to have ended.
options:
  state:
    description:
      - V(taken) takes the lock, or renews it; V(released) gives it up, if it is this run's.
      - V(looking) takes none, and is for check mode.
    type: str
    choices: [taken, released, looking]
    default: taken
  gather:
    description:
      - Whether to return the facts of the host's interfaces as well, those that M(ansible.builtin.setup) has.
      - One module rather than two costs every host of a fleet a process and a round trip less.
    type: bool
    default: false
  look:
    description: Whether to return what M(hostfw.hostfw.hostfw_info) does, without its details.
    type: bool
    default: false
  config_dir:
    description: The configuration directory, for O(look).
    type: path
    default: /etc/hostfw
  staging:
    description:
      - The path of staging directories. This run gets an empty one that begins with it, and what other runs left is
        removed.
      - The path itself becomes a symbolic link to it.
    type: path
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.lock, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Takes no lock; a staging directory is made.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Take the host's lock
  hostfw.hostfw.hostfw_turn:
    run: "{{ lookup('hostfw.hostfw.run') }}"
    staging: /etc/hostfw.staging
  register: turn
"""

RETURN = r"""
staging:
  description: The staging directory, empty if none was asked for.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts.namespace import PrefixFactNamespace
from ansible.module_utils.facts.network.linux import LinuxNetworkCollector
from ansible_collections.hostfw.hostfw.plugins.module_utils import hostfwctl, state, turn


def main():
    """Take, renew or release the lock; make the directory."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["taken", "released", "looking"], "default": "taken"},
            "staging": {"type": "path"},
            "gather": {"type": "bool", "default": False},
            "look": {"type": "bool", "default": False},
            "config_dir": {"type": "path", "default": "/etc/hostfw"},
            **turn.ARGUMENT_SPEC,
            **hostfwctl.ARGUMENT_SPEC,
        },
        supports_check_mode=True,
    )
    wanted, run, folder = (module.params[name] for name in ("state", "run", "lock_dir"))
    staging = module.params["staging"]
    looking = wanted == "looking" or module.check_mode
    missing = sorted({"controller", "process", "who", "alive"} - set(run))
    if missing:
        module.fail_json(msg=f"run has no {missing[0]}; use lookup('hostfw.hostfw.run')")
    try:
        if wanted == "released":
            if not module.check_mode:
                turn.release(folder, run)
        elif not looking:
            turn.take(folder, run, module.params["lease"], module.params["force"])
        path = turn.place(staging, turn.key(run), alone=not looking) if staging and wanted != "released" else ""
    except turn.HeldError as error:
        module.fail_json(msg=f"nothing was changed: {error}", refused=True)
    except OSError as error:
        module.fail_json(msg=f"the host's lock or its staging directory cannot be made: {error}", refused=True)
    found = state.look(module, module.params["config_dir"], details=False) if module.params["look"] else {}
    if module.params["gather"]:
        found["ansible_facts"] = _interfaces(module)
    module.exit_json(changed=False, staging=path, **found)


def _interfaces(module):
    """The facts of network interfaces, by the names that Ansible gives them."""
    namespace = PrefixFactNamespace(namespace_name="ansible", prefix="ansible_")
    return LinuxNetworkCollector(namespace=namespace).collect_with_namespace(module=module)


if __name__ == "__main__":
    main()
