# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lookup hostfw.hostfw.run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run
author: The hostfw authors (@hostfw)
version_added: 0.1.0
short_description: Which run of Ansible this is
description:
  - Names this run, for locks on hosts. It is the same for all tasks of one C(ansible-playbook).
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ lookup('hostfw.hostfw.run') }}"
"""

RETURN = r"""
_raw:
  description:
    - C(controller), the machine and its boot; C(process), the run on it; C(who), for people; C(alive), the runs of
      Ansible on this controller.
  type: list
  elements: dict
"""

import getpass
import os
import socket

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """The run that this process is part of."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 - Ansible's signature
        """Find the outermost process of this run, and those of all others."""
        alive = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                found = _ansible(int(name))
                if found:
                    alive[int(name)] = found
        own = pid = os.getpid()
        while pid in alive:
            own, pid = pid, alive[pid][1]
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return [
            {
                "controller": _controller(),
                "process": alive[own][0] if own in alive else str(own),
                "who": f"{user}@{socket.gethostname()}",
                "alive": sorted(found[0] for found in alive.values()),
            }
        ]


def _ansible(pid):
    """A process of Ansible as its id with the moment of its start, and its parent's id; None for any other."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        if not any(b"ansible" in os.path.basename(word) for word in words[:2]):
            return None
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    # fields[0] is the state: Z for one that has ended and was not waited for.
    return None if fields[0] == "Z" else (f"{pid}:{fields[19]}", int(fields[1]))


def _controller():
    """This machine, boot and process namespace: processes can be looked for within these alone."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        boot = file.read().strip()
    return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
