#!/usr/bin/python
# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module hostfw.hostfw.hostfw_policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hostfw_policy
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Have a policy, or another resource, in a configuration directory of hostfw
description:
  - Writes one resource into a file of its own, or removes that file.
  - The whole directory is validated with the change before anything is written. What hostfw refuses is not written.
  - Nothing is put into force. M(hostfw.hostfw.hostfw_apply) does that, with a way back.
options:
  resource:
    description:
      - The manifest, a C(GlobalNetworkPolicy) or any other kind.
      - C(apiVersion) may be left out. With O(state=absent), C(kind) and C(metadata.name) are enough.
    type: dict
    required: true
  state:
    description: Whether the resource is to be there.
    type: str
    choices: [present, absent]
    default: present
  config_dir:
    description: The directory, which may be a staging directory.
    type: path
    default: /etc/hostfw
  path:
    description: The file, below O(config_dir). By default it is named after the kind and the name of the resource.
    type: str
extends_documentation_fragment: [hostfw.hostfw.host.command, hostfw.hostfw.host.platform]
attributes:
  check_mode:
    support: full
    description: Validates, and says whether the file would change.
  diff_mode:
    support: full
    description: Shows the file before and after.
requirements:
  - PyYAML (python3-yaml), which hostfw itself needs
seealso:
  - module: hostfw.hostfw.hostfw_apply
"""

EXAMPLES = r"""
- name: Let the monitoring in
  hostfw.hostfw.hostfw_policy:
    resource:
      kind: GlobalNetworkPolicy
      metadata:
        name: monitoring
      spec:
        order: 200
        selector: all()
        types: [Ingress]
        ingress:
          - action: Allow
            protocol: TCP
            source:
              selector: role == 'monitoring'
            destination:
              ports: [9100]

- name: Put it into force
  hostfw.hostfw.hostfw_apply:
    src: /etc/hostfw
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/hostfw/globalnetworkpolicy/monitoring.yaml
"""

import os
import shutil
import tempfile
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl

try:
    import yaml
except ImportError:
    yaml = None
    _YAML_ERROR = traceback.format_exc()
else:
    _YAML_ERROR = None

_EXTENSIONS = ("InterfaceGroup", "Feed")


def main():
    """Compare, validate the directory as it would be, and write."""
    spec = {
        "resource": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "config_dir": {"type": "path", "default": "/etc/hostfw"},
        "path": {"type": "str"},
    }
    spec.update(hostfwctl.ARGUMENT_SPEC)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if yaml is None:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=_YAML_ERROR)
    resource, folder = module.params["resource"], module.params["config_dir"]
    kind, name = resource.get("kind"), (resource.get("metadata") or {}).get("name")
    if not kind or not name:
        module.fail_json(msg="resource needs a kind and a metadata.name")
    relative = os.path.normpath(module.params["path"] or f"{kind.lower()}/{name}.yaml")
    refusal = configuration.why_not_read(relative)
    if refusal:
        module.fail_json(msg=refusal)
    try:
        old = configuration.contents(folder)
    except OSError as error:
        module.fail_json(msg=f"{folder} cannot be read: {error}")
    new = dict(old)
    if module.params["state"] == "present":
        new[relative] = text(resource).encode()
    else:
        new.pop(relative, None)
    changed = old != new
    path = os.path.join(folder, relative)
    if changed:
        _validate(module, new)
        if not module.check_mode:
            if relative in new:
                configuration.write(path, new[relative])
            else:
                os.unlink(path)
    module.exit_json(
        changed=changed,
        path=path,
        diff={
            "before": old.get(relative, b"").decode(errors="replace"),
            "after": new.get(relative, b"").decode(),
            "before_header": path,
            "after_header": path,
        },
    )


def text(resource):
    """A manifest as a person would write it, the same for the same resource."""
    head = {"apiVersion": "hostfw.io/v1" if resource["kind"] in _EXTENSIONS else "projectcalico.org/v3"}
    head.update((field, resource[field]) for field in ("apiVersion", "kind", "metadata", "spec") if field in resource)
    head.update((field, value) for field, value in resource.items() if field not in head)
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _validate(module, files):
    folder = tempfile.mkdtemp(prefix="hostfw-", dir=module.tmpdir)
    try:
        for path, data in files.items():
            configuration.write(os.path.join(folder, path), data)
        # It is the configuration of the host, which may name any file of root's.
        status, found, err = hostfwctl.run_json(module, "validate", "--feeds-anywhere", "-f", ".", cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if status != hostfwctl.DONE:
        document = {"problems": [item for item in found.get("items", []) if item.get("severity") != "warning"]}
        module.fail_json(msg=f"hostfw refuses this:\n{hostfwctl.complaint(document, err)}", rc=status)


if __name__ == "__main__":
    main()
