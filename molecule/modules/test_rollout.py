"""Steps of the rollout playbook before it touches any host."""

import json
import subprocess
import sys
from pathlib import Path

from conftest import environment


def test_a_host_that_cannot_be_reached_ends_the_rollout_before_it_begins(tmp_path):
    """It is named, and the batches are not even begun."""
    hosts = {
        "here": {"ansible_connection": "local"},
        "ghost": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=1"},
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))

    done = subprocess.run(
        [playbook, "-i", str(tmp_path / "inventory.json"), "hostfw.hostfw.rollout"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        timeout=100,
    )

    assert done.returncode != 0
    assert "nothing was changed, because these hosts cannot be reached: ghost" in done.stdout
    assert "PLAY [Roll out, batch by batch]" not in done.stdout
