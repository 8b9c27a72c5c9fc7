"""The command line: what it takes, and what it says of what it does not."""

import shlex
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from hostfw import __version__
from hostfw.cli.command_line.argument_parser import CONFIG_DIR, RUN_DIR, STATE_DIR, UsageError
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.command_line.parser import parse
from hostfw.cli.command_line.verb_table import VERBS, Verb
from tests.unit.cli_runs import hostfwctl

ROOT = Path(__file__).parents[4]
A, B = Path("a.yaml"), Path("b")


def options(verb: str, **others: object) -> Options:
    """Options that differ from the defaults in `others`."""
    directories = {"config_dir": CONFIG_DIR, "state_dir": STATE_DIR, "run_dir": RUN_DIR}
    return Options(**({"verb": verb} | directories | others))  # type: ignore[arg-type]


PARSED = [
    ("a bare verb", ["validate"], options("validate")),
    ("several files after one -f", ["validate", "-f", "a.yaml", "b"], options("validate", files=(A, B))),
    ("several -f", ["diff", "-f", "a.yaml", "-f", "b"], options("diff", files=(A, B))),
    ("standard input", ["validate", "-f", "-"], options("validate", files=(Path("-"),))),
    ("a form of output", ["validate", "-o", "json"], options("validate", output=Output.JSON)),
    ("the default form of a table", ["status"], options("status", output=Output.TABLE)),
    ("facts", ["compile", "--facts", "a.yaml"], options("compile", facts=A)),
    ("directories before the verb", ["--config-dir", "b", "apply"], options("apply", config_dir=B)),
    ("directories after the verb", ["apply", "--config-dir", "b"], options("apply", config_dir=B)),
    ("the nearer one wins", ["--run-dir", "a", "apply", "--run-dir", "b"], options("apply", run_dir=B)),
    ("quiet before", ["-q", "reload"], options("reload", verbosity=-1, output=Output.TEXT)),
    ("verbose after", ["reload", "-v"], options("reload", verbosity=1)),
    ("colour in either spelling", ["--colour=never", "diff", "--color", "always"], options("diff", colour="always")),
    ("a kind", ["get", "gnp"], options("get", kind="gnp", output=Output.TABLE)),
    (
        "a kind and a name, and one file each -f",
        ["get", "-f", "a.yaml", "gnp", "web"],
        options("get", kind="gnp", name="web", files=(A,), output=Output.TABLE),
    ),
    ("flags", ["diff", "--nft"], options("diff", nft=True)),
    ("annotate", ["validate", "--annotate"], options("validate", annotate=True)),
    (
        "a packet",
        ["explain", "a", "b:1/udp", "--in", "eth0", "--out", "eth1", "--sport", "7", "--state", "invalid"],
        options(
            "explain",
            source="a",
            destination="b:1/udp",
            in_interface="eth0",
            out_interface="eth1",
            source_port=7,
            state="invalid",
        ),
    ),
    (
        "a packet of another host",
        ["explain", "-f", "a.yaml", "host", "b", "--icmp", "3/1", "--facts", "b", "-o", "yaml"],
        options("explain", source="host", destination="b", icmp="3/1", files=(A,), facts=B, output=Output.YAML),
    ),
    (
        "a selector and labels",
        ["selector", "has(a)", "--label", "a=b", "--label", "c=d"],
        options("selector", selector="has(a)", labels=("a=b", "c=d")),
    ),
    (
        "a resource on another host",
        ["describe", "hep", "eth0", "--facts", "b"],
        options("describe", kind="hep", name="eth0", facts=B),
    ),
]


@pytest.mark.parametrize(("arguments", "expected"), [c[1:] for c in PARSED], ids=[c[0] for c in PARSED])
def test_a_command_line_means_one_thing(arguments: list[str], expected: Options) -> None:
    """Options of every verb stand before or after it; the others after it."""
    assert parse(arguments) == expected


ALL_VERBS = f"  hint: one of {', '.join(verb.name for verb in VERBS)}\n"

