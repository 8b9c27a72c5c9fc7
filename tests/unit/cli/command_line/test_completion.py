"""Completion: what each shell is told is the command line, and bash and fish complete by it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hostfw.cli.command_line.grammar import Argument, command_line_parts
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.completion.values import flags_with_values
from tests.unit.cli_runs import hostfwctl

SHELLS = ("bash", "fish", "zsh")
CONFIGURATION = Path(__file__).parents[4] / "examples" / "bastion" / "etc"
POLICIES = ["ping", "ssh-from-office", "ssh-to-servers"]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script of each shell, in a file, beside a hostfwctl that has a configuration."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(hostfwctl("completion", shell).out)
    command = folder / "bin" / "hostfwctl"
    command.parent.mkdir()
    root = Path(__file__).parents[4]
    command.write_text(
        f'#!/bin/sh\ncd {root}\nexec /usr/bin/python3 -m hostfw.cli --config-dir "{CONFIGURATION}" "$@"\n'
    )
    command.chmod(0o755)
    return {shell: folder / shell for shell in SHELLS}


def run(script: Path, *command: str) -> str:
    """The output of a shell."""
    environment = {"PATH": f"{script.parent / 'bin'}:/usr/bin:/bin", "HOME": str(script.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_bash(script: Path, *words: str) -> list[str]:
    """The completions of the last word, as bash splits words: at = and : too."""
    text = (
        f'source {script}; compopt() {{ :; }}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hostfwctl; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return run(script, "bash", "-uc", text, "bash", "hostfwctl", *words).split()


def in_fish(script: Path, line: str) -> list[str]:
    """The completions of the last word, without their descriptions."""
    out = run(script, "fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
    return [each.partition("\t")[0] for each in out.splitlines()]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_knows_every_verb_and_option(shell: str, scripts: dict[str, Path]) -> None:
    """Whatever argparse takes is in the script."""
    text, line = scripts[shell].read_text(), command_line_parts()
    options = [option for verb in line.verbs for option in verb.options]

    flags = {flag for argument in (*line.common, *line.alone, *options) for flag in argument.flags}
    words = {each for flag in flags for each in ([_in_fish(flag)] if shell == "fish" else [flag])}
    assert sorted(word for word in words if word not in text) == []
    assert [verb.name for verb in line.verbs if verb.name not in text] == []


def _in_fish(flag: str) -> str:
    return f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"


def test_the_anatomy_is_that_of_the_verbs() -> None:
    """No verb is missing, and an option that takes a value takes one wherever it is."""
    line = command_line_parts()
    without = {
        flag for verb in line.verbs for option in verb.options if not option.takes_value for flag in option.flags
    }

    assert [verb.name for verb in line.verbs] == [verb.name for verb in VERBS]
    assert without.isdisjoint(flags_with_values(line))


def test_an_argument_is_told_with_its_values() -> None:
    """Choices, repetition and whether it may be left out come from argparse."""
    apply, get = (next(verb for verb in command_line_parts().verbs if verb.name == name) for name in ("apply", "get"))

    assert [option.flags for option in apply.options if option.repeatable] == [("-f", "--filename")]
    assert get.positionals[1] == Argument((), "NAME", "one resource (default: all of the kind)", optional=True)
    assert next(option for option in get.options if "-o" in option.flags).choices == (
        *("table", "wide", "yaml", "json", "name"),
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_good_syntax(shell: str, scripts: dict[str, Path]) -> None:
    """The shell itself reads it without a complaint."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    assert run(scripts[shell], shell, "--no-execute" if shell == "fish" else "-n", str(scripts[shell])) == ""


def test_no_other_shell() -> None:
    """A shell that it does not know is a mistake in the command line."""
    assert hostfwctl("completion", "tcsh").err.startswith(
        'hostfwctl: unknown value of SHELL "tcsh"\n  hint: one of bash, fish, zsh\n'
    )


BASH = [
    ("a verb", ["va"], ["validate"]),
    ("every verb", [""], [verb.name for verb in VERBS]),
    ("options before the verb", ["--ver"], ["--verbose", "--version"]),
    ("options of the verb", ["apply", "--con"], ["--confirm-within", "--config-dir"]),
    ("the form of output", ["get", "-o", "j"], ["json"]),
    ("a value after =", ["get", "--output", "=", "j"], ["json"]),
    ("a value after = and nothing", ["diff", "--color", "="], ["auto", "always", "never"]),
    ("a kind", ["--config-dir", "/x", "get", "glob"], ["globalnetworkpolicy", "globalnetworkset"]),
    ("a kind or the settings", ["schema", "set"], ["settings"]),
    ("a resource", ["get", "gnp", "ssh"], POLICIES[1:]),
    ("a resource, after an option", ["describe", "-o", "json", "hep", ""], ["bastion-eth0"]),
    ("a policy", ["drops", "--policy", ""], POLICIES),
    ("an interface", ["explain", "--in", "l"], ["lo"]),
    ("files", ["validate", "-f", "/etc/hostn"], ["/etc/hostname"]),
    ("more files", ["validate", "-f", "a", "/etc/hostn"], ["/etc/hostname"]),
    ("directories", ["apply", "--state-dir", "/usr/shar"], ["/usr/share"]),
    ("nothing to offer", ["apply", "--confirm-within", ""], []),
]


@pytest.mark.parametrize(("words", "expected"), [c[1:] for c in BASH], ids=[c[0] for c in BASH])
def test_bash_completes(words: list[str], expected: list[str], scripts: dict[str, Path]) -> None:
    """Verbs, options, and the values of each, where they may stand."""
    assert in_bash(scripts["bash"], *words) == expected


FISH = [
    ("a verb", "hostfwctl va", ["validate"]),
    ("an option", "hostfwctl apply --confirm-w", ["--confirm-within="]),
    ("a kind", "hostfwctl --config-dir /x get globalnetworks", ["globalnetworkset"]),
    ("a resource", "hostfwctl get -o json gnp ", POLICIES),
    ("a policy", "hostfwctl counters --policy ", POLICIES),
    ("the form of output", "hostfwctl status -o ", ["json", "table", "yaml"]),
    ("options of no other verb", "hostfwctl validate --reas", []),
]


@pytest.mark.parametrize(("line", "expected"), [c[1:] for c in FISH], ids=[c[0] for c in FISH])
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(line: str, expected: list[str], scripts: dict[str, Path]) -> None:
    """As bash does."""
    found = in_fish(scripts["fish"], line)

    assert [each.rstrip("=") for each in found] == [each.rstrip("=") for each in expected]
