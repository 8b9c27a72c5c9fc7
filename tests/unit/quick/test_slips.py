"""Slips in the words of a quick rule, and the words that are proposed for them."""

import pytest

from hostfw.host.network.sockets.service_names import ports_of_service
from hostfw.model.values import Action
from hostfw.quick.slips import words_meant

MEANT = [
    ("8o", "80"),
    ("8O8O", "8080"),
    ("8o/tcp", "80/tcp"),
    ("tcp/8o", "tcp/80"),
    ("8O,44l", "80,441"),
    ("80/tpc", "80/tcp"),
    ("tpc/80", "tcp/80"),
    ("udo/53", "udp/53"),
    ("htp", "http"),
    ("htp/tcp", "http/tcp"),
    ("tcp/htp", "tcp/http"),
    ("htpps", "https"),
    ("shh", "ssh"),
    ("nginx", "http https"),
    ("sshd", "ssh"),
    ("ipsec", "udp/500,4500 esp"),
    ("kubelet", "tcp/10250"),
    ("ssh eth0", "ssh on eth0"),
    ("80 enp3s0", "80 on enp3s0"),
    ("limit ssh", "ssh limit 6/min"),
    ("ssh limit", "ssh limit 6/min"),
    ("limit 22/tcp", "22/tcp limit 6/min"),
    ("limit 22", "22 limit 6/min"),
    ("ssh limit 9", "ssh limit 9/min"),
    ("ssh 6/min", "ssh limit 6/min"),
    ("ssh rate 6/min", "ssh limit 6/min"),
    ("limit htp from 10.0.0.0/8", "http from 10.0.0.0/8 limit 6/min"),
]


@pytest.mark.parametrize(("typed", "meant"), MEANT, ids=[typed for typed, _ in MEANT])
def test_a_slip_is_answered_with_the_words_that_were_meant(typed: str, meant: str) -> None:
    """They are a rule themselves."""
    found = words_meant(Action.ALLOW, typed.split(), ports_of_service)

    assert found is not None
    assert " ".join(found) == meant


@pytest.mark.parametrize("typed", ["eth0", "foobar", "xyzzy", "1.2.3.4/33", "ssh limit 0/min", "8o8o8o", "limit"])
def test_nothing_is_guessed_where_nothing_is_like_it(typed: str) -> None:
    """Of a rule that would be about something else, least of all."""
    assert words_meant(Action.ALLOW, typed.split(), ports_of_service) is None


def test_a_word_of_a_rule_that_denies_may_be_a_set() -> None:
    """So none is put in its place."""
    assert words_meant(Action.DENY, ["htp", "for", "2h"], ports_of_service) is None