REFUSED = [
    ("a verb misspelt", ["aply"], 'hostfwctl: unknown verb "aply"\n  hint: did you mean "apply"?\n'),
    ("a verb that is like none", ["frobnicate"], f'hostfwctl: unknown verb "frobnicate"\n{ALL_VERBS}'),
    ("no verb", [], "hostfwctl: VERB is missing\n  hint: `hostfwctl --help` explains it\n"),
    (
        "a form misspelt",
        ["get", "gnp", "-o", "jsn"],
        'hostfwctl: unknown value of -o/--output "jsn"\n  hint: did you mean "json"?\n',
    ),
    (
        "a form that the verb has not",
        ["status", "-o", "name"],
        'hostfwctl: unknown value of -o/--output "name"\n  hint: one of table, json, yaml\n',
    ),
    ("no kind", ["get"], "hostfwctl: KIND is missing\n  hint: `hostfwctl get --help` explains it\n"),
    (
        "an unknown option",
        ["apply", "--fast"],
        "hostfwctl: unknown: --fast\n  hint: `hostfwctl apply --help` lists its options\n",
    ),
    (
        "an option cut short",
        ["apply", "--config", "x"],
        (
            "hostfwctl: unknown: --config x\n"
            '  hint: did you mean "--config-dir"? `hostfwctl apply --help` lists its options\n'
        ),
    ),
    (
        "two forms at once",
        ["validate", "--annotate", "-o", "json"],
        "hostfwctl: argument -o/--output: not allowed with argument --annotate\n",
    ),
    ("an argument that steers a terminal", ["\x1b[2J"], f'hostfwctl: unknown verb "\\x1b[2J"\n{ALL_VERBS}'),
]


