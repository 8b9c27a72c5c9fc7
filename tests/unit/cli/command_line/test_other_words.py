"""Words of other programs, and what comes to mind: each does it, or is answered with the command that does."""

import re
import shlex

import pytest

from hostfw.cli.command_line.argument_parser import UsageError
from hostfw.cli.command_line.parser import parse
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.other_words.answers import PROGRAMS, elsewhere
from hostfw.cli.other_words.firewalld import OTHERWISE
from hostfw.cli.other_words.general import WORDS
from hostfw.cli.other_words.own_verbs import meant
from hostfw.cli.output.console import ExitCode
from hostfw.host.network.sockets.service_names import ports_of_service
from hostfw.model.values import Action
from hostfw.quick.words import parse_words
from tests.unit.cli.command_line.other_words import Line, commands, effect, lines
from tests.unit.cli_runs import hostfwctl

LINES = lines()
OWN = frozenset(verb.name for verb in VERBS)
MAY_DO = {"opens": {"opens", "reads", "changes"}, "closes": {"closes", "reads", "changes"}, "reads": {"reads"}}
"""Effects of commands that an answer may name, by what was asked; where something else is to change, any."""
ANY = {"opens", "closes", "reads", "changes"}
_NUMBER = re.compile(r"[0-9a-f]+:[0-9a-f:]*:[0-9a-f:]*(?:/\d+)?|\d+\.\d+\.\d+\.\d+(?:/\d+)?|(?<![\d.])\d{2,}(?![\d.])")
"""Addresses, prefixes, and numbers of two digits or more: those of one are places in lists."""
_EVERYBODY = ("0.0.0.0/0", "::/0")


def answered(words: list[str]) -> list[str]:
    """The commands in the answer to a line, which is refused as one that means nothing."""
    status, out, err = hostfwctl(*words)

    assert (status, out) == (2, ""), err
    assert "\n  hint: " in err
    found = commands(err.partition("\nusage:")[0])
    assert found, err
    return found


def test_there_are_many_lines() -> None:
    """Of every program that people come from."""
    assert len(LINES) >= 800
    assert {line.program for line in LINES} >= {"ufw", "firewall-cmd", "iptables", "nft", "kubectl", "calicoctl"}


def test_what_people_type_does_it_or_names_the_command_that_does() -> None:
    """The first command of the answer is the one; every other is one that hostfwctl takes as well."""
    wrong: list[str] = []
    for line in LINES:
        if line.command == "does":
            if not takes(line.words):
                wrong.append(f"{line.place}: {line.typed} is not taken")
            continue
        found = answered(line.words)
        if found[0] != line.command:
            wrong.append(f"{line.place}: {line.typed}: {found[0]}, not {line.command}")
        wrong += [f"{line.place}: {line.typed}: `{of}` means nothing" for of in found if not is_command(of)]

    assert wrong == []


def test_no_answer_means_the_opposite() -> None:
    """A question to open something is led to nothing that closes, and the other way round; reading changes nothing."""
    wrong = [
        f"{line.place}: {line.typed} {line.asks}, `{command}` {effect(command)}"
        for line in LINES
        if line.command != "does"
        for command in answered(line.words)
        if effect(command) not in MAY_DO.get(line.asks, ANY)
    ]

    assert wrong == []


def test_no_answer_is_about_more_or_others_than_what_was_typed() -> None:
    """A rule names each address and port that was typed, and no other; one that cannot is no answer."""
    wrong = [
        f"{line.place}: {line.typed}: {line.command}"
        for line in LINES
        if line.command != "does" and effect(line.command) in ("opens", "closes") and not is_exact(line)
    ]

    assert wrong == []


def is_exact(line: Line) -> bool:
    """True if the numbers of the answer are those of the line; a line without any is answered with an example."""
    typed, said = set(_NUMBER.findall(line.typed)), set(_NUMBER.findall(line.command)) - set(_EVERYBODY)
    if not typed:
        return said <= {"8080", "198.51.100.7"}
    return said == typed


@pytest.mark.parametrize(
    ("typed", "command", "exact"),
    [
        ("insert 1 allow 22", "hostfwctl allow 22", True),
        ("insert 1 allow 22", "hostfwctl allow tcp/8080", False),
        ("-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT", "hostfwctl allow tcp/22", False),
        ("-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT", "hostfwctl allow tcp/22 from 10.0.0.0/8", True),
        ("-A INPUT -s 1.2.3.4 -j DROP", "hostfwctl deny in from 1.2.3.4", True),
        ("-A INPUT -s 1.2.3.4 -j DROP", "hostfwctl deny in from 1.2.3.0/24", False),
        ("ban", "hostfwctl deny 198.51.100.7", True),
    ],
)
def test_an_answer_that_is_wider_would_be_seen(typed: str, command: str, exact: bool) -> None:
    """By the numbers in it."""
    assert is_exact(Line(typed, "opens", "", command, "")) is exact


