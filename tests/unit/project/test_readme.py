"""The README's examples are true: the policy is valid and the commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from hostfw.cli.command_line.parser import parse
from hostfw.manifest.decode import decode
from hostfw.model.sources import Configuration, Source
from hostfw.policy.check.references import check

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(?:sudo )?hostfwctl .*$", README, re.MULTILINE)
TARGETS = re.findall(r"(?:^|`|sudo )make ([a-z]+)", README + (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)


def test_the_policies_that_are_shown_have_no_problems() -> None:
    """Copies of the example in /etc/hostfw get neither an error nor a warning."""
    texts = [match["text"] for match in FENCE.finditer(README) if match["language"] == "yaml"]
    sources = tuple(Source(f"README.md block {number}", text) for number, text in enumerate(texts, 1))
    decoded = decode(Configuration(resources=sources))

    assert len(decoded.resources.all()) > 1
    assert (*decoded.problems, *check(decoded.resources, decoded.settings)) == ()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_that_are_shown_parse(command: str) -> None:
    """Every hostfwctl command can be typed as it stands, comment included."""
    words = shlex.split(command.removeprefix("sudo "), comments=True)

    assert parse(words[1:]).verb == words[1]


def test_the_make_targets_that_are_shown_exist() -> None:
    """Every `make` target that the README or CONTRIBUTING names is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text()

    assert [target for target in TARGETS if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
