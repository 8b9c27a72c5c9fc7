"""A connection that is lost when there is a file `gone` beside the host's state: for tests."""

from __future__ import annotations

DOCUMENTATION = """
name: flaky
short_description: A local connection that can be lost
description: A local connection that can be lost.
author: The hostfw authors
options: {}
"""

import os  # noqa: E402 - after DOCUMENTATION, as Ansible wants it
from pathlib import Path  # noqa: E402

from ansible.errors import AnsibleConnectionFailure  # noqa: E402
from ansible.plugins.connection.local import Connection as Local  # noqa: E402


class Connection(Local):
    """A local connection that a file ends."""

    transport = "flaky"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        """Run a command, or be unreachable."""
        if Path(os.environ["FLAKY_TOP"], self._play_context.remote_addr, "gone").exists():
            raise AnsibleConnectionFailure("the test has cut it off")
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
