"""Arguments of the audit's verbs."""

import pytest

from hostfw.cli.command_line.argument_parser import UsageError
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.command_line.parser import parse
from tests.unit.builders.policy_builders import net

PARSED = [
    (["drops"], {"output": Output.TABLE}),
    (["drops", "--follow", "-o", "json"], {"follow": True, "output": Output.JSON}),
    (["drops", "--for", "90s", "--count", "3"], {"for_s": 90, "most": 3}),
    (["drops", "--src", "10.1.2.3/8"], {"source_net": net("10.0.0.0/8")}),
    (["drops", "--dst", "2001:db8::1"], {"destination_net": net("2001:db8::1/128")}),
    (["drops", "--policy", "default/web", "--reason", "rule", "--top"], {"policy": "default/web", "top": True}),
    (["counters", "--rate", "5s", "-o", "wide"], {"rate_s": 5, "output": Output.WIDE}),
    (["counters", "--policy", "web"], {"policy": "web", "output": Output.TABLE}),
]


@pytest.mark.parametrize(("arguments", "expected"), PARSED, ids=[" ".join(arguments) for arguments, _ in PARSED])
def test_arguments_mean_one_thing(arguments: list[str], expected: dict[str, object]) -> None:
    """Durations in seconds, addresses as prefixes."""
    options: Options = parse(arguments)

    assert {name: getattr(options, name) for name in expected} == expected


REFUSED = [
    (["drops", "--src", "10.0.0.0/33"], 'argument --src: "10.0.0.0/33" is neither an address nor a prefix', ""),
    (["drops", "--dst", "web"], 'argument --dst: "web" is neither an address nor a prefix', ""),
    (["drops", "--count", "0"], 'argument --count: "0" is not a whole number from 1', ""),
    (["drops", "--count", "²"], 'argument --count: "²" is not a whole number from 1', ""),
    (["drops", "--reason", "ruel"], 'unknown value of --reason "ruel"', 'did you mean "rule"?'),
    (["drops", "-o", "yaml"], 'unknown value of -o/--output "yaml"', "one of table, json"),
    (["counters", "--rate", "soon"], 'argument --rate: "soon" is no duration', ""),
]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"), REFUSED, ids=[" ".join(arguments) for arguments, _, _ in REFUSED]
)
def test_what_means_nothing_is_refused(arguments: list[str], message: str, hint: str) -> None:
    """With what was given, and what may be."""
    with pytest.raises(UsageError) as caught:
        parse(arguments)

    assert caught.value.message.startswith(message)
    assert caught.value.hint == hint
