"""Addresses of a fleet as they were last seen, which the Ansible collection keeps on the controller."""

import json
from collections.abc import Mapping
from datetime import date
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/snapshot.py"
_SPEC = spec_from_file_location("ansible_snapshot", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
snapshot = module_from_spec(_SPEC)
_SPEC.loader.exec_module(snapshot)

_DAY = date(2026, 11, 1)


def _addresses(*addresses: str) -> Mapping[str, object]:
    return {"default": ["eth0"], "interfaces": {"eth0": list(addresses)}}


def test_hosts_without_facts_keep_what_was_seen_of_them_and_its_age_is_told(tmp_path: Path) -> None:
    """Those that were reached are refreshed, those that were not lose nothing."""
    path, names = str(tmp_path / "seen.json"), ["web1", "db1"]
    both = {"web1": _addresses("192.0.2.1"), "db1": _addresses("192.0.2.2", "2001:db8::2")}
    assert snapshot.refresh(path, both, names, _DAY, write=True) == (both, True, [])

    fresh = {"web1": _addresses("192.0.2.9", "192.0.2.1")}
    hosts, changed, notes = snapshot.refresh(path, fresh, names, date(2026, 11, 18), write=True)

    assert (hosts, changed) == (both | fresh, True)
    assert notes == ["addresses of db1 are those seen 17 days ago (2026-11-01), for want of facts"]


def test_an_address_that_facts_no_longer_have_is_told(tmp_path: Path) -> None:
    """It goes, and not silently."""
    path = str(tmp_path / "seen.json")
    snapshot.refresh(path, {"db1": _addresses("192.0.2.2", "2001:db8::2")}, ["db1"], _DAY, write=True)

    hosts, _, notes = snapshot.refresh(path, {"db1": _addresses("192.0.2.2")}, ["db1"], _DAY, write=True)

    assert hosts == {"db1": _addresses("192.0.2.2")}
    assert notes == ["db1 has no more the address 2001:db8::2, by its facts"]


def test_nothing_is_written_without_a_change_nor_when_it_is_not_wanted(tmp_path: Path) -> None:
    """The file may be in a repository; check mode and pull style leave it alone."""
    path = tmp_path / "seen.json"
    fresh = {"web1": _addresses("192.0.2.1")}
    assert snapshot.refresh(str(path), fresh, ["web1"], _DAY, write=False) == (fresh, False, [])
    assert not path.exists()

    assert snapshot.refresh(str(path), {}, ["web1"], _DAY, write=True)[1] is False
    assert not path.exists()

    snapshot.refresh(str(path), fresh, ["web1"], _DAY, write=True)
    assert snapshot.refresh(str(path), fresh, ["web1"], _DAY, write=True)[1] is False


def test_a_host_that_left_the_inventory_is_forgotten_in_time(tmp_path: Path) -> None:
    """Another inventory in the same folder may have it, so that it is not forgotten at once."""
    path = tmp_path / "seen.json"
    snapshot.refresh(str(path), {"old": _addresses("192.0.2.1")}, ["old"], _DAY, write=True)

    snapshot.refresh(str(path), {"new": _addresses("192.0.2.2")}, ["new"], date(2026, 12, 1), write=True)
    assert sorted(json.loads(path.read_text())["hosts"]) == ["new", "old"]

    snapshot.refresh(str(path), {"new": _addresses("192.0.2.2")}, ["new"], date(2027, 3, 1), write=True)
    assert sorted(json.loads(path.read_text())["hosts"]) == ["new"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"hosts": []}', '{"hosts": {"a": {}}}', '{"hosts": {"a": {"seen": "x"}}}', "<<<<<<< HEAD\n"],
)
def test_a_damaged_file_is_refused_and_not_taken_for_an_empty_one(tmp_path: Path, content: str) -> None:
    """A merge conflict above all: hosts would lose addresses."""
    path = tmp_path / "seen.json"
    path.write_text(content)

    with pytest.raises(snapshot.SnapshotError, match="does not hold the addresses of a fleet"):
        snapshot.refresh(str(path), {}, ["a"], _DAY, write=True)

    assert path.read_text() == content


def test_without_a_file_there_is_what_this_run_knows(tmp_path: Path) -> None:
    """And a place that cannot be written to is said, and ends no run."""
    fresh = {"web1": _addresses("192.0.2.1")}
    assert snapshot.refresh("", fresh, ["web1"], _DAY, write=True) == (fresh, False, [])

    hosts, changed, notes = snapshot.refresh(str(tmp_path / "no/where.json"), fresh, ["web1"], _DAY, write=True)

    assert (hosts, changed) == (fresh, False)
    assert "hostfw_snapshot names the file" in notes[0]
