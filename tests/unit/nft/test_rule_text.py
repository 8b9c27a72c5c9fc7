"""Rules as nft text."""

import pytest

from hostfw.model.prefixes import pack
from hostfw.model.values import Family, PortRange
from hostfw.nft.object_text import follows, render
from hostfw.nft.objects import ElementType, Ruleset, Set, Table
from hostfw.nft.rule_text import rule_text
from hostfw.nft.rules import Accept, Key, Match, Rule

NOT_MERGED = [
    (
        "ports that are next to each other in the header",
        Family.V4,
        (Match(Key.SPORT, 1, negated=True), Match(Key.DPORT, 2, negated=True)),
        "th sport != 1 th dport != 2-2 accept",
    ),
    (
        "whatever stands between them",
        Family.V6,
        (
            Match(Key.SPORT, 1, negated=True),
            Match(Key.SPORT, PortRange(21, 80), negated=True),
            Match(Key.DPORT, PortRange(1, 65535)),
            Match(Key.DPORT, PortRange(2, 2), negated=True),
            Match(Key.DPORT, 3, negated=True),
        ),
        "th sport != 1 th sport != 21-80 th dport 1-65535 th dport != 2-2 th dport != 3-3 accept",
    ),
    (
        "type and code of ICMP",
        Family.V4,
        (Match(Key.ICMP_TYPE, 8, negated=True), Match(Key.ICMP_CODE, 1, negated=True)),
        "icmp type != 8 icmp code != 1-1 accept",
    ),
    (
        "one alone",
        Family.V4,
        (Match(Key.SPORT, 1), Match(Key.DPORT, 2, negated=True)),
        "th sport 1 th dport != 2 accept",
    ),
    (
        "a range beside one",
        Family.V4,
        (Match(Key.SPORT, PortRange(1, 9), negated=True), Match(Key.DPORT, 2, negated=True)),
        "th sport != 1-9 th dport != 2 accept",
    ),
    (
        "what is apart in the header",
        Family.V4,
        (Match(Key.PROTOCOL, 6, negated=True), Match(Key.DPORT, 2, negated=True)),
        "ip protocol != tcp th dport != 2 accept",
    ),
]


@pytest.mark.parametrize(("name", "family", "matches", "text"), NOT_MERGED)
def test_nft_is_not_led_to_make_one_test_of_two(
    name: str, family: Family, matches: tuple[Match, ...], text: str
) -> None:
    """Of two inequalities of neighbouring fields nft 1.0.6 makes one that holds as soon as either field differs."""
    assert rule_text(Rule(matches, (Accept(),)), family) == text, name


@pytest.mark.parametrize("name", ["eth*", "*", 'a"b', "a\\b", "", "a b", "\x7f"])
@pytest.mark.parametrize("key", [Key.IIFNAME, Key.OIFNAME])
def test_an_interface_that_nft_would_take_for_another_is_no_text(key: Key, name: str) -> None:
    """Whoever writes such a rule has a defect: nothing of it goes to the kernel."""
    with pytest.raises(ValueError, match="cannot match the interface"):
        rule_text(Rule((Match(key, name),), (Accept(),)), Family.V4)


def test_a_selector_that_says_that_elements_follow_is_no_set_that_they_follow_in() -> None:
    """Its text stands in the comment of a set; what is left to the service stands on a line of its own."""
    words = "follow once hostfw.service runs: x"
    small = Set("nets/32.a", ElementType.ADDRESS, (1,), comment=f"role == '{words}'")
    told = Set("nets/32.b", ElementType.ADDRESS, (1,), comment=f"# 9 elements of ip hostfw nets/32.b {words}")
    big = Set("nets/32.c", ElementType.ADDRESS, pack(Family.V4, range(10)))

    assert follows(render(Ruleset((Table(Family.V4, sets=(small, told)),)))) == 0
    assert follows(render(Ruleset((Table(Family.V4, sets=(small, told, big)),)), most_elements=9)) == 1
