# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Documentation that the modules share: the command on the host, its lock, and the systems that they run on."""

from __future__ import annotations


class ModuleDocFragment:
    """Parts of the documentation of modules, by the name of the class attribute."""

    COMMAND = r"""
options:
  hostfwctl:
    description: The command on the host.
    type: path
    default: /usr/bin/hostfwctl
"""

    LOCK = r"""
options:
  run:
    description: The run, as the lookup P(hostfw.hostfw.run#lookup) names it.
    type: dict
    required: true
  lock_dir:
    description: Where the lock is; nothing there outlives a reboot.
    type: path
    default: /run/hostfw-ansible
  lease:
    description: The seconds after which another run may take the lock, unless it is renewed.
    type: int
    default: 3600
  force:
    description: Whether to take the lock from another run.
    type: bool
    default: false
"""

    PLATFORM = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: debian
    description: The systems that it runs on.
"""
