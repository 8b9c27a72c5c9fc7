"""Ports in the simple form of other roles, as the Ansible collection makes policy of them."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.model.sources import Configuration, Source

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/allow.py"
_SPEC = spec_from_file_location("ansible_allow", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
allow = module_from_spec(_SPEC)
_SPEC.loader.exec_module(allow)


def _rules(*entries: object) -> list[dict[str, object]]:
    (policy,) = allow.policies(list(entries), 1000)
    rules = policy["spec"]["ingress"]
    assert isinstance(rules, list)
    return rules


def test_the_policy_is_one_that_hostfw_takes() -> None:
    """Every form at once."""
    entries = [
        {"port": 443},
        {
            "ports": ["8000-8010", "9000:9001", "53"],
            "proto": "UDP",
            "from": ["10.0.0.1", "2001:db8::/32", "web", "db_1"],
        },
        {"port": 22, "protocol": "tcp", "from": "192.0.2.7/24", "comment": "the office"},
    ]

    text = yaml.safe_dump_all(allow.policies(entries, 1000))

    assert "&id" not in text
    candidate = check_candidate(Configuration(resources=(Source("p.yaml", text),)))

    assert candidate.is_valid, candidate.problems
    (policy,) = candidate.resources.policies
    assert len(policy.ingress) == 5


def test_addresses_of_each_family_and_groups_are_rules_of_their_own() -> None:
    """A mixture is no net of one family."""
    sources = [rule["source"] for rule in _rules({"port": 1, "from": ["10.0.0.0/8", "2001:db8::1", "web", "db_1"]})]

    assert sources == [
        {"nets": ["10.0.0.0/8"]},
        {"nets": ["2001:db8::1/128"]},
        {"selector": "has(group/web) || has(group/db_1)"},
    ]


def test_everybody_is_meant_only_where_nobody_is_named() -> None:
    """An empty list, as a template may give, opens nothing to anybody."""
    assert "source" not in _rules({"port": 443})[0]
    assert allow.policies([{"port": 443, "from": []}], 1000) == []
    assert allow.policies([], 1000) == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, "it names no port"),
        ({"port": 0}, "0 is neither a port"),
        ({"port": True}, "True is neither a port"),
        ({"port": 65536}, "65536 is neither a port"),
        ({"port": "20-10"}, "20-10 is neither a port"),
        ({"port": 1, "protocol": "icmp"}, "icmp is not a protocol with ports"),
        ({"port": 1, "source": "any"}, "it has no source; it may have"),
        ({"port": 1, "from": ["10.0.0.0/33"]}, "10.0.0.0/33 is neither an address"),
        ({"port": 1, "from": "has(web) || all()"}, "is neither an address"),
        ({"port": 1, "from": None}, "`from` is empty"),
        ({"port": 1, "from": ["10.0.0.1", None]}, "`from` is empty"),
        (443, "it is not a mapping"),
    ],
)
def test_a_mistake_is_refused_with_its_place(entry: object, told: str) -> None:
    """And not left out: what somebody meant to open or to restrict is not known."""
    with pytest.raises(allow.AllowError) as raised:
        allow.policies([{"port": 1}, entry], 1000)

    assert str(raised.value).startswith("hostfw_allow[1]: ")
    assert told in str(raised.value)
