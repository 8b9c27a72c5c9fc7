#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_apply
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Put a hostfw configuration into force
description:
  - Puts a directory into force on the host, as C(hostfwctl apply -f) does.
  - With O(confirm_within) the host rolls the change back by itself, unless M(hostfw.hostfw.hostfw_confirm) is run in
    time over a connection made since. The role P(hostfw.hostfw.hostfw#role) does all of it in the right order.
options:
  src:
    description: A directory on the host that holds the whole configuration, settings included.
    type: path
    required: true
  confirm_within:
    description:
      - For how many seconds the change is in force unless it is confirmed.
      - V(0) accepts it at once.
    type: int
    default: 120
  accept_lockout:
    description: Whether a change that hostfw finds to cut off connections in use is meant to.
    type: bool
    default: false
  accept_loss:
    description: Whether a change that loses most of policy, or leaves no interface governed, is meant to.
    type: bool
    default: false
  accept_removal:
    description:
      - Whether O(src) is meant to hold no policy, or to lack more than O(removal_share) of the policies or
        HostEndpoints that are in O(config_dir).
      - The host's own check, against the loss of most of its policy, is what O(accept_loss) is for.
    type: bool
    default: false
  removal_share:
    description: The percentage of policies, and of HostEndpoints, that may go without O(accept_removal).
    type: int
    default: 20
  guessed_nodes:
    description:
      - Nodes of which one address alone is known. Where HostEndpoints in O(config_dir) name more, O(src) is refused
        unless O(accept_removal) is true.
    type: list
    elements: str
    default: []
  config_dir:
    description: The configuration directory, which O(src) is compared with.
    type: path
    default: /etc/hostfw
  run:
    description: The run that must hold the host's lock, which M(hostfw.hostfw.hostfw_turn) takes.
    type: dict
  lock_dir:
    description: Where the lock is.
    type: path
    default: /run/hostfw-ansible
  packed:
    description: The digest of what was packed for this host on the controller, which O(src) must have.
    type: str
  packed_besides:
    description: Files of O(src) that were made for this host alone and are no part of O(packed).
    type: list
    elements: str
    default: []
  accept_shrink:
    description: Whether to believe Feeds whose files lost more than their C(maxShrink).
    type: bool
    default: false
  feeds_anywhere:
    description: Whether Feeds and symbolic links in O(src) may lead to files outside of it.
    type: bool
    default: false
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description:
      - Says whether the ruleset would change, and what that would close and open, and changes nothing.
      - Fails where hostfw would refuse the change, as a lock-out or a loss.
  diff_mode:
    support: full
    description: Shows which resources and settings differ from those that are accepted.
requirements:
  - PyYAML (python3-yaml), which hostfw itself needs
seealso:
  - module: hostfw.hostfw.hostfw_confirm
  - module: hostfw.hostfw.hostfw_config
"""

EXAMPLES = r"""
- name: Try the staged configuration for a minute and a half
  hostfw.hostfw.hostfw_apply:
    src: /etc/hostfw.staging
    confirm_within: 90
  register: applied

- name: Make the next task prove that a new connection can be made
  ansible.builtin.meta: reset_connection

- name: Keep it
  hostfw.hostfw.hostfw_confirm:
"""

RETURN = r"""
result:
  description: V(applied), or V(unchanged) where the ruleset is in force already.
  returned: success
  type: str
generation:
  description: The generation in force; none in check mode, when it is not known before the host has compiled it.
  returned: success
  type: str
confirm_by:
  description: Until when it must be confirmed (UTC), empty if it is accepted.
  returned: success
  type: str
attempt:
  description: A name of this call, which no other has.
  returned: success
  type: str
differences:
  description: The resources and settings that are new (+), changed (~) or gone (-), as C(hostfwctl diff) shows them.
  returned: success
  type: list
  elements: str
configuration:
  description: The digest of the files in O(src), without the settings.
  returned: success
  type: str
nothing_before:
  description: Whether no rules of hostfw were accepted before; false in check mode.
  returned: success
  type: bool
exposure:
  description: What the change closes and opens of the services of the host, C(change) and C(text) each.
  returned: success
  type: list
  elements: dict
hostfw_warnings:
  description: What hostfw warned about.
  returned: success
  type: list
  elements: str
inspection:
  description: The whole ApplyResult of hostfw.io/v1; empty in check mode.
  returned: success
  type: dict
"""

import traceback
import uuid

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl, removal, turn

try:
    import yaml
except ImportError:
    yaml = None
    _YAML_ERROR = traceback.format_exc()
else:
    _YAML_ERROR = None


def main():
    """Apply, or say what that would change."""
    spec = {
        "src": {"type": "path", "required": True},
        "confirm_within": {"type": "int", "default": 120},
        "accept_lockout": {"type": "bool", "default": False},
        "accept_loss": {"type": "bool", "default": False},
        "accept_removal": {"type": "bool", "default": False},
        "removal_share": {"type": "int", "default": 20},
        "config_dir": {"type": "path", "default": "/etc/hostfw"},
        "guessed_nodes": {"type": "list", "elements": "str", "default": []},
        "run": {"type": "dict"},
        "lock_dir": {"type": "path", "default": "/run/hostfw-ansible"},
        "packed": {"type": "str"},
        "packed_besides": {"type": "list", "elements": "str", "default": []},
        "accept_shrink": {"type": "bool", "default": False},
        "feeds_anywhere": {"type": "bool", "default": False},
    }
    spec.update(hostfwctl.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=_YAML_ERROR)
    staged = _staged(module)
    if not module.params["accept_removal"]:
        _refuse_removal(module, staged)
    differences = _differences(module)
    diff = {"prepared": differences}
    if module.check_mode:
        script, foretold = _script(module, differences), _foretold(module)
        module.exit_json(
            changed=bool(script),
            exposure=foretold.get("exposure", []),
            result="applied" if script else "unchanged",
            generation="",
            confirm_by="",
            attempt="",
            differences=differences.splitlines(),
            configuration=configuration.digest(staged),
            nothing_before=False,
            hostfw_warnings=[],
            inspection={},
            diff=diff,
        )
    nothing_before = _nothing_accepted(module)
    status, found, err = hostfwctl.run_json(module, *_arguments(module.params), cwd=module.params["src"])
    if status != hostfwctl.DONE:
        unsaved = found.get("saved") is False
        what = "put {} into force and could not save it" if unsaved else "did not put {} into force"
        module.fail_json(
            msg="hostfw {}:\n{}".format(what.format(module.params["src"]), hostfwctl.complaint(found, err)),
            rc=status,
            inspection=found,
            diff=diff,
        )
    module.exit_json(
        changed=found["result"] == "applied",
        exposure=found.get("exposure", []),
        result=found["result"],
        generation=found["generation"],
        confirm_by=found.get("confirmBy") or "",
        attempt=uuid.uuid4().hex,
        differences=differences.splitlines(),
        configuration=configuration.digest(staged),
        nothing_before=nothing_before,
        hostfw_warnings=[*found.get("warnings", []), *[item["message"] for item in found.get("problems", [])]],
        inspection=found,
        diff=diff,
    )


def _nothing_accepted(module):
    """True if a reboot would load no rules of hostfw now: a host that it is new to."""
    _exit, status, err = hostfwctl.run_json(module, "status")
    if not status:
        module.fail_json(msg=f"hostfw does not show the active generation and its state:\n{err.strip()}")
    met = status["inForce"] or status.get("ipVersions")
    return not met or status.get("accepted", True) is None


def _staged(module):
    """The files to be applied: those that were packed, by the run that holds the host's lock."""
    src, params = module.params["src"], module.params
    try:
        if params["run"] and not module.check_mode:
            turn.insist(params["lock_dir"], params["run"])
        staged = configuration.contents(src)
    except turn.HeldError as error:
        module.fail_json(msg=f"did not put {src} into force, and nothing was changed: {error}")
    except OSError as error:
        module.fail_json(msg=f"{src} cannot be read: {error}")
    if params["packed"] and configuration.digest(staged, params["packed_besides"]) != params["packed"]:
        module.fail_json(
            msg=f"did not put {src} into force, and nothing was changed: it is not what this run packed on the "
            "controller, so something else has written there meanwhile"
        )
    return staged


def _refuse_removal(module, new):
    """Fail, in check mode too, where the directory lacks too much of what the host has."""
    src = module.params["src"]
    try:
        old = configuration.contents(module.params["config_dir"])
    except OSError as error:
        module.fail_json(msg=f"the configurations cannot be compared: {error}")
    why = removal.refusal(
        removal.resources(old, _load_all), removal.resources(new, _load_all), module.params["removal_share"]
    )
    lost = removal.lost_addresses(old, new, module.params["guessed_nodes"], _load_all)
    lines = [why] if why else []
    lines.extend(
        f"the facts of {node} were not gathered, and this would take its address {', '.join(lost[node])} from "
        "policies; gather them, or set hostfw_addresses"
        for node in sorted(lost)
    )
    if lines:
        said = "\n".join(lines)
        module.fail_json(
            msg=f"did not put {src} into force, and nothing was changed:\n{said}\n"
            "look at the source of the policies and at the inventory; "
            "to do it anyway, set accept_removal (of the role: -e hostfw_accept_removal=true)"
        )


def _load_all(data):
    try:
        return list(yaml.load_all(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _arguments(params):
    """The verb with what it is told; the directory is the working directory, so that records name files below it."""
    arguments = ["apply", "-f", "."]
    if params["confirm_within"] > 0:
        arguments.extend(["--confirm-within", "{}s".format(params["confirm_within"])])
    if params["accept_lockout"]:
        arguments.append("--accept-lockout")
    if params["accept_loss"]:
        arguments.append("--accept-loss")
    if params["accept_shrink"]:
        arguments.append("--accept-shrink")
    return arguments + _anywhere(params)


def _anywhere(params):
    return ["--feeds-anywhere"] if params["feeds_anywhere"] else []


def _differences(module):
    """The differences from the accepted configuration, for people."""
    return _diff(module)


def _script(module, differences):
    """The nft script of the change, which follows the differences; empty where the ruleset stays as it is."""
    return _diff(module, "--nft")[len(differences) :].strip()


def _foretold(module):
    """The Comparison of hostfwctl, empty from one that has none; fails where `apply` would be refused."""
    arguments = ["diff", "-f", ".", *_anywhere(module.params)]
    found = hostfwctl.run_json(module, *arguments, cwd=module.params["src"])[1]
    refused = [one for one in found.get("refusals", []) if not module.params["accept_" + one["kind"]]]
    if refused:
        lines = [line for one in refused for line in (one["message"], *one["more"], one["hint"]) if line]
        module.fail_json(
            msg="hostfw would not put {} into force:\n{}".format(module.params["src"], "\n".join(lines)),
            exposure=found.get("exposure", []),
            refusals=refused,
        )
    return found


def _diff(module, *options):
    arguments = ["diff", "-f", ".", *_anywhere(module.params), *options]
    status, out, err = hostfwctl.run(module, *arguments, cwd=module.params["src"])
    if status not in (hostfwctl.DONE, hostfwctl.DIFFERS) or (status == hostfwctl.DIFFERS and not out):
        module.fail_json(msg="hostfw cannot compare {}:\n{}".format(module.params["src"], err.strip()), rc=status)
    return out


if __name__ == "__main__":
    main()
