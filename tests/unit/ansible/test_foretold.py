"""Reports of a rollout as text, JSON and Markdown."""

import json
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/foretold.py"
_SPEC = spec_from_file_location("ansible_foretold", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
foretold = module_from_spec(_SPEC)
_SPEC.loader.exec_module(foretold)

_EXPOSURE = [{"change": "closes", "text": "closes tcp/80 | to all"}, {"change": "opens", "text": "opens tcp/443"}]
_HOSTS: list[Mapping[str, object]] = [
    {
        "inventory_hostname": "web2",
        "hostfw_rollout_failure": "refused:\nssh would be lost",
        "hostfw_applied": {"failed": True},
    },
    {
        "inventory_hostname": "web1",
        "hostfw_applied": {"changed": True, "differences": [f"+ P/{n}" for n in range(30)], "exposure": _EXPOSURE},
        "hostfw_here": {"edited": ["~ web.yaml"]},
    },
    {"inventory_hostname": "<db|1>"},
]


def test_a_program_reads_each_host() -> None:
    """In the order of names, whole."""
    found = json.loads(foretold.as_json(_HOSTS, ["a line"], ["gone"], True))

    assert [host["host"] for host in found["hosts"]] == ["<db|1>", "web1", "web2"]
    web1 = found["hosts"][1]
    assert (web1["closes"], web1["opens"], len(web1["differences"])) == (
        ["closes tcp/80 | to all"],
        ["opens tcp/443"],
        30,
    )
    assert (found["leftOut"], found["foretold"], found["report"]) == (["gone"], True, ["a line"])


def test_a_pull_request_shows_numbers_first_and_names_what_is_refused() -> None:
    """A name cannot break the table, and a long list is cut with a word about the rest."""
    text = foretold.as_markdown(_HOSTS, ["gone"], True)

    assert text.startswith("### hostfw: 1 of 3 hosts would change, 1 refused\n")
    assert "| &lt;db&#124;1> | 0 | 0 | 0 | no |" in text
    assert "| web1 | 30 | 1 | 1 | no |" in text
    assert "    ssh would be lost" in text
    assert "    and 10 more" in text


def test_a_terminal_shows_hosts_for_which_there_is_something_to_tell() -> None:
    """Only where it is foretold: afterwards the report says who runs what."""
    told = foretold.as_text(_HOSTS, ["a line"], True)

    assert (
        "web1:\n    closes: closes tcp/80 | to all\n    opens: opens tcp/443\n    edited on the host: ~ web.yaml\n"
        in told
    )
    assert "db" not in told
    assert foretold.as_text(_HOSTS, ["a line"], False) == "a line\n"


def test_the_table_counts_resources_and_not_lines() -> None:
    """A resource that differs is one, however many of its lines do."""
    differences = ["~ GlobalNetworkPolicy/web   web.yaml:1", "    @@ -12,4 +12,4 @@", "    -  - 443", "    +  - 8443"]
    host = {"inventory_hostname": "web1", "hostfw_applied": {"changed": True, "differences": differences}}

    assert "| web1 | 1 | 0 | 0 | no |" in foretold.as_markdown([host], [], True)
