"""Changes of another program to our tables while nobody listens: reported, and put right by the next apply.

Without a daemon; `test_drift_service` has those that the running service answers to.
"""

import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Status
from hostfw.host.nftables.tables import read_tables
from hostfw.host.nftables.writing.script_runner import NftablesWorker, NftResult
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.values import FAMILIES
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, run
from tests.kernel.conftest import Hostfwctl
from tests.kernel.packets.connections import admits

ROOT = Path(__file__).parents[3]
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0, node: host}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
"""


def nft(node: Namespace, script: str) -> None:
    """Another program's transaction."""
    run(node, ["nft", "-f", "-"], text=script)


def structure(node: Namespace) -> object:
    """Everything of our tables but handles and what traffic changes."""
    with inside(node):
        tables = read_tables()
    return [
        (
            table.flags,
            table.others,
            sorted((chain.name, chain.base, chain.digest) for chain in table.chains),
            sorted((one.name, str(one.declaration)) for one in table.sets),
        )
        for table in map(tables.of, FAMILIES)
    ]


def moved(node: Namespace, chain: str, spec: str) -> str:
    """A script that makes the input chain again as `spec` says, with its rules."""
    listed = run(node, ["nft", "list", "chain", "ip", "hostfw", chain]).stdout
    rules = [line.strip() for line in listed.splitlines()[2:] if line.strip() not in ("}", "") and "hook" not in line]
    return "".join(
        (
            f"delete chain ip hostfw {chain}\nadd chain ip hostfw {chain} {spec}\n",
            *(f"add rule ip hostfw {chain} {rule}\n" for rule in rules),
        )
    )


TAMPERING = {
    "a dormant table": "add table ip hostfw {{ flags dormant; }}",
    "both dormant": "add table ip hostfw {{ flags dormant; }}\nadd table ip6 hostfw {{ flags dormant; }}",
    "another hook": "{input-forward}",
    "another priority": "{input-later}",
    "no hook": "{input-none}",
    "another type": "{output-route}",
    "a policy": "add chain ip hostfw input {{ policy accept; }}",
    "a base chain": "add chain ip hostfw theirs {{ type filter hook input priority -5; policy accept; }}",
    "a chain": "add chain ip hostfw theirs",
    "a rule in front": "insert rule ip hostfw input accept",
    "no rules": "flush chain ip hostfw input",
    "a quota": "add quota ip hostfw theirs {{ 25 mbytes }}",
    "dormant and empty": "add table ip hostfw {{ flags dormant; }}\nflush chain ip hostfw input",
}
_SPECS = {
    "input-forward": ("input", "{ type filter hook forward priority 5; policy drop; }"),
    "input-later": ("input", "{ type filter hook input priority 7; policy drop; }"),
    "input-none": ("input", ""),
    "output-route": ("output", "{ type route hook output priority 0; policy drop; }"),
}


def script_of(node: Namespace, tampering: str) -> str:
    """The script of a tampering, in the table as it is."""
    return TAMPERING[tampering].format(**{name: moved(node, *spec) for name, spec in _SPECS.items()})


@pytest.fixture
def applied(installation: Installation, hostfwctl: Hostfwctl) -> CompletedProcess[str]:
    """One open port."""
    (installation.config / "policy.yaml").write_text(_POLICY)
    return hostfwctl("apply")


@pytest.mark.parametrize("tampering", TAMPERING)
@pytest.mark.usefixtures("applied")
def test_unnoticed_changes_by_another_program_are_reported_and_repaired(
    lab: Lab, hostfwctl: Hostfwctl, tampering: str
) -> None:
    """By `status` and `doctor`, and by the next apply although it changes nothing."""
    host = lab["host"]
    before = structure(host)
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)

    nft(host, script_of(host, tampering))

    assert "Drift:" in hostfwctl("status", check=False).stdout
    doctor = hostfwctl("doctor", check=False)
    assert doctor.returncode == 1, doctor.stdout
    applied = hostfwctl("apply", check=False)
    assert applied.returncode == 0, applied.stderr
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)
    assert structure(host) == before
    assert "Drift:" not in hostfwctl("status").stdout


_DENIED = "\n".join(
    f"  - {{action: Deny, protocol: TCP, source: {{nets: [10.{n}.0.0/16]}}, destination: {{ports: [443]}}}}"
    for n in range(9, 80)
)
WITH_MAPS = f"""\
{_POLICY}
  - {{action: Deny, protocol: TCP, source: {{nets: [192.0.2.0/24]}}, destination: {{ports: [443]}}}}
{_DENIED}
  - {{action: Allow, protocol: TCP, destination: {{ports: [443]}}}}
  - {{action: Allow, protocol: TCP, source: {{selector: trusted}}, destination: {{ports: [8080]}}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: trusted, labels: {{trusted: ""}}}}
spec: {{nets: [{", ".join(f"203.0.113.{n}" for n in range(1, 255, 2))}]}}
""".replace("selector: trusted", "selector: has(trusted)")
ELEMENTS = {
    "an empty map": "flush map ip hostfw {map}",
    "an element less": "delete element ip hostfw {map} {{ 192.0.2.0 }}",
    "another verdict": "delete element ip hostfw {map} {{ 192.0.2.0 }}\n"
    "add element ip hostfw {map} {{ 192.0.2.0 : accept }}",
    "an element more in a set": "delete element ip hostfw {set} {{ 203.0.113.1 }}\n"
    "add element ip hostfw {set} {{ 192.0.2.2 }}",
    "an empty set": "flush set ip hostfw {set}",
    "a map of another size": "{remade}",
}


