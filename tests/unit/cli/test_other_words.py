"""Words of other firewalls: each is answered with commands that exist."""

import re
import shlex

import pytest

from hostfw.cli.other_words import VERBS_ELSEWHERE, meant
from hostfw.cli.parser import UsageError, parse
from hostfw.cli.verb_table import VERBS
from tests.unit.cli_runs import hostfwctl

_COMMAND = re.compile(r"`hostfwctl ([^`]*)`")


def commands(text: str) -> list[list[str]]:
    """The commands of hostfwctl that a text names, word by word."""
    return [shlex.split(found) for found in _COMMAND.findall(text)]


@pytest.mark.parametrize("word", sorted(VERBS_ELSEWHERE))
def test_a_word_of_another_firewall_is_answered(word: str) -> None:
    """Exit status 2, and the hint names commands that parse; none of the words is one of our own verbs."""
    status, out, err = hostfwctl(word, "8080")

    assert (status, out) == (2, "")
    assert f"hint: {VERBS_ELSEWHERE[word]}" in err
    assert word not in {verb.name for verb in VERBS}
    for command in commands(VERBS_ELSEWHERE[word]):
        assert takes(command), command


@pytest.mark.parametrize("word", sorted(word for word in VERBS_ELSEWHERE if not word.startswith("-")))
def test_a_word_behind_an_option_is_answered_as_well(word: str) -> None:
    """As it is alone: nobody who types `enable` is led to `disable`, which is spelled like it."""
    status, out, err = hostfwctl("--quiet", word, "8080")

    assert (status, out) == (2, "")
    assert VERBS_ELSEWHERE[word] in err
    assert "did you mean" not in err


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("validate x.yaml", "`hostfwctl validate -f x.yaml`"),
        ("diff x.yaml", "`hostfwctl diff -f x.yaml`"),
        ("apply x.yaml", "`hostfwctl apply --add -f x.yaml`"),
        ("apply --dry-run", "`hostfwctl diff`"),
        ("counters web", "`hostfwctl counters --policy web`"),
        ("drops since yesterday", "`hostfwctl drops --since yesterday`"),
        ("drops since", "`hostfwctl drops --since TIME`"),
        ("block 198.51.100.7", "`hostfwctl deny 198.51.100.7`"),
        ("status numbered", "`hostfwctl rules`"),
        ("--add-port=80/tcp", "`hostfwctl allow tcp/8080`"),
    ],
)
def test_words_too_many_are_answered(line: str, hint: str) -> None:
    """With the command that was probably meant."""
    status, out, err = hostfwctl(*line.split())

    assert (status, out) == (2, "")
    assert hint in err
    for command in commands(hint):
        if command[-1] != "TIME":
            assert takes(command)


def takes(words: list[str]) -> bool:
    """True for a command line that means something; NUMBER stands for one."""
    try:
        return parse([word.replace("NUMBER", "1") for word in words]).verb == words[0]
    except UsageError:
        return False


def test_what_nobody_means_has_no_answer() -> None:
    """Nothing is guessed of an option, or of a verb that takes such words."""
    assert meant("apply", ["--fast"]) == ""
    assert meant("selector", ["x"]) == ""


@pytest.mark.parametrize("line", ["help", "help apply"])
def test_help_is_a_verb_too(line: str) -> None:
    """It prints what --help prints."""
    words = line.split()

    assert hostfwctl(*words) == hostfwctl(*words[1:], "--help")
    assert hostfwctl(*words).status == 0
