"""PolicyTests: what they say, every mistake in one, and what they find in a fleet."""

import pytest

from hostfw.fleet.policy_test import decode_tests, parse_service
from hostfw.model.sources import Source

HEAD = "apiVersion: hostfw.io/v1\nkind: PolicyTest\nmetadata: {name: database}\nspec:\n  connections:\n"


def test_a_test_is_read_with_its_place() -> None:
    """A selector or a prefix, several ports, and the sentence that a report shows."""
    text = HEAD + (
        "  - {from: role == 'app', to: role == 'db', ports: [tcp/5432, udp/53], allowed: true}\n"
        "  - {from: '2001:db8::/32', to: all(), ports: [tcp/22], allowed: false, why: nobody from there}\n"
    )

    found, problems = decode_tests(Source("t.yaml", text))

    assert problems == ()
    assert [one.text for one in found] == [
        "role == 'app' -> role == 'db': tcp/5432, udp/53 allowed",
        "2001:db8::/32 -> all(): tcp/22 denied",
    ]
    assert found[1].position.file_line == "t.yaml:7"


def test_every_mistake_is_told_with_its_place() -> None:
    """All at once."""
    text = HEAD + (
        "  - {from: role = 'app', to: role == 'db', ports: [tcp/5432], allowed: true}\n"
        "  - {from: all(), to: all(), ports: [tcp/0, http], allowed: true}\n"
        "  - {from: all(), to: all(), ports: [], allowed: true}\n"
        "  - {from: all(), to: all(), ports: [tcp/1]}\n"
        "  - {from: all(), to: all(), port: [tcp/1], ports: [tcp/1], allowed: maybe}\n"
    )

    found, problems = decode_tests(Source("t.yaml", text))

    told = [(problem.position.line, problem.message) for problem in problems]
    assert found == ()
    assert [line for line, _ in told] == [6, 7, 7, 8, 9, 10, 10]
    assert any("is no selector" in message for _, message in told)
    assert (9, "allowed is missing") in told


@pytest.mark.parametrize("said", ["::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:10.0.0.0/8", "::ffff:0:0/95"])
def test_ipv4_in_the_form_of_ipv6_is_a_mistake(said: str) -> None:
    """No packet carries it, so that a test of it would say nothing."""
    text = f"{HEAD}  - {{from: '{said}', to: all(), ports: [tcp/1], allowed: false}}\n"

    _, problems = decode_tests(Source("t.yaml", text))

    assert ["which no packet carries" in problem.message for problem in problems] == [True]


@pytest.mark.parametrize("text", ["", "apiVersion: hostfw.io/v1\nkind: Feed\n", "[]\n", HEAD])
def test_a_file_without_a_test_is_a_mistake(text: str) -> None:
    """A test that asks for nothing would always hold."""
    found, problems = decode_tests(Source("t.yaml", text))

    assert found == ()
    assert problems


@pytest.mark.parametrize("text", ["tcp/0", "tcp/65536", "icmp/1", "80", "tcp/80/90", "TCP/80", ""])
def test_what_is_no_port_is_none(text: str) -> None:
    """Of each form of mistake one."""
    assert parse_service(text) is None