def map_and_set(host: Namespace) -> tuple[str, str]:
    """The map that denies by source address, and the set of what is trusted."""
    with inside(host):
        sets = read_tables().ip.sets
    found = next(one.name for one in sets if one.is_map and "/saddr/24." in one.name)
    trusted = next(one.name for one in sets if not one.is_map and one.name.startswith("nets/32."))
    return found, trusted


def remade(host: Namespace, name: str) -> str:
    """A script that replaces a map by an empty one of another size, with the rules that look it up."""
    listed = run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout
    block = next(block for block in listed.split("\n\n") if f"vmap @{name}" in block)
    head, *lines = [line.strip() for line in block.splitlines() if line.strip() != "}"]
    chain, users = head.split()[1], lines
    return "\n".join(
        (
            f"flush chain ip hostfw {chain}",
            f"delete map ip hostfw {name}",
            f"add map ip hostfw {name} {{ type ipv4_addr : verdict; size 7; }}",
            *(f"add rule ip hostfw {chain} {rule}" for rule in users),
        )
    )


@pytest.mark.parametrize("tampering", ELEMENTS)
def test_unnoticed_changes_of_elements_are_reported_and_repaired(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tampering: str
) -> None:
    """No rule of ours shows them: they are read where nftables has moved on."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    assert (admits(lab, 80), admits(lab, 443), admits(lab, 8080)) == (True, False, False)
    mapped, trusted = map_and_set(host)
    anew = remade(host, mapped) if "{remade}" in ELEMENTS[tampering] else ""

    nft(host, ELEMENTS[tampering].format(map=mapped, set=trusted, remade=anew))

    opened = 8080 if "more" in tampering else 443
    assert admits(lab, opened) is ("empty set" not in tampering), "it would be noticed"
    status = hostfwctl("status", check=False).stdout
    assert "Drift:" in status
    assert mapped in status or trusted in status
    assert hostfwctl("doctor", check=False).returncode == 1
    assert hostfwctl("diff", "--nft", check=False).returncode == 1
    applied = hostfwctl("apply", check=False)
    assert applied.returncode == 0, applied.stderr
    assert (admits(lab, 80), admits(lab, 443), admits(lab, 8080)) == (True, False, False)
    assert "Drift:" not in hostfwctl("status").stdout


MADE_ANEW = {
    "as it was": ("", ""),
    "a set of other limits": ("size 16384", "size 7"),
    "a set that forgets sooner": ("timeout 1m", "timeout 2s"),
    "a set that forgets never": ("flags dynamic,timeout\n\t\ttimeout 1m", "flags dynamic"),
    "a chain at another hook": ("hook input priority filter; policy drop", "hook forward priority filter; policy drop"),
    "a chain of another type": ("type filter hook output priority filter", "type route hook output priority filter"),
    "a dormant table": ("table ip hostfw {", "table ip hostfw {\n\tflags dormant"),
    "a rule less": ("ct state established accept", "ct state established,new accept"),
    "other verdicts": ("203.0.113.1,", "192.0.2.2,"),
}


@pytest.mark.parametrize("difference", MADE_ANEW)
def test_a_table_that_another_program_made_anew_is_ours_again(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, difference: str
) -> None:
    """With everything in it by its name, and one thing another."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    before = structure(host)
    listed = run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout
    old, new = MADE_ANEW[difference]
    assert old in listed

    nft(host, f"delete table ip hostfw\n{listed.replace(old, new, 1) if old else listed}")
    assert ("Drift:" in hostfwctl("status", check=False).stdout) or not old
    applied = hostfwctl("apply", check=False)

    assert applied.returncode == 0, applied.stderr
    assert (admits(lab, 80), admits(lab, 443), admits(lab, 8080)) == (True, False, False)
    assert structure(host) == before
    assert "Drift:" not in hostfwctl("status").stdout


@pytest.mark.usefixtures("applied")
def test_what_other_programs_do_in_their_own_tables_is_no_drift(lab: Lab, hostfwctl: Hostfwctl) -> None:
    """Nftables has moved on, and everything of ours holds what its name says."""
    nft(lab["host"], "add table ip theirs\nadd chain ip theirs c")

    assert "Drift:" not in hostfwctl("status").stdout


@pytest.mark.parametrize("tampering", ["a dormant table", "another hook", "another priority", "no hook", "no rules"])
@pytest.mark.usefixtures("applied")
def test_the_boot_script_puts_base_chains_and_flags_right(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tampering: str
) -> None:
    """It is run again by whoever restarts its unit."""
    host = lab["host"]
    nft(host, script_of(host, tampering))
    boot(host, installation, hostfwctl)

    if tampering == "no rules":
        # Its drop policy still denies everything: that it is not as it should be is for the service to see.
        assert not admits(lab, 443)
        return
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)


