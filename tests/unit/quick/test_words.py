"""The words of `allow` and `deny`: what they mean, and that a rule's own words give it again."""

import pytest

from hostfw.model.kinds.source_limit import Rate, Unit
from hostfw.model.values import SCTP, TCP, UDP, Action, Direction, PortRange, Protocol
from hostfw.quick.manifests import policy_name
from hostfw.quick.requests import Here, Local, Named, QuickRule, RequestError, Service
from hostfw.quick.services import PING
from hostfw.quick.words import parse_words, rule_words
from tests.unit.builders.policy_builders import nets

_BOTH = (Direction.INGRESS, Direction.EGRESS)
_SIX = Rate(6, Unit.MINUTE)
_IN, _OUT = (Direction.INGRESS,), (Direction.EGRESS,)
_KNOWN = {"http": ((TCP, 80),), "https": ((TCP, 443), (UDP, 443)), "diameter": ((TCP, 3868), (SCTP, 3868))}


def _lookup(name: str) -> tuple[tuple[Protocol, int], ...]:
    return _KNOWN.get(name, ())


def _parsed(action: Action, words: str) -> QuickRule:
    return parse_words(action, words.split(), _lookup)


def _ports(protocol: Protocol, *ports: int | tuple[int, int]) -> Service:
    return Service(protocol, tuple(PortRange(*(p if isinstance(p, tuple) else (p, p))) for p in ports))


def test_the_address_of_a_log_is_the_one_that_packets_have() -> None:
    """A program with one socket for both IP versions logs IPv4 so; the rule of such an address would meet nothing."""
    parsed = _parsed(Action.DENY, "::ffff:192.0.2.7,::ffff:198.51.100.9")

    assert parsed.peers == nets("192.0.2.7", "198.51.100.9")
    assert _parsed(Action.ALLOW, "80/tcp from ::ffff:c000:207").peers == nets("192.0.2.7")
    assert _parsed(Action.DENY, "::192.0.2.7").peers == nets("::192.0.2.7")


@pytest.mark.parametrize(
    ("action", "words", "hint"),
    [
        (Action.DENY, "fe80::1%eth0", "write fe80::1, without the interface"),
        (Action.ALLOW, "80/tcp from fe80::%eth0/64", "write fe80::/64, without the interface"),
        (Action.DENY, "::ffff:0:0/96", "no packet carries it; write 0.0.0.0/0"),
        (Action.DENY, "::ffff:192.0.2.0/24", "no packet carries it; write 192.0.2.0/24"),
        (Action.DENY, "::ffff:192.0.2.0/120", "no packet carries it; write 192.0.2.0/24"),
        (Action.DENY, "[2001:db8::5]", "write 2001:db8::5, without brackets"),
        (Action.ALLOW, "80/tcp from [2001:db8::5]:80", "write 2001:db8::5, without brackets"),
        (Action.DENY, "192.0.2.1-192.0.2.3", "write 192.0.2.1/32, 192.0.2.2/31"),
        (Action.ALLOW, "80/tcp from 192.0.2.0-192.0.2.255", "write 192.0.2.0/24"),
        (Action.DENY, "::1-ffff::", "write it as prefixes"),
    ],
)
def test_an_address_in_a_form_that_is_not_taken_is_refused_with_the_one_that_is(
    action: Action, words: str, hint: str
) -> None:
    """As `ip` and logs write those of one link."""
    with pytest.raises(RequestError, match="neither an address nor a prefix") as refused:
        _parsed(action, words)

    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("words", "services"),
    [
        ("tcp/8080", [_ports(TCP, 8080)]),
        ("8080/tcp", [_ports(TCP, 8080)]),
        ("TCP/80,443", [_ports(TCP, 80, 443)]),
        ("udp/5000-5100", [_ports(UDP, (5000, 5100))]),
        ("5000:5100/udp", [_ports(UDP, (5000, 5100))]),
        ("53", [_ports(TCP, 53), _ports(UDP, 53)]),
        ("http https", [_ports(TCP, 80, 443), _ports(UDP, 443)]),
        ("https/tcp", [_ports(TCP, 443)]),
        ("diameter", [_ports(TCP, 3868), _ports(SCTP, 3868)]),
        ("tcp", [_ports(TCP)]),
        ("tcp tcp/80", [_ports(TCP)]),
        ("esp vrrp", [Service(Protocol(50)), Service(Protocol(112))]),
        ("ping", list(PING)),
        ("proto tcp port 22", [_ports(TCP, 22)]),
        ("in port 53", [_ports(TCP, 53), _ports(UDP, 53)]),
    ],
)
def test_services(words: str, services: list[Service]) -> None:
    """By protocol and port in either order, by name, by protocol alone, and as ufw has them."""
    rule = _parsed(Action.ALLOW, words)

    assert rule == QuickRule(Action.ALLOW, _IN, tuple(services))


