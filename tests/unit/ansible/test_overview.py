"""The overview of a fleet that the playbook `report` writes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/overview.py"
_SPEC = spec_from_file_location("ansible_overview", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
overview = module_from_spec(_SPEC)
_SPEC.loader.exec_module(overview)

_NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
_STATUS: Mapping[str, object] = {
    "generation": "aaa",
    "accepted": "aaa",
    "appliedAt": "2026-11-27T11:00:00Z",
    "confirmation": None,
    "drift": [],
    "saved": True,
    "service": {"trouble": None},
}
_FACTS: Mapping[str, object] = {
    "installed": True,
    "in_force": True,
    "agrees": True,
    "generation": "aaa",
    "configuration": "c" * 64,
    "edited": [],
    "version": {"hostfw": "1.0"},
    "status": _STATUS,
}


def _host(name: str, status: Mapping[str, object] | None = None, **facts: object) -> dict[str, object]:
    """The variables of a host that was looked at."""
    found = {**_FACTS, "status": {**_STATUS, **(status or {})}, **facts}
    return {"inventory_hostname": name, "hostfw_seen": {"ansible_facts": {"hostfw": found}}}


def test_a_host_that_is_as_it_should_be_has_no_finding() -> None:
    """Its version, generation, configuration and age are there."""
    (item,) = overview.overview([_host("web1")], _NOW)

    assert item["findings"] == []
    assert (item["version"], item["generation"], item["configuration"]) == ("1.0", "aaa", "c" * 12)
    assert item["ageSeconds"] == 2 * 86400 + 3600
    assert overview.as_text([item]).splitlines() == [
        "1 host, all as they should be; versions: 1.0; 1 configuration",
        "",
        "host  version  generation  configuration  age",
        "web1  1.0      aaa         cccccccccccc   2 d",
    ]


@pytest.mark.parametrize(
    ("host", "finding"),
    [
        ({"inventory_hostname": "h"}, "could not be reached: it gave no answer"),
        (
            {"inventory_hostname": "h", "hostfw_seen": {"unreachable": True, "msg": "timed out\nmore"}},
            "could not be reached: timed out",
        ),
        ({"inventory_hostname": "h", "hostfw_seen": {"failed": True, "msg": "denied"}}, "could not be read: denied"),
        (_host("h", installed=False), "hostfw is not installed"),
        (_host("h", in_force=False), "no rules are in force"),
        (_host("h", {"confirmation": {"deadline": "12:05"}}), "a change waits to be confirmed until 12:05"),
        (_host("h", {"accepted": "bbb"}), "generation bbb is accepted, and the next boot enforces it"),
        (_host("h", agrees=False), "its files are not what is accepted"),
        (_host("h", edited=["~ web.yaml"]), "edited on the host: ~ web.yaml"),
        (_host("h", {"drift": ["rule 3 of chain x is gone"]}), "changed by another program: rule 3 of chain x is gone"),
        (_host("h", {"service": None}), "the service does not run"),
        (_host("h", {"service": {"trouble": "no memory"}}), "the service is in trouble: no memory"),
        (_host("h", {"saved": False}), "what is in force does not outlive a reboot"),
        (_host("h", {"warnings": ["a feed is old"]}), "a feed is old"),
    ],
)
def test_what_is_not_as_it_should_be_is_a_finding(host: Mapping[str, object], finding: str) -> None:
    """One sentence each."""
    (item,) = overview.overview([host], _NOW)

    assert item["findings"] == [finding]


def test_hosts_with_findings_come_first_and_one_with_another_version_is_told() -> None:
    """The version of most is the usual one."""
    hosts = [_host("a"), _host("b"), _host("z", version={"hostfw": "0.9"})]

    items = overview.overview(hosts, _NOW)

    assert [item["host"] for item in items] == ["z", "a", "b"]
    assert items[0]["findings"] == ["runs version 0.9, most hosts run 1.0"]


def test_a_page_escapes_what_hosts_say() -> None:
    """Names and drift come from hosts."""
    page = overview.as_html(overview.overview([_host("<b>", {"drift": ["<script>"]})], _NOW))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert '<td class="code">&lt;b&gt;</td>' in page


def test_a_terminal_shows_the_first_findings_and_a_program_reads_all() -> None:
    """A host that another program changes all the time does not hide others."""
    items = overview.overview([_host("a", {"drift": [f"rule {number}" for number in range(30)]})], _NOW)

    assert overview.as_text(items).splitlines()[-1] == "    and 25 more"
    document = json.loads(overview.as_json(items))
    assert (document["withFindings"], len(document["hosts"][0]["findings"])) == (1, 30)
