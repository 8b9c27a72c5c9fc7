"""The playbooks and roles of the Ansible collection, as text."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

_COLLECTION = Path(__file__).parents[3] / "ansible"
_FILES = sorted([*(_COLLECTION / "playbooks").rglob("*.yml"), *(_COLLECTION / "roles").glob("*/tasks/*.yml")])
_OF_ALL_HOSTS = re.compile(
    r"map\('extract', hostvars\)|host_(?:endpoints|guesses|addresses)\(|rollout_(?:plan|behind)\(|hostfw_fleet_hosts"
)
"""Expressions that look at the variables of every host."""
_LISTS = ("tasks", "block", "rescue", "always", "pre_tasks", "post_tasks")


def _tasks(entries: object, once: bool = False) -> Iterator[tuple[str, str, bool]]:
    """Each task: its name, its text without that of the tasks in it, and whether it is done once for all hosts."""
    assert isinstance(entries, list)
    for entry in entries:
        assert isinstance(entry, Mapping)
        own = once or bool(entry.get("run_once"))
        yield str(entry["name"]), str({key: entry[key] for key in entry if key not in _LISTS}), own
        for key in _LISTS:
            yield from _tasks(entry.get(key, []), own)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_COLLECTION)))
def test_no_task_of_every_host_looks_at_every_host(path: Path) -> None:
    """With 2,000 hosts that would be four million looks: such a task is done once, and its result is used by all."""
    entries = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)

    assert [name for name, text, once in _tasks(entries) if _OF_ALL_HOSTS.search(text) and not once] == []


def test_what_is_done_for_every_host_is_found() -> None:
    """Within blocks too; once for all of a block is once for each of its tasks."""
    wrong = {"name": "Wrong", "debug": {"msg": "{{ ansible_play_hosts | map('extract', hostvars) }}"}}
    play = [
        {
            "name": "Play",
            "tasks": [{"name": "Block", "block": [wrong]}, {"name": "B", "run_once": True, "block": [wrong]}],
        }
    ]

    assert [(name, once) for name, text, once in _tasks(play) if _OF_ALL_HOSTS.search(text)] == [
        ("Wrong", False),
        ("Wrong", True),
    ]


def test_no_default_of_an_argument_looks_at_every_host() -> None:
    """Ansible makes the defaults of all arguments for each host, in order to check them."""
    role = _COLLECTION / "roles/hostfw"
    defaults = yaml.load((role / "defaults/main.yml").read_text(), Loader=yaml.CSafeLoader)
    options = yaml.load((role / "meta/argument_specs.yml").read_text(), Loader=yaml.CSafeLoader)["argument_specs"]
    arguments = {name for entry in options.values() for name in entry["options"]}

    wide = [name for name, value in defaults.items() if re.search(r"\bhostvars\b|\bgroups\b", str(value))]

    assert sorted(arguments & set(wide)) == []
