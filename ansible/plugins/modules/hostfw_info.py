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
  record:
    description: The file in which M(hostfw.hostfw.hostfw_config) noted what it put into O(config_dir).
    type: path
  hostfwctl:
    description: The command on the host.
    type: path
    default: /usr/bin/hostfwctl
attributes:
  check_mode:
    support: full
    description: Never changes anything.
  diff_mode:
    support: none
    description: Never changes anything.
  platform:
    support: full
    platforms: debian
    description: The systems that it runs on.
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
version:
  description: The Version of hostfw.io/v1, empty if hostfw is not installed.
  returned: always
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl

_NOTHING = {
    "installed": False,
    "in_force": False,
    "generation": "",
    "configuration": "",
    "agrees": False,
    "edited": [],
    "ssh_ports": [],
    "waits": False,
    "status": {},
    "history": [],
    "version": {},
}


def main():
    """Ask the verbs that only look."""
    spec = {"config_dir": {"type": "path", "default": "/etc/hostfw"}, "record": {"type": "path"}}
    spec.update(hostfwctl.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if not os.path.exists(module.params["hostfwctl"]):
        module.exit_json(changed=False, **_NOTHING)
    _, status, err = hostfwctl.run_json(module, "status")
    if not status:
        module.fail_json(msg=f"hostfw does not show the active generation and its state:\n{err.strip()}")
    _, history, _ = hostfwctl.run_json(module, "history")
    _, version, _ = hostfwctl.run_json(module, "version")
    folder = module.params["config_dir"]
    differs, _, _ = hostfwctl.run(module, "--config-dir", folder, "diff")
    files = configuration.contents(folder)
    module.exit_json(
        changed=False,
        installed=True,
        in_force=status["inForce"],
        generation=status["generation"] or "",
        configuration=configuration.digest(files),
        agrees=differs == hostfwctl.DONE,
        edited=configuration.edited(module.params["record"], files),
        ssh_ports=_ssh_ports(module),
        waits=status["confirmation"] is not None,
        status=status,
        history=history.get("items", []),
        version=version,
    )


def _ssh_ports(module):
    """The ports of sshd's configuration; it tells nothing while it cannot start."""
    sshd = module.get_bin_path("sshd", opt_dirs=["/usr/sbin"])
    if not sshd:
        return []
    _, out, _ = module.run_command([sshd, "-T"])
    words = [line.split() for line in out.splitlines()]
    return sorted({int(line[1]) for line in words if len(line) == 2 and line[0] == "port" and line[1].isdigit()})


if __name__ == "__main__":
    main()