@pytest.mark.parametrize(("arguments", "expected"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_wrong_command_line_says_why(arguments: list[str], expected: str) -> None:
    """Exit status 2, why, what was probably meant, and how it should look; nothing on standard output."""
    status, out, err = hostfwctl(*arguments)

    assert (status, out) == (2, "")
    assert err.startswith(f"{expected}usage: hostfwctl [OPTION...] ")


def test_the_version_is_printed() -> None:
    """`--version` is data, and done."""
    assert hostfwctl("--version") == (0, f"hostfwctl {__version__}\n", "")


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_every_verb_explains_itself(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of a verb has examples that parse, and every exit status; it fits a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    status, out, _ = hostfwctl(verb.name, "--help")

    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith(f"usage: hostfwctl [OPTION...] {verb.name} ")
    assert max(map(len, lines)) <= 80
    for heading in ("examples:", "exit status:", "options of every verb:"):
        assert heading in lines
    for line in lines[lines.index("examples:") + 1 : lines.index("exit status:") - 1]:
        words = shlex.split(line.split("hostfwctl ", 1)[1].split("  ")[0].split("|")[0].split(">")[0])
        assert parse(words).verb in {v.name for v in VERBS}


def test_the_help_of_everything_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of `hostfwctl --help` takes at most 80 columns, also where there are more or nobody knows."""
    for columns in ("80", "200", ""):
        monkeypatch.setenv("COLUMNS", columns)

        assert max(map(len, hostfwctl("--help").out.splitlines())) <= 80


def test_a_verb_is_a_module_of_its_own() -> None:
    """The table of verbs and the modules agree; each module has arguments, a page of help and a way to run."""
    modules = {path.stem.removesuffix("_"): path.parent.name for path in (ROOT / "hostfw/cli/verbs").glob("*/[!_]*.py")}

    assert {verb.name: verb.subject for verb in VERBS} == modules
    for verb in VERBS:
        module = verb.load()
        assert callable(module.arguments)
        assert callable(module.run)
        assert module.HELP.examples


SLOW = {
    "yaml",
    "pyroute2",
    "nftables",
    "json",
    "subprocess",
    "hashlib",
    "difflib",
    "hostfw.engine",
}
NOT_FOR_JUDGING = (SLOW | {"hostfw.compile", "hostfw.nft", "hostfw.model.plan"}) - {"yaml", "hostfw.engine"}
NOT_FOR_VALIDATING = NOT_FOR_JUDGING | {
    "hostfw.policy.resolve",
    "hashlib",
    "json",
    "textwrap",
    "hostfw.cli.output.documents",
    "hostfw.cli.output.tables",
    "hostfw.host.download",
    "hostfw.host.store.configuration.ignored",
    "hostfw.manifest.files.feed_file",
    "hostfw.manifest.files.ignore_file",
    "hostfw.manifest.kinds.feed",
    "hostfw.manifest.kinds.namespace",
    "hostfw.manifest.kubernetes",
    "hostfw.model.kinds.feed_sources",
    "hostfw.model.kinds.kubernetes",
}

NOT_FOR_EXPLAINING = {
    "yaml",
    "hostfw.build",
    "hostfw.engine",
    "hostfw.host.store",
    "hostfw.manifest.decode",
    "hostfw.model.resources",
    "hostfw.policy",
    "hostfw.selector",
}
NOT_FOR_LOOKING = {
    "asyncio",
    "pyroute2",
    "nftables",
    "yaml",
    "hostfw.build",
    "hostfw.compile",
    "hostfw.engine.kernel.deploy.deploy",
    "hostfw.engine.engine",
    "hostfw.explain",
    "hostfw.policy",
    "hostfw.selector",
    "hostfw.manifest.decode",
    "hostfw.model.kinds.feed_sources",
    "hostfw.model.kinds.kubernetes",
    "pickle",
}
NOT_FOR_ASKING = {
    "asyncio",
    "pyroute2",
    "nftables",
    "yaml",
    "hostfw.build.candidate",
    "hostfw.compile",
    "hostfw.engine.engine",
    "hostfw.host.network.routing",
    "hostfw.manifest.decode",
    "hostfw.manifest.fields",
    "hostfw.model.kinds.kubernetes",
}
NOWHERE = ["--config-dir", "/nowhere", "--state-dir", "/nowhere", "--run-dir", "/nowhere"]

LOADED = [
    ("--version", ["--version"], SLOW),
    ("--help", ["--help"], SLOW),
    ("validate --help", ["validate", "--help"], NOT_FOR_EXPLAINING),
    ("validate", ["validate", "-f", "examples/bastion/etc"], NOT_FOR_VALIDATING),
    ("get", ["get", "gnp", "-f", "examples/bastion/etc"], NOT_FOR_JUDGING),
    ("selector", ["selector", "all()"], NOT_FOR_JUDGING),
    ("status", [*NOWHERE, "status"], NOT_FOR_LOOKING - {"hostfw.build"} | {"hostfw.build.generation", "uuid"}),
    ("exposure", [*NOWHERE, "exposure"], NOT_FOR_ASKING),
    ("history", [*NOWHERE, "history"], NOT_FOR_LOOKING),
    ("lockdown", [*NOWHERE, "lockdown", "--help"], NOT_FOR_LOOKING),
    ("unblock", [*NOWHERE, "unblock", "--help"], NOT_FOR_LOOKING),
]


@pytest.mark.parametrize(("arguments", "unused"), [c[1:] for c in LOADED], ids=[c[0] for c in LOADED])
def test_nothing_is_loaded_that_a_verb_does_not_use(arguments: list[str], unused: set[str]) -> None:
    """Modules that take milliseconds to load are loaded where they are used."""
    code = f"""
import sys
from io import StringIO
from hostfw.cli.main import run
# 4: nothing is in force, or not permitted.
assert run({arguments!r}, StringIO(), StringIO()) in (0, 4)
print(sorted(set(sys.modules) & {unused!r}))
"""

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


STARTED_BY_ANYTHING = "import argparse, dataclasses, pathlib, signal, socket, typing, unicodedata"
"""Modules of Python that a program with a command line of its own has."""


def test_the_version_is_there_at_once() -> None:
    """`hostfwctl --version` takes little more processor time than Python and its parser, on whatever machine.

    Each is the best of five that take turns: 1.2 on a quiet machine and on a busy one; the modules of `validate` make
    it 3.
    """
    ours, pythons = ("-m", "hostfw.cli", "--version"), ("-c", STARTED_BY_ANYTHING)
    took = [(_processor_time_s(*ours), _processor_time_s(*pythons)) for _ in range(5)]

    assert min(one for one, _ in took) < 1.8 * min(other for _, other in took)


def _processor_time_s(*arguments: str) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_words_of_a_quick_rule_go_on_behind_an_option() -> None:
    """As people type it: an option may stand in the midst of them; what is no option of the verb is still refused."""
    assert parse(["deny", "198.51.100.7", "--cut", "for", "4h"]).words == ("198.51.100.7", "for", "4h")
    assert parse(["allow", "tcp/80", "--reason", "x", "from", "10.0.0.0/8"]).words == ("tcp/80", "from", "10.0.0.0/8")
    with pytest.raises(UsageError, match="unknown: --cute for 4h"):
        parse(["deny", "198.51.100.7", "--cute", "for", "4h"])