def test_the_name_of_the_program_may_stand_before_its_words() -> None:
    """`hostfwctl ufw deny 23` is answered like `hostfwctl deny 23`, or with it."""
    wrong: list[str] = []
    for line in LINES:
        if not line.program:
            continue
        found = answered([line.program, *line.words])
        if not is_command(found[0]) or effect(found[0]) not in MAY_DO.get(line.asks, ANY):
            wrong.append(f"{line.place}: {line.program} {line.typed}: {found[0]}")

    assert wrong == []


@pytest.mark.parametrize("word", sorted({*OTHERWISE, *WORDS, *PROGRAMS} - {"hostfwctl", "hostfw", "sudo"}))
def test_a_word_is_answered_alone_and_behind_options(word: str) -> None:
    """With a command that means something; none of the words is one of our own verbs."""
    assert word not in OWN
    assert all(map(is_command, answered([word])))
    assert answered(["--quiet", word]) == answered([word])
    assert answered(["--config-dir", "/x", word]) == answered([word])


@pytest.mark.parametrize(("name", "ports"), [("Nginx Full", {80, 443}), ("OpenSSH", {22}), ("Apache", {80})])
def test_the_profiles_of_ufw_that_tutorials_begin_with_are_services(name: str, ports: set[int]) -> None:
    """Under their names there."""
    assert {port for _, port in ports_of_service(name)} == ports
    assert takes(["allow", name])


@pytest.mark.parametrize(
    ("name", "ports"), [("samba", {137, 138, 139, 445}), ("cockpit", {9090}), ("wireguard", {51820})]
)
def test_services_of_firewalld_are_services(name: str, ports: set[int]) -> None:
    """Those that /etc/services of Debian does not have."""
    assert {port for _, port in ports_of_service(name)} == ports


def is_command(text: str) -> bool:
    """True for a command line that exists; words in capitals stand for what its user knows."""
    program, *words = shlex.split(text)
    if program != "hostfwctl":
        return bool(words)
    return takes([_EXAMPLES.get(word, word).replace("NUMBER", "1") for word in words])


_EXAMPLES = {
    "TIME": "1h",
    "DST:PORT": "192.0.2.7:80",
    "SRC": "192.0.2.9",
    "ADDRESS": "192.0.2.7",
    "ADDRESS...": "192.0.2.7",
}


def takes(words: list[str]) -> bool:
    """True for a command line that means something."""
    if words[-1] == "--help" or words == ["help"]:
        return words[0] in (*OWN, "--help", "help")
    if words == ["--version"]:
        return True
    try:
        found = parse(words)
    except UsageError:
        return False
    rule = found.words[1:] if found.verb == "remove" else found.words
    verb = found.words[0] if found.verb == "remove" else found.verb
    if verb in ("allow", "deny"):
        parse_words(Action(verb.title()), rule, ports_of_service)
    return found.verb == words[0]


def test_what_nobody_means_is_led_to_the_help_of_the_verb() -> None:
    """Nothing is guessed of an option."""
    assert meant("apply", ["--fast"]) == "`hostfwctl apply --help` lists its options"
    assert meant("selector", ["x"]) == "`hostfwctl selector --help` lists its options"
    assert elsewhere(["xyzzy"], OWN) is None


@pytest.mark.parametrize(
    ("line", "message", "command"),
    [
        ("block", '"block" is called "lockdown"', "`hostfwctl lockdown`"),
        ("block --for 30m", '"block" is called "lockdown"', "`hostfwctl lockdown --for 30m`"),
        ("block 192.0.2.66", 'unknown verb "block"', "`hostfwctl deny 192.0.2.66`"),
    ],
)
def test_block_alone_asks_for_lockdown(line: str, message: str, command: str) -> None:
    """It was a verb of that name; what it is typed with tells which of two things it means."""
    status, _, err = hostfwctl(*line.split())

    assert status == ExitCode.USAGE
    assert message in err
    assert command in " ".join(err.split())


@pytest.mark.parametrize("line", ["help", "help apply"])
def test_help_is_a_verb_too(line: str) -> None:
    """It prints what --help prints."""
    words = line.split()

    assert hostfwctl(*words) == hostfwctl(*words[1:], "--help")
    assert hostfwctl(*words).status == 0
