# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Documentation that the modules share: the command on the host, and the systems that they run on."""

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

    PLATFORM = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: debian
    description: The systems that it runs on.
"""
