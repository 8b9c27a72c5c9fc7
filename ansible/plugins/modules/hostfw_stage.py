#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_stage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_stage
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Lay a configuration out on a host, in a directory of this run's own, and validate it there
description:
  - Takes the host's lock, looks what is in force, and puts the files into a staging directory, all in one round trip.
  - Nothing of it changes what is enforced or the configuration directory.
  - An action plugin reads O(archive) on the controller and sends it along.
options:
  archive:
    description: A gzipped tar file on the controller, as C(tar -czf FILE -C DIRECTORY .) makes it.
    type: str
    required: true
  exclude:
    description: Files of the archive to leave out.
    type: list
    elements: str
    default: []
  files:
    description: Further files of this host, path to text; encoded on the way, as they may tell secrets.
    type: raw
  settings:
    description:
      - What C(hostfw.yaml) is to say. Ports of sshd other than 22 are added to the failsafe ports, unless the settings
        say C(failsafe.inbound).
    type: raw
  state:
    description: V(taken) takes the host's lock or renews it; V(looking) takes none, and is for check mode.
    type: str
    choices: [taken, looking]
    default: taken
  staging:
    description: The path of staging directories, as for M(hostfw.hostfw.hostfw_turn).
    type: path
    default: /etc/hostfw.staging
  validate:
    description: Whether to validate what was laid out; a module that adds to it validates it afterwards.
    type: bool
    default: true
  feeds_anywhere:
    description: Whether Feeds and symbolic links may lead to files outside of the directory.
    type: bool
    default: false
  config_dir:
    description: The configuration directory.
    type: path
    default: /etc/hostfw
  record:
    description: The file in which M(hostfw.hostfw.hostfw_config) noted what it put into O(config_dir).
    type: path
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.lock, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Takes no lock; a staging directory is made.
  diff_mode:
    support: none
    description: There is nothing to show.
requirements:
  - PyYAML (python3-yaml), which hostfw itself needs
seealso:
  - module: hostfw.hostfw.hostfw_apply
  - module: hostfw.hostfw.hostfw_turn
"""

EXAMPLES = r"""
- name: Stage the configuration
  hostfw.hostfw.hostfw_stage:
    archive: /tmp/etc.tar.gz
    settings: {node: "{{ inventory_hostname }}"}
    run: "{{ lookup('hostfw.hostfw.run') }}"
  register: staged
"""

RETURN = r"""
staging:
  description: The staging directory, empty where hostfw is not installed.
  returned: success
  type: str
installed:
  description: Whether there is a hostfwctl. RV(in_force) and all else that M(hostfw.hostfw.hostfw_info) gives follow.
  returned: success
  type: bool
in_force:
  description: Whether a generation is in force.
  returned: success
  type: bool
edited:
  description: The files of the directory that are new (+), changed (~) or gone (-) since O(record) was written.
  returned: success
  type: list
  elements: str
"""

import base64
import binascii
import io
import json
import os
import tarfile
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl, rollout, state, turn

try:
    import yaml
except ImportError:
    yaml = None
    _YAML_ERROR = traceback.format_exc()
else:
    _YAML_ERROR = None


def main():
    """Look, take the lock, lay the files out, validate."""
    spec = {
        # Encoded: otherwise each word of them would be blotted out of what is said.
        "archive": {"type": "str", "required": True, "no_log": True},
        "files": {"type": "raw", "no_log": True},
        "settings": {"type": "raw", "no_log": True},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "state": {"type": "str", "choices": ["taken", "looking"], "default": "taken"},
        "staging": {"type": "path", "default": "/etc/hostfw.staging"},
        "validate": {"type": "bool", "default": True},
        "feeds_anywhere": {"type": "bool", "default": False},
    }
    spec.update(turn.ARGUMENT_SPEC, **state.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    looking = params["state"] == "looking" or module.check_mode
    here = state.look(module, params["config_dir"], params["record"], details=False)
    if not here["installed"]:
        if not looking:
            module.fail_json(msg="there is no {} here; hostfw_install: true installs it".format(params["hostfwctl"]))
        said = "hostfw is to be installed first, so that its policies cannot be compared yet"
        module.exit_json(changed=True, staging="", msg=said, **here)
    if yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=_YAML_ERROR)
    try:
        if not looking:
            turn.take(params["lock_dir"], params["run"], params["lease"], params["force"])
        folder = turn.place(params["staging"], turn.key(params["run"]), alone=not looking)
        _lay_out(folder, params, here["ssh_ports"])
    except turn.HeldError as error:
        module.fail_json(msg=f"nothing was changed: {error}")
    except (OSError, tarfile.TarError, ValueError, binascii.Error) as error:
        module.fail_json(msg=f"nothing was changed: the configuration cannot be staged: {error}")
    if params["validate"]:
        _validate(module, folder)
    module.exit_json(changed=False, staging=folder, **here)


def _lay_out(folder, params, ssh_ports):
    """Write the files of all hosts, and those of this one."""
    _unpack(base64.b64decode(params["archive"]), folder, frozenset(params["exclude"]))
    own = _decoded(params["files"])
    settings = rollout.with_ssh(_decoded(params["settings"]), ssh_ports)
    text = yaml.dump(
        settings, Dumper=yaml.SafeDumper, indent=2, width=120, allow_unicode=True, default_flow_style=False
    )
    for path, content in {**own, "hostfw.yaml": text}.items():
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target), configuration.FOLDER_MODE, exist_ok=True)
        _write(target, content.encode(), configuration.FILE_MODE)


def _decoded(value):
    return json.loads(base64.b64decode(value)) if value else {}


def _unpack(data, folder, exclude):
    """Lay an archive out, folders and plain files alone; raises ValueError for anything else."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            path = os.path.normpath(member.name)
            if os.path.isabs(path) or path.split(os.sep)[0] == "..":
                raise ValueError(f"the archive names {member.name}, which is not below the directory")
            target = os.path.join(folder, path)
            if path in exclude or path == ".":
                continue
            if member.isdir():
                os.makedirs(target, member.mode & 0o777 | 0o700, exist_ok=True)
            elif member.isfile():
                os.makedirs(os.path.dirname(target), configuration.FOLDER_MODE, exist_ok=True)
                with archive.extractfile(member) as file:
                    _write(target, file.read(), member.mode & 0o777)
            else:
                raise ValueError(f"{member.name} in the archive is neither a file nor a directory")


def _write(path, data, mode):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def _validate(module, folder):
    """Fail with what hostfw says where the configuration is not valid."""
    arguments = ["--quiet", "validate", "-f", "."]
    if module.params["feeds_anywhere"]:
        arguments.append("--feeds-anywhere")
    status, out, err = hostfwctl.run(module, *arguments, cwd=folder)
    if status != hostfwctl.DONE:
        module.fail_json(
            msg=f"the configuration is not valid here, and nothing was changed:\n{out}{err}",
            rc=status,
            staging=folder,
        )


if __name__ == "__main__":
    main()
