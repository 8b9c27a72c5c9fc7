#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_config."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_config
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Make the configuration directory of hostfw hold what another directory holds
description:
  - Replaces the configuration directory with the files of another one at one moment, so that nobody reads half of it.
  - Nothing is reloaded. What was put into force from O(src) and what the directory holds agree afterwards.
  - Files that hostfw leaves out, such as those that begin with a dot, stay where they are.
options:
  src:
    description: A directory on the host.
    type: path
    required: true
  dest:
    description: The configuration directory.
    type: path
    default: /etc/hostfw
  backup:
    description: A directory that is to hold what O(dest) held before, if that changes.
    type: path
  nothing_before:
    description:
      - Whether no rules of hostfw were in force before. O(backup) then says so in a file C(.nothing-was-in-force), even
        if no file of O(dest) changes, so that the way back takes the rules out of force.
      - An empty directory is something else. It denies what comes in, but for the failsafe ports.
    type: bool
    default: false
  record:
    description: A file that is to note what O(dest) holds, for M(hostfw.hostfw.hostfw_info) to tell what was edited.
    type: path
  clear:
    description: Directories and symbolic links to remove once O(dest) holds what it should, such as O(src).
    type: list
    elements: path
    default: []
  look:
    description:
      - Whether to return RV(now), which takes two runs of hostfwctl, and to fail where O(configuration) is not what is
        accepted, enforced and in O(dest).
    type: bool
    default: false
  service:
    description:
      - Whether the rules are to be loaded at boot (C(hostfw-boot.service)) and the daemon is to run
        (C(hostfw.service)).
      - They are asked about in one command, and nothing is done where it is so. C(hostfwctl disable) disables both.
    type: bool
    default: false
  configuration:
    description: The digest that O(src) must have, as M(hostfw.hostfw.hostfw_apply) returned it.
    type: str
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Names the files that are new, changed and gone.
seealso:
  - module: hostfw.hostfw.hostfw_apply
"""

EXAMPLES = r"""
- name: Make /etc agree with what is in force
  hostfw.hostfw.hostfw_config:
    src: /etc/hostfw.staging
"""

RETURN = r"""
files:
  description: The files that are new (+), changed (~) or gone (-).
  returned: success
  type: list
  elements: str
  sample: ["~ endpoints.yaml", "+ policies/web.yaml"]
service_changed:
  description: Whether a unit was enabled or started.
  returned: success
  type: bool
now:
  description:
    - What is in force afterwards, as M(hostfw.hostfw.hostfw_info) gives it without
      O(hostfw.hostfw.hostfw_info#module:details=false).
  returned: if O(look) is true
  type: dict
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl, state

_DAEMON = "hostfw.service"
_UNITS = ("hostfw-boot.service", _DAEMON)


def main():
    """Compare the files, and replace the directory if they differ."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "default": "/etc/hostfw"},
            "backup": {"type": "path"},
            "record": {"type": "path"},
            "configuration": {"type": "str"},
            "nothing_before": {"type": "bool", "default": False},
            "clear": {"type": "list", "elements": "path", "default": []},
            "look": {"type": "bool", "default": False},
            "service": {"type": "bool", "default": False},
            **hostfwctl.ARGUMENT_SPEC,
        },
        supports_check_mode=True,
    )
    src, dest, backup = (module.params[name] for name in ("src", "dest", "backup"))
    if not os.path.isdir(src):
        module.fail_json(msg=f"{src} is not a directory")
    try:
        old, new = configuration.contents(dest), configuration.contents(src)
        if module.params["configuration"] not in (None, configuration.digest(new)):
            module.fail_json(msg=f"{src} has changed since it was put into force; {dest} stays as it is")
        files = configuration.differences(old, new)
        nothing_before = module.params["nothing_before"]
        if not module.check_mode:
            if backup and (files or nothing_before):
                configuration.back_up(backup, old, like=dest, nothing=nothing_before)
            if files:
                configuration.replace(dest, new, like=src)
            if module.params["record"]:
                configuration.note(module.params["record"], new)
            _clear(module.params["clear"])
    except OSError as error:
        module.fail_json(msg=f"{dest} cannot be replaced: {error}")
    done = {"changed": bool(files), "files": files, "diff": {"prepared": "".join(line + "\n" for line in files)}}
    if module.params["look"]:
        done["now"] = state.look(module, dest, details=False, besides=dict(done))
        _insist(module, done)
    done["service_changed"] = module.params["service"] and _serve(module, done)
    done["changed"] = done["changed"] or done["service_changed"]
    module.exit_json(**done)


def _insist(module, done):
    """Fail unless what is accepted, enforced and in the directory is one and the same."""
    now, wanted = done["now"], module.params["configuration"]
    if module.check_mode or wanted is None or not now["installed"]:
        return
    if not (now["in_force"] and now["agrees"] and not now["waits"] and now["configuration"] == wanted):
        module.fail_json(
            msg="{} does not hold what this run put into force, or hostfw enforces something else; hostfwctl status "
            "says: {}".format(module.params["dest"], now["status"]),
            **done,
        )


def _serve(module, done):
    """Have the units enabled and the daemon run; True if that was a change."""
    asked, out, _err = module.run_command(["systemctl", "is-enabled", *_UNITS])
    running = module.run_command(["systemctl", "is-active", "--quiet", _DAEMON])[0]
    if asked == 0 and out.split() == ["enabled"] * len(_UNITS) and running == 0:
        return False
    if not module.check_mode:
        for arguments in (["enable", *_UNITS], ["start", _DAEMON]):
            status, _out, err = module.run_command(["systemctl", *arguments])
            if status != 0:
                module.fail_json(msg="systemctl {}: {}".format(" ".join(arguments), err.strip()), **done)
    return True


def _clear(paths):
    """Remove directories and links; what a link leads to stays."""
    for path in paths:
        if os.path.islink(path):
            os.unlink(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
