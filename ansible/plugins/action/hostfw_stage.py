# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller's part of hostfw.hostfw.hostfw_stage: it sends the files along."""

from __future__ import annotations

import base64
import json

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_display = Display()


class ActionModule(ActionBase):
    """Read the archive here, and run the module with it."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Run the module; what was edited on the host becomes a warning with the host's name."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        path = str(arguments.get("archive") or "")
        try:
            with open(path, "rb") as file:
                arguments["archive"] = base64.b64encode(file.read()).decode()
        except OSError as error:
            return {**result, "failed": True, "msg": f"archive cannot be read on the controller: {error}"}
        for name in ("files", "settings"):
            # YAML has dates, which JSON has not.
            text = json.dumps(arguments.get(name) or {}, default=str)
            arguments[name] = base64.b64encode(text.encode()).decode()
        found = self._execute_module(
            module_name="hostfw.hostfw.hostfw_stage", module_args=arguments, task_vars=task_vars
        )
        # The archive, once more for every host.
        found.pop("invocation", None)
        if found.get("edited"):
            # Among the warnings of the result it would be lost: ansible-core 2.21 shows none that an action adds there.
            _display.warning(_edited(task_vars, arguments, found["edited"]))
        return {**result, **found}


def _edited(task_vars, arguments, files):
    return "{} of {} was edited since the last run: {}; this run overwrites it, and keeps what was there".format(
        arguments.get("config_dir", "/etc/hostfw"), task_vars["inventory_hostname"], ", ".join(files)
    )
