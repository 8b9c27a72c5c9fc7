# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of the controller, as a person types them."""

from __future__ import annotations

import os


def found_at(path, beside=""):
    """The absolute path of what `path` names: beside the playbook if it is there, or else where Ansible was started.

    Modules on the controller run in the directory of the playbook, which is that of the collection for those of hostfw.
    An empty text stays empty. Without `beside` it is a place to write to.
    """
    if not path:
        return ""
    typed = os.path.expanduser(str(path))
    near = os.path.join(beside, typed)
    return near if beside and os.path.exists(near) else os.path.abspath(typed)
