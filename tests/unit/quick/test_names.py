"""The names of quick rules: another rule has another name, so that none takes the place of another."""

from itertools import combinations

import pytest

from hostfw.host.network.sockets.service_names import ports_of_service
from hostfw.model.values import Action
from hostfw.quick.manifests import policy_name
from hostfw.quick.words import parse_words, rule_words

LINES = [
    "tcp/80,443",
    "tcp/80-443",
    "tcp/80,443-444",
    "tcp/80-443,444",
    "tcp/80 tcp/443",
    "tcp/80 udp/443",
    "22 from 10.0.0.1",
    "22 from 10-0-0-1",
    "22 from 10.0.0.1,10.0.0.3",
    "22 from 10.0.0.0/8",
    "22 from office",
    "22 from office-net",
    "22 from office.net",
    "22 from office/net",
    "22 from office on net",
    "22 from office-on-net",
    "22 on net",
    "22 from 2001:db8::1",
    "22 from 2001-db8--1",
    "22 from 2001:db8::/32",
    "out 22 to office",
    "out 22",
    "22",
    "from office",
    "in from office",
    "out to office",
    "22 from a on b.c",
    "22 from a on b-c",
    "22 from fe",
    "22 from a-to-b",
]


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY])
def test_no_two_rules_have_the_same_name(action: Action) -> None:
    """A range and the list of its ends, a set and the address that it is spelled like, a set and an endpoint."""
    rules = [parse_words(action, line.split(), ports_of_service) for line in LINES]
    same = [
        (rule_words(one), rule_words(other))
        for one, other in combinations(rules, 2)
        if policy_name(one) == policy_name(other) and rule_words(one) != rule_words(other)
    ]

    assert same == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("tcp/8080", "quick.allow-tcp-8080"),
        ("tcp/8000-8100", "quick.allow-tcp-8000-to-8100"),
        ("tcp/22 from office-net", "quick.allow-tcp-22-from-office-net"),
        ("tcp/22 from 10.0.0.0/8 on eth0", "quick.allow-tcp-22-from-10-0-0-0-8-on-eth0"),
    ],
)
def test_an_ordinary_rule_has_a_name_that_can_be_read(line: str, name: str) -> None:
    """It is what was typed."""
    assert policy_name(parse_words(Action.ALLOW, line.split(), ports_of_service)) == name