@pytest.mark.parametrize(
    ("action", "words", "expected"),
    [
        (Action.ALLOW, "tcp/1 from 10.1.2.3/8", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), nets("10.0.0.0/8"))),
        (Action.ALLOW, "tcp/1 from any", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),))),
        (Action.ALLOW, "tcp/1 from 0.0.0.0/0,::/0", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),))),
        (Action.ALLOW, "tcp/1 from here", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), Here())),
        (Action.ALLOW, "tcp/1 from local", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), Local())),
        (Action.DENY, "local", QuickRule(Action.DENY, _BOTH, (), Local())),
        (Action.ALLOW, "tcp/1 from office on w", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), Named("office"), "w")),
        (Action.ALLOW, "tcp/1 on all", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),))),
        (Action.ALLOW, "from 10.0.0.1", QuickRule(Action.ALLOW, _IN, (), nets("10.0.0.1"))),
        (Action.ALLOW, "from ::1 to any port 1/tcp", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), nets("::1"))),
        (Action.ALLOW, "out tcp/1 to 10.0.0.1", QuickRule(Action.ALLOW, _OUT, (_ports(TCP, 1),), nets("10.0.0.1"))),
        (Action.DENY, "10.0.0.1", QuickRule(Action.DENY, _BOTH, (), nets("10.0.0.1"))),
        (Action.DENY, "from 10.0.0.1", QuickRule(Action.DENY, _BOTH, (), nets("10.0.0.1"))),
        (Action.DENY, "2001:db8::/32,10.0.0.1", QuickRule(Action.DENY, _BOTH, (), nets("10.0.0.1", "2001:db8::/32"))),
        (Action.DENY, "in 10.0.0.1", QuickRule(Action.DENY, _IN, (), nets("10.0.0.1"))),
        (Action.DENY, "scanners", QuickRule(Action.DENY, _BOTH, (), Named("scanners"))),
        (Action.DENY, "http", QuickRule(Action.DENY, _IN, (_ports(TCP, 80),))),
        (Action.DENY, "tcp/1 10.0.0.1", QuickRule(Action.DENY, _IN, (_ports(TCP, 1),), nets("10.0.0.1"))),
        (Action.ALLOW, "tcp/1 limit 6/min", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), limit=_SIX)),
        (Action.ALLOW, "limit 6/m tcp/1 on w", QuickRule(Action.ALLOW, _IN, (_ports(TCP, 1),), (), "w", limit=_SIX)),
        (Action.DENY, "out tcp/25", QuickRule(Action.DENY, _OUT, (_ports(TCP, 25),))),
    ],
)  # fmt: skip
def test_rules(action: Action, words: str, expected: QuickRule) -> None:
    """Source, destination and service; the words of a rule give it again, and another rule has another name."""
    rule = _parsed(action, words)

    assert rule == expected
    if not isinstance(rule.peers, Here):
        assert parse_words(action, rule_words(rule).split()[1:], _lookup) == rule