_EVERY_HOOK = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0, node: host}
""" + "".join(
    f"""\
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}}}
spec:
  selector: has(role)
  applyOnForward: true
  {when}types: [Ingress{more}]
  ingress: [{{action: Allow}}]
{"  egress: [{action: Allow}]" if more else ""}
"""
    for name, when, more in (
        ("forwarded", "", ", Egress"),
        ("before-nat", "preDNAT: true\n  ", ""),
        ("untracked", "doNotTrack: true\n  ", ", Egress"),
    )
)


@pytest.mark.parametrize("spec", ["gone", "", "{ type filter hook output priority 77; policy drop; }"])
def test_the_boot_script_puts_every_base_chain_right(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, spec: str
) -> None:
    """Those that decide about forwarded, untracked and translated packets too, which drop nothing by policy."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(_EVERY_HOOK)
    hostfwctl("apply", "--accept-loss", "--accept-lockout")
    before = _base_chains(host)
    assert {"raw-prerouting", "mangle-prerouting", "forward", "mangle-forward", "raw-forward"} <= {*before}

    for name in before:
        gone = f"flush chain ip hostfw {name}\ndelete chain ip hostfw {name}"
        nft(host, gone if spec == "gone" else moved(host, name, spec))
        assert _base_chains(host) != before
        boot(host, installation, hostfwctl)
        assert _base_chains(host) == before, name


def _base_chains(node: Namespace) -> dict[str, object]:
    with inside(node):
        return {chain.name: (chain.base, chain.digest) for chain in read_tables().ip.chains if chain.base is not None}


def boot(host: Namespace, installation: Installation, hostfwctl: Hostfwctl) -> str:
    """The message of the boot script when its unit is restarted."""
    failsafe, empty = installation.config.parent / "failsafe.nft", installation.config.parent / "empty"
    empty.mkdir(exist_ok=True)
    failsafe.write_text(hostfwctl("compile", "-f", str(empty)).stdout)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTFW_STATE": str(installation.state),
        "HOSTFW_FAILSAFE": str(failsafe),
    }
    return run(host, ["sh", str(ROOT / "units" / "hostfw-boot")], environment=environment).stderr


@pytest.mark.parametrize("beside", ["", "add table ip hostfw {{ flags dormant; }}", "{moved}"], ids=str)
@pytest.mark.parametrize("tampering", ELEMENTS)
def test_the_boot_script_puts_elements_right(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tampering: str, beside: str
) -> None:
    """Whatever else has been changed; it says that something was."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    before = structure(host)
    mapped, trusted = map_and_set(host)
    anew = remade(host, mapped) if "{remade}" in ELEMENTS[tampering] else ""
    elsewhere = moved(host, "output", "{ type filter hook output priority 7; policy drop; }") if beside else ""
    nft(host, ELEMENTS[tampering].format(map=mapped, set=trusted, remade=anew))
    nft(host, beside.format(moved=elsewhere))

    said = boot(host, installation, hostfwctl)

    assert (admits(lab, 80), admits(lab, 443), admits(lab, 8080)) == (True, False, False)
    assert "Another program has changed the" in said
    assert ("the rules stay" in said) is ("moved" not in beside)
    if "the rules stay" in said and not anew:
        assert structure(host) == before
        assert "Drift:" not in hostfwctl("status").stdout


def test_the_boot_script_finds_nothing_where_nothing_was_changed(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Nor does a generation on trial, which is not the last good one, lose anything."""
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    (installation.config / "policy.yaml").write_text(WITH_MAPS.replace("10.9.0.0/16", "192.0.3.0/24"))
    hostfwctl("apply", "--confirm-within", "90s", "--accept-lockout")
    before = structure(lab["host"])

    said = boot(lab["host"], installation, hostfwctl)

    assert said == "<6>Rules of hostfw are in force already, and stay as they are.\n"
    assert structure(lab["host"]) == before


def test_a_rule_that_comes_between_prepare_and_read_back_is_not_taken_for_ours(
    lab: Lab, installation: Installation
) -> None:
    """A chain that was just prepared gets an open port: it is written again, and packets meet what was asked for."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(_POLICY)
    directories = Directories(installation.config, installation.state, installation.run)
    theirs: list[str] = []

    class Disturbed(NftablesWorker):
        def commit(self, script: str) -> NftResult:
            done = super().commit(script)
            if not theirs:
                chain = re.search(r"add chain ip hostfw (in/uplink\S*)", script)
                assert chain is not None, script
                theirs.append(f"insert rule ip hostfw {chain[1]} tcp dport 443 accept\n")
                nft(host, theirs[0])
            return done

    with inside(host):
        engine = Engine(directories, Host(nftables=lambda keep: Disturbed(keep_open=keep)))
        applied = engine.apply(check_candidate(*read_configuration(installation.config)))
        assert isinstance(applied, Applied), applied
        assert theirs
        assert any("another program changed chain in/uplink" in warning for warning in applied.warnings)
        status = engine.status()
    assert isinstance(status, Status)
    assert status.drift == ()
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)
