"""The repository of examples/fleet, as somebody copies it."""

import shutil
import subprocess
import sys
from pathlib import Path

from conftest import COLLECTION, PYTHON, TREE, environment


def test_the_example_of_a_fleet_is_valid_and_its_tests_hold(tmp_path):
    """Its playbook without hosts, by its own ansible.cfg and inventory."""
    site = tmp_path / "site"
    shutil.copytree(TREE / "examples/fleet", site)
    (tmp_path / "collections/ansible_collections/hostfw").mkdir(parents=True)
    (tmp_path / "collections/ansible_collections/hostfw/hostfw").symlink_to(COLLECTION)
    hostfwctl = tmp_path / "hostfwctl"
    hostfwctl.write_text(f'#!/bin/sh\nPYTHONPATH={TREE} exec {PYTHON} -m hostfw.cli "$@"\n')
    hostfwctl.chmod(0o755)

    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "hostfw.hostfw.render",
            *("-e", f"hostfw_controller_command={hostfwctl}", "-e", f"hostfw_render_to={tmp_path}/rendered"),
        ],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=site,
        env=environment() | {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")},
        timeout=600,
    )

    assert done.returncode == 0, done.stdout
    assert "4 hosts, every test holds" in done.stdout, done.stdout
