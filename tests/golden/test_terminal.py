"""The output on terminals of 80 and of 200 columns, byte for byte: every verb, and every page of help."""

import re
from pathlib import Path
from time import tzset

import pytest

from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.output.terminal import cell_width
from hostfw.host.nftables.writing.script_runner import NftResult
from tests.golden.terminal_host import LONG, terminal_host
from tests.golden.test_golden import compare
from tests.unit.cli_runs import Machine, hostfwctl

HERE = Path(__file__).parent / "terminal"
WIDTHS = (80, 200)
_GENERATION = re.compile(r"\b[0-9a-f]{12}\b")
"""Ids of generations, the digests of rulesets that other golden files hold."""

_WAVES = ("--wave", "canary@0", "--wave", "all:10%@30m", "--wave", "all@2h", "--most-failed", "3%")

OUTPUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "validate": (("-f", "broken"),),
    "diff": ((), ("-f", "etc/sets.yaml")),
    "apply": ((), ("-f", "broken"), ("-f", "etc/sets.yaml")),
    "allow": (("tcp/http/https",), ("tcp/22", "from", "nobody-knows-this-network-set-of-a-long-name")),
    "deny": (("198.51.100.7", "--cut", "--dryrun"),),
    "remove": (("allow-tcp-8080",),),
    "feed": (("list",), ("update", "nobody")),
    "set": (("list",), ("add", "nobody", "198.51.100.7", "for", "4h")),
    "rules": ((),),
    "confirm": ((),),
    "rollback": ((), ("--to", "1", "--accept-loss")),
    "history": ((),),
    "reload": ((),),
    "status": ((),),
    "get": (("gnp",), ("hep",), ("gns",), ("sgnp",), ("tier",), ("profile",), ("ig",), ("gnp", "nobody")),
    "describe": (
        ("hep", "uplink-of-the-provider-with-the-long-name"),
        ("gnp", "web"),
        ("gnp", LONG),
        ("gns", "offices"),
        ("tier", "operations-and-monitoring"),
        ("ig", "containers"),
    ),
    "explain": (
        ("2001:db8:1:ffff:ffff:ffff:ffff:1", "[2001:db8:1234:5678:9abc:def0:1234:5678]:8017", "--in", "enp130s0f0np0"),
        ("203.0.113.9", "host:25", "--in", "enp130s0f0np0", "-v"),
        ("2001:db8:1::9", "[2001:db8:1234:5678:9abc:def0:1234:5678]:23", "--in", "enp130s0f0np0", "-v"),
    ),
    "exposure": ((), ("-v",)),
    "fleet": (("fleet", "--against", "before", "--tests", "test.yaml", "--reach", "tcp/22"), ("nowhere",)),
    "bundle": (
        (*("policies", "-o", "web.hostfw", "--key", "key", "--number", "7"), *_WAVES),
        ("broken", "-o", "web.hostfw", "--key", "key"),
    ),
    "pull": (
        ("web.hostfw", "--signers", "signers", "--confirm-by", "true"),
        ("web.hostfw", "--signers", "rules.v4", "--confirm-by", "true"),
    ),
    "selector": (("role == 'web' && site in {'one', 'two'", "--label", "role=web"),),
    "interfaces": ((),),
    "workloads": ((),),
    "drops": ((), ("--top",)),
    "counters": ((), ("--policy", "web")),
    "staged": (("no-telnet-from-anywhere-any-more",),),
    "lockdown": ((), ("--all", "--for", "30m"), ("--all",)),
    "unblock": ((),),
    "init": ((),),
    "import": (("iptables-save", "--ipv4", "rules.v4", "--packets", "500"), ("ufw", "--root", "nowhere")),
    "promote": (("no-telnet-from-anywhere-any-more",), ("nobody",)),
    "disable": ((),),
    "doctor": ((),),
    "version": ((), ("-o", "json")),
}
"""The command lines of each verb; those without one print a script, a schema or what the machine is."""
VERBATIM = ("compile", "completion", "import", "init", "promote", "schema")
"""The verbs whose data is to be loaded, applied or sourced, in one form whatever the terminal."""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    tzset()
    return terminal_host(tmp_path, monkeypatch)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", [verb for verb, lines in OUTPUTS.items() if lines])
def test_a_verb_looks_as_it_was_reviewed(
    host: Machine, monkeypatch: pytest.MonkeyPatch, verb: str, width: int, *, update_golden: bool
) -> None:
    """Data and messages fit the terminal, whatever the names and addresses are."""
    monkeypatch.setenv("COLUMNS", str(width))
    told = []
    for line in OUTPUTS[verb]:
        if verb == "lockdown":
            # The host in memory has no tables of the family of a block.
            host.kernel.failures.extend([NftResult(ok=True)] * (4 if line else 0))
        status, out, err = host.hostfwctl(verb, *line)
        told.append(_GENERATION.sub("0123456789ab", f"$ hostfwctl {' '.join((verb, *line))}\n{out}{err}= {status}\n"))
        laid_out = err if verb in VERBATIM else f"{out}{err}"
        assert [line for line in laid_out.splitlines() if cell_width(line) > width] == []
    monkeypatch.undo()
    tzset()

    compare(HERE / str(width) / f"{verb}.txt", "\n".join(told), update_golden=update_golden)


@pytest.mark.parametrize("page", ["", *(verb.name for verb in VERBS)])
def test_a_page_of_help_looks_as_it_was_reviewed(
    monkeypatch: pytest.MonkeyPatch, page: str, *, update_golden: bool
) -> None:
    """No page is wider than 80 columns, however wide the terminal is."""
    outs = []
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        outs.append(hostfwctl(*([page] if page else []), "--help").out)

    assert [line for line in outs[0].splitlines() if cell_width(line) > WIDTHS[0]] == []
    assert outs[0] == outs[1]
    compare(HERE / "help" / f"{page or 'hostfwctl'}.txt", outs[0], update_golden=update_golden)


WRONG_LINES = (
    ("bogus",),
    ("apply", "--confirm-within", "x"),
    ("drops", "--since", "x"),
    ("lockdown", "--for", "x"),
    ("status", "-o", "xml"),
    ("explain",),
    ("set", "add"),
    ("allow", "--no-such-option"),
    ("get", "nothing-of-that-kind-" * 6),
    *((verb.name, "--no-such-option=" + "x" * 90) for verb in VERBS),
)


@pytest.mark.parametrize("line", WRONG_LINES, ids=" ".join)
def test_what_is_wrong_with_a_command_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, line: tuple[str]) -> None:
    """But for a word that is longer than the terminal is wide, which stays whole."""
    monkeypatch.setenv("COLUMNS", "80")

    ran = hostfwctl(*line)

    assert ran.status != 0
    assert [
        told for told in ran.err.splitlines() if cell_width(told) > 80 and len(max(told.split(), key=len)) < 70
    ] == []


def test_every_verb_that_prints_for_people_is_here() -> None:
    """But those that print nothing but data."""
    assert OUTPUTS.keys() == {verb.name for verb in VERBS} - {"compile", "completion", "schema"}