@pytest.mark.parametrize(
    ("action", "words", "message"),
    [
        (Action.ALLOW, "htpp", '"htpp" is no service that is known'),
        (Action.ALLOW, "http/udp", '"http/udp" is no service that is known; it is tcp/80'),
        (Action.ALLOW, "tcp/0", "ports are from 1 to 65535"),
        (Action.ALLOW, "tcp/80-22", "ports are from 1 to 65535"),
        (Action.ALLOW, "tcp/65536", "ports are from 1 to 65535"),
        (Action.ALLOW, "tpc/80", "names no protocol"),
        (Action.DENY, "192.0.2.0/33", '"192.0.2.0/33" is no prefix'),
        (Action.DENY, "2001:db8::/129", '"2001:db8::/129" is no prefix'),
        (Action.ALLOW, "esp/80", "has a port where there is none"),
        (Action.ALLOW, "tcp/", "has a port where there is none"),
        (Action.ALLOW, "tcp/80 from", "from what?"),
        (Action.ALLOW, "tcp/80 from 10.0.0.300", '"10.0.0.300" is neither an address nor a prefix'),
        (Action.ALLOW, "tcp/80 from 10.0.0.0/33", "neither an address nor a prefix"),
        (Action.ALLOW, "tcp/80 from 10.0.0.1,office", '"office" is neither'),
        (Action.ALLOW, "tcp/80 to 10.0.0.1", "to 10.0.0.1: a quick rule lets packets in to this host"),
        (Action.ALLOW, "on wan", "allow what?"),
        (Action.ALLOW, "from any", "allow everything, of everybody"),
        (Action.DENY, "any", "deny everything, of everybody"),
        (Action.DENY, "in", "deny what?"),
        (Action.ALLOW, "tcp/80 for 2h for 3h", '"for" is said twice'),
        (Action.ALLOW, "tcp/80 on a on b", '"on" is said twice'),
        (Action.ALLOW, "80 proto tcp proto udp", '"proto" is said twice'),
        (Action.ALLOW, "tcp/80 until 18:00", "how long it holds, not until when"),
        (Action.ALLOW, "tcp/80 limit", "limit what?"),
        (Action.ALLOW, "tcp/80 limit 6", '"6" is no limit'),
        (Action.ALLOW, "tcp/80 limit 0/min", '"0/min" is no limit'),
        (Action.ALLOW, "tcp/80 limit 6/min limit 7/min", '"limit" is said twice'),
        (Action.ALLOW, "out tcp/80 limit 6/min", "a limit is for what is allowed in"),
        (Action.DENY, "tcp/80 limit 6/min", "a limit is for what is allowed in"),
        (Action.ALLOW, "in out tcp/80", "in and out are two rules"),
        (Action.DENY, "out 10.0.0.1 in", "in and out are two rules"),
    ],
)
def test_words_that_mean_nothing(action: Action, words: str, message: str) -> None:
    """Say what is wrong and what was expected; nothing is guessed."""
    with pytest.raises(RequestError) as error:
        _parsed(action, words)

    assert message in error.value.message
    assert error.value.hint


def test_names_tell_rules_apart_and_stay_within_bounds() -> None:
    """A long rule has a digest in its name, so that no two share one."""
    addresses = ",".join(f"2001:db8::{number:x}" for number in range(40))
    rules = [
        _parsed(Action.ALLOW, "tcp/80"),
        _parsed(Action.DENY, "tcp/80"),
        _parsed(Action.ALLOW, "out tcp/80"),
        _parsed(Action.ALLOW, "tcp/80 from 10.0.0.1"),
        _parsed(Action.DENY, addresses),
        _parsed(Action.DENY, addresses.removesuffix(",2001:db8::27")),
    ]

    names = [policy_name(rule) for rule in rules]

    assert len(set(names)) == len(rules)
    assert names[0] == "quick.allow-tcp-80"
    assert max(map(len, names)) <= 120
