#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_confirm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_confirm
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Keep, or roll back, what hostfw has in force until it is confirmed
description:
  - Accepts what M(hostfw.hostfw.hostfw_apply) put into force with a deadline, or rolls it back at once.
  - A confirmation counts only over an ssh connection that was made after the change. Reset the connection before.
options:
  state:
    description:
      - V(accepted) keeps what is in force.
      - V(taken-back) goes back to what was accepted before, without waiting for the deadline.
    type: str
    choices: [accepted, taken-back]
    default: accepted
  console:
    description:
      - Whether to confirm without a new ssh connection, as with C(ansible_connection=local).
      - Nothing shows then that the host can still be reached.
    type: bool
    default: false
  behind:
    description:
      - Hosts of the batch that cannot keep the change. Where there are any, nothing is accepted and the module fails.
    type: list
    elements: str
    default: []
  confirm_by:
    description:
      - The deadline of what is to be accepted, as M(hostfw.hostfw.hostfw_apply) returned it. If something else waits
        meanwhile, this fails and leaves it waiting.
    type: str
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Says whether something waits, and leaves it waiting.
  diff_mode:
    support: none
    description: There is nothing to show.
seealso:
  - module: hostfw.hostfw.hostfw_apply
"""

EXAMPLES = r"""
- name: Keep what is in force
  hostfw.hostfw.hostfw_confirm:

- name: Go back at once
  hostfw.hostfw.hostfw_confirm:
    state: taken-back
"""

RETURN = r"""
result:
  description: V(accepted), V(taken-back), or V(unchanged) where nothing waited.
  returned: success
  type: str
generation:
  description: The generation that is in force now, empty for none.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hostfw.hostfw.plugins.module_utils import hostfwctl


def main():
    """Confirm or roll back, where something waits."""
    spec = {
        "state": {"type": "str", "choices": ["accepted", "taken-back"], "default": "accepted"},
        "console": {"type": "bool", "default": False},
        "behind": {"type": "list", "elements": "str", "default": []},
        "confirm_by": {"type": "str"},
    }
    spec.update(hostfwctl.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    state = module.params["state"]
    if module.params["behind"] and state == "accepted":
        module.fail_json(msg="not kept, because of {}".format(", ".join(module.params["behind"])))
    wanted = module.params["confirm_by"] if state == "accepted" else None
    if module.check_mode or wanted or state == "taken-back":
        _exit, before, err = hostfwctl.run_json(module, "status")
        if not before:
            module.fail_json(msg=f"hostfw does not show the active generation and its state:\n{err.strip()}")
        waiting = before["confirmation"]
        if wanted and waiting is None:
            module.fail_json(
                msg="what this run put into force waits no more: it was rolled back, or accepted by another"
            )
        if wanted and waiting.get("deadline", wanted) != wanted:
            module.fail_json(
                msg=f"what waits to be confirmed until {waiting['deadline']} is not what this run put into force: "
                "something else was applied meanwhile"
            )
        if module.check_mode or before["confirmation"] is None:
            waits = before["confirmation"] is not None
            module.exit_json(
                changed=waits, result=state if waits else "unchanged", generation=before["generation"] or ""
            )
    if state == "taken-back":
        arguments = ["rollback"]
    else:
        arguments = ["confirm", "--console"] if module.params["console"] else ["confirm"]
    status, found, err = hostfwctl.run_json(module, *arguments)
    if status != hostfwctl.DONE:
        module.fail_json(msg=hostfwctl.complaint(found, err), rc=status, result=found.get("result", "failed"))
    result = "taken-back" if found["result"] == "rolled-back" else found["result"]
    module.exit_json(changed=result != "unchanged", result=result, generation=found.get("generation") or "")


if __name__ == "__main__":
    main()
