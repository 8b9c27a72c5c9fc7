"""Interfaces by names that mean something elsewhere: to a shell, to nft, to us. The kernel takes nearly any byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import FAMILIES, UDP
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, run
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe

Hostfwctl = Callable[..., CompletedProcess[str]]

ODD = ("$(>ran)", "`>ran`", ";>ran;", "*", "'x", '"y', "\\z", "a;b", "{a,b}", "~root", "!0", "a$b")
"""Names that a shell makes more of. The first ones, where it does, leave a file called `ran`."""
QUOTED = (
    r"\$\(\>ran\)",
    r"\`\>ran\`",
    r"\;\>ran\;",
    r"\*",
    r"\'x",
    r"\"y",
    r"\\z",
    r"a\;b",
    r"\{a\,b\}",
    r"\~root",
    r"\!0",
)

_ZSH = """\
function _wanted() { shift 3; "$@" }
function compadd() { print -rl -- "$links[@]" }
function _arguments() { return 1 }
source $1
_hostfwctl_interfaces
"""
_BASH = """\
source "$1"; COMP_WORDS=(hostfwctl explain 1.1.1.1 host:22 --in ''); COMP_CWORD=5; _hostfwctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = "source $argv[1]; complete -C 'hostfwctl explain 1.1.1.1 host:22 --in '"


@pytest.fixture
def odd_host(host: Namespace) -> Namespace:
    """The host of `lab` with an interface by each odd name."""
    for name in ODD:
        run(host, ["ip", "link", "add", name, "type", "bridge"])
    return host


def completed(host: Namespace, folder: Path, *command: str) -> list[str]:
    """The output of a shell in a folder that is empty before and after; it sees the host's interfaces."""
    folder.mkdir()
    see = 'cd "$1" && mount -t sysfs sysfs /sys && shift && exec "$@"'
    done = run(host, ["unshare", "--mount", "sh", "-c", see, "sh", str(folder), *command])
    assert [path.name for path in folder.iterdir()] == []
    return done.stdout.splitlines()


def script(hostfwctl: Hostfwctl, tmp_path: Path, shell: str) -> str:
    """The completion script of a shell, in a file."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / shell
    path.write_text(hostfwctl("completion", shell).stdout)
    return str(path)


def test_bash_runs_nothing_and_offers_names_quoted(odd_host: Namespace, hostfwctl: Hostfwctl, tmp_path: Path) -> None:
    """So that the line that is completed runs nothing either."""
    offered = completed(odd_host, tmp_path / "in", "bash", "-c", _BASH, "bash", script(hostfwctl, tmp_path, "bash"))

    assert set(offered) >= {"eth0", "lo", *QUOTED}
    assert set(offered).isdisjoint(set(ODD))
    again = completed(odd_host, tmp_path / "again", "bash", "-c", f"printf '%s\\n' {' '.join(offered)}")
    assert set(again) >= {"eth0", "lo", *ODD}


def test_fish_runs_nothing(odd_host: Namespace, hostfwctl: Hostfwctl, tmp_path: Path) -> None:
    """It takes names as they are and quotes what it inserts."""
    path = script(hostfwctl, tmp_path, "fish")
    offered = completed(odd_host, tmp_path / "in", "fish", "--no-config", "-c", _FISH, path)

    assert {line.partition("\t")[0] for line in offered} >= {"eth0", "lo"}


def test_zsh_runs_nothing(odd_host: Namespace, hostfwctl: Hostfwctl, tmp_path: Path) -> None:
    """It takes names as they are, and `compadd` quotes what it inserts."""
    path = script(hostfwctl, tmp_path, "zsh")

    assert set(completed(odd_host, tmp_path / "in", "zsh", "-f", "-c", _ZSH, "zsh", path)) >= {"eth0", "lo", *ODD}


_GROUP = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: guests}
spec: {match: [{kind: veth}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: guests, labels: {role: guests}}
spec: {node: host, interfaceGroup: guests}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: open}
spec: {selector: role == 'guests', types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]}
"""
_IN = tuple(Flow("peer", "host", UDP, 9999, family) for family in FAMILIES)
_OUT = tuple(Flow("host", "peer", UDP, 9999, family) for family in FAMILIES)


@pytest.mark.parametrize("name", ["*", "e*", "eth*", 'a"b', "a\\b", "e\x7f"])
@pytest.mark.parametrize(
    ("settings", "outward"), [("{}", Verdict.ALLOWED), ("unmanagedInterfaces: {egress: deny}", Verdict.DROPPED)]
)
def test_an_interface_that_nft_cannot_match_is_as_unmanaged_ones_are(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, name: str, settings: str, outward: Verdict
) -> None:
    """Whatever its group allows; and no other interface gets that policy by a name such as `*`."""
    run(lab["host"], ["ip", "link", "set", "eth0", "down"])
    run(lab["host"], ["ip", "link", "set", "eth0", "name", name])
    run(lab["host"], ["ip", "link", "set", name, "up"])
    run(lab["host"], ["ip", "-6", "address", "replace", "2001:db8::1/64", "dev", name, "nodad"])
    (installation.config / "hostfw.yaml").write_text(settings)
    (installation.config / "policy.yaml").write_text(_GROUP)

    said = hostfwctl("apply").stderr

    assert "nftables cannot match its name" in said
    assert {outcome.verdict for outcome in probe(lab, _IN, DENY_PATIENCE_S)} == {Verdict.DROPPED}
    patience_s = ALLOW_PATIENCE_S if outward is Verdict.ALLOWED else DENY_PATIENCE_S
    assert {outcome.verdict for outcome in probe(lab, _OUT, patience_s)} == {outward}
    run(lab["host"], ["ip", "link", "add", "eth9", "type", "bridge"])
    assert "guests" not in next(line for line in hostfwctl("interfaces").stdout.splitlines() if line.startswith("eth9"))
