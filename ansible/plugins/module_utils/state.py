# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of hostfw on a host, as its verbs that only look tell it."""

from __future__ import annotations

import os

from ansible_collections.hostfw.hostfw.plugins.module_utils import configuration, hostfwctl

ARGUMENT_SPEC = dict(
    {"config_dir": {"type": "path", "default": "/etc/hostfw"}, "record": {"type": "path"}}, **hostfwctl.ARGUMENT_SPEC
)
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


def look(module, folder, record=None, *, details=True, besides=None):
    """The values that hostfw_info documents, of a configuration directory; fails the module if hostfw does not answer.

    Without `details` there is no history and no version, each of which is a run of hostfwctl. `besides` is what a
    module that fails here has done already.
    """
    if not os.path.exists(module.params["hostfwctl"]):
        return dict(_NOTHING)
    _exit, status, err = hostfwctl.run_json(module, "status")
    if not status:
        module.fail_json(
            msg=f"hostfw does not show the active generation and its state:\n{err.strip()}", **(besides or {})
        )
    history = hostfwctl.run_json(module, "history")[1] if details else {}
    version = hostfwctl.run_json(module, "version")[1] if details else {}
    differs = hostfwctl.run(module, "--config-dir", folder, "diff")[0]
    files = configuration.contents(folder)
    return {
        "installed": True,
        "in_force": status["inForce"],
        "generation": status["generation"] or "",
        "configuration": configuration.digest(files),
        "agrees": differs == hostfwctl.DONE,
        "edited": configuration.edited(record, files),
        "ssh_ports": _ssh_ports(module),
        "waits": status["confirmation"] is not None,
        "status": status,
        "history": history.get("items", []),
        "version": version,
    }


def _ssh_ports(module):
    """The ports of sshd's configuration; it tells nothing while it cannot start."""
    sshd = module.get_bin_path("sshd", opt_dirs=["/usr/sbin"])
    if not sshd:
        return []
    out = module.run_command([sshd, "-T"])[1]
    words = [line.split() for line in out.splitlines()]
    return sorted({int(line[1]) for line in words if len(line) == 2 and line[0] == "port" and line[1].isdigit()})
