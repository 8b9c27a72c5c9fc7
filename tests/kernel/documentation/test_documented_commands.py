"""The commands that pages and help show, run in their order on a host with what they name: each ends as it should."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hostfw.cli.command_line.argument_parser import UsageError
from hostfw.cli.command_line.parser import parse
from hostfw.cli.command_line.verb_table import VERBS
from lab.hostfwctl import Installation, environment, hostfwctl, install
from lab.laboratory import laboratory
from lab.namespace import run
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.documentation.test_documentation import INCOMPLETE, other_firewall
from tests.unit.builders.fleets import POLICY as DATABASE_OF_FLEET
from tests.unit.builders.fleets import TEST, write_fleet
from tests.unit.project.documentation import typed

PAGES = tuple(
    f"docs/{name}.md"
    for name in (
        "audit",
        "bundles",
        "coming-from/calico",
        "docker",
        "feeds",
        "hostfwctl",
        "security",
        "tiers",
        "troubleshooting",
    )
)
POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: set == 'offices'}, destination: {ports: [80]}}
  - {action: Deny, source: {selector: list == 'bans'}}
  - {action: Deny, source: {selector: list == 'drop'}}
  - {action: Deny, source: {selector: list == 'spamhaus'}}
"""
REST = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: offices, labels: {set: offices}}
spec: {nets: [192.0.2.128/25]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: office, labels: {set: offices}}
spec: {nets: [10.20.0.0/16]}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bans, labels: {list: bans}}
spec: {external: true}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: drop, labels: {list: drop}}
spec: {url: "https://127.0.0.1:9/drop.txt"}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: spamhaus, labels: {list: spamhaus}}
spec: {url: "https://127.0.0.1:9/spamhaus.txt"}
"""
ENDPOINT_OF_FLEET = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: web1-eth0, labels: {role: web}}
spec: {node: web1, interfaceName: eth0, expectedIPs: [192.0.2.11]}
"""
DATABASE = POLICY.replace("name: web", "name: db").replace("[80]", "[5432]").partition("  - {action: Deny")[0]
STAGED = POLICY.replace("kind: Global", "kind: StagedGlobal").replace("[80]", "[80, 443]")

pytestmark = pytest.mark.timeout(900)
"""Each test runs dozens of commands."""

ENDS = {
    ("diff",): (0, 1),  # there are differences
    ("explain",): (0, 10),  # a packet is denied
    ("doctor",): (0, 1),  # it has findings
    ("status",): (0, 1),
    ("lockdown", "--all"): (0,),
    ("lockdown",): (1,),  # there is no ssh session here, which it says
    ("pull",): (0, 1, 3, 5),  # nor a server with bundles; one of the same second may have another number
    ("feed", "update"): (1,),  # nor a server with lists
    ("rollback",): (0, 1),  # nothing may be waiting
    ("drops",): (0, 4),  # the machine may have no journal
    ("import",): (0, 1),  # what policy cannot say of the rules of this host
}
"""Exit statuses other than 0, by the first words of a command."""


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Iterator[Installation]:
    """A host with everything that the pages name, and the directory with their files around it."""
    link = Link("eth0", "wire", addresses=assigned("203.0.113.1/24", "192.0.2.10/24"))
    lan = [Link(f"lan{number}", f"lan{number}", addresses=assigned(f"10.{number + 1}.0.1/16")) for number in (0, 1)]
    outer = Link("eth0", "wire", addresses=assigned("203.0.113.2/24"))
    topology = Topology((Node("host", (link, *lan), (Route("default", "203.0.113.2"),)), Node("outer", (outer,))))
    with laboratory(topology) as lab:
        installation = install(lab["host"], tmp_path)
        (installation.config / "rest.yaml").write_text(REST)
        (installation.config / "web.yaml").write_text(POLICY)
        (installation.config / "staged.yaml").write_text(STAGED)
        for name in ("staging", "manifests"):
            shutil.copytree(installation.config, tmp_path / name)
        (tmp_path / "web.yaml").write_text(POLICY)
        (tmp_path / "db.yaml").write_text(DATABASE)
        (tmp_path / "imported.yaml").write_text(DATABASE)
        hostfwctl(installation, "apply", "--accept-lockout")
        write_fleet(tmp_path / "build/fleet", DATABASE_OF_FLEET.format(port=5432))
        write_fleet(tmp_path / "build/main", DATABASE_OF_FLEET.format(port=5433))
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/database.yaml").write_text(TEST)
        _bundles(tmp_path)
        facts = hostfwctl(installation, "interfaces", "-o", "json").stdout
        (tmp_path / "web1.json").write_text(facts)
        yield installation


def _bundles(folder: Path) -> None:
    """A directory to make bundles of, a key, who may sign, and records that hosts have sent."""
    (folder / "policies").mkdir()
    (folder / "policies/fleet.yaml").write_text(DATABASE.replace("name: db", "name: fleet"))
    (folder / "policies/endpoints.yaml").write_text(ENDPOINT_OF_FLEET)
    run_here("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    (folder / "allowed_signers").write_text(f"ops {(folder / 'key.pub').read_text()}")
    (folder / "records").mkdir()
    (folder / "records/web1.json").write_text(json.dumps({"kind": "BundleStatus", "node": "web1", "inForce": 7}))


def run_here(*words: object) -> None:
    """Run a command on this machine."""
    subprocess.run([str(word) for word in words], check=True)


def _is_whole(words: tuple[str, ...]) -> bool:
    """True for a command; a word alone may be the name of a verb that takes more."""
    try:
        parse(words)
    except UsageError:
        return False
    return words not in INCOMPLETE or words in {("drops",), ("lockdown",), ("disable", "--remove-rules")}


def _run(host: Installation, words: Iterable[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command where the files lie that pages name."""
    around = ("sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(host.config.parent))
    return run(host.node, (*around, *host.arguments, *words), environment=environment(), check=False, timeout_s=120)


def _ended(host: Installation, words: tuple[str, ...]) -> str:
    """The words of a command that did not end as it should, empty where it did."""
    asked = words
    if words[0] in ("apply", "allow", "deny", "remove", "set", "reload"):
        # The name servers that hostfwctl finds in /etc are this machine's.
        asked = (*words, "--accept-lockout") if words[0] != "set" or words[1] != "list" else words
    if words[0] == "reload":
        asked = words
    if words[:1] == ("confirm",):
        asked = ("confirm", "--console")
    if words[0] == "drops" and "--for" not in words:
        asked = (*(word for word in words if word != "--follow"), "--for", "1s")
        asked = asked if "--since" not in words else words
    if words[0] == "apply" and "-f" in words and "--add" not in words:
        # What quick rules wrote is not in the files.
        asked = (*asked, "--accept-loss")
    if "here" in words:
        # There is no ssh session whose address it would be.
        asked = tuple("192.0.2.7" if word == "here" else word for word in asked)
    if words[0] == "set" and "del" in words:
        _run(host, ("set", "add", *words[2:]))
    if words[0] == "remove" and words[1] in ("allow", "deny"):
        _run(host, (*words[1:], "--accept-lockout"))
    if words[0] == "import" and words[1] in ("ufw", "firewalld"):
        asked = ("import", words[1], "--root", str(other_firewall(host.config.parent / "other", words[1])))
    if words[0] == "fleet":
        asked = tuple("build/fleet" if word == "DIR" else word for word in asked)
    if words[0] == "rollback" and "--to" in words:
        oldest = json.loads(_run(host, ("history", "-o", "json")).stdout)["items"][0]["number"]
        asked = ("rollback", "--to", str(oldest), "--accept-lockout", "--accept-loss")
    done = _run(host, asked)
    if "--confirm-within" in words and done.returncode == 0:
        _run(host, ("confirm", "--console"))
    if words[0] == "disable":
        _run(host, ("apply", "--accept-lockout"))
    well = next((ENDS[words[:length]] for length in (2, 1) if words[:length] in ENDS), (0,))
    return "" if done.returncode in well else f"{done.returncode}: {done.stdout[-300:]}{done.stderr[-600:]}"


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_they_say(page: str, host: Installation) -> None:
    """In their order, on one host."""
    lines = dict.fromkeys(each.words for each in typed() if each.page == page and _is_whole(each.words))
    ended = {line: _ended(host, line) for line in lines}

    assert {" ".join(line): said for line, said in ended.items() if said} == {}
    assert ended


def test_the_commands_of_readme_do_what_they_say(host: Installation) -> None:
    """On a host that has nothing yet, as its reader's; the files that it names are there."""
    lines = dict.fromkeys(each.words for each in typed() if each.page == "README.md" and _is_whole(each.words))
    hostfwctl(host, "disable", "--remove-rules")
    for path in host.config.iterdir():
        path.unlink()
    ended = {line: _ended(host, line) for line in lines}

    assert {" ".join(line): said for line, said in ended.items() if said} == {}
    assert ("init", "--write") in ended


def _examples() -> Iterator[tuple[str, ...]]:
    """The commands of hostfwctl among the examples of help pages and manual, without what stands before and behind."""
    for verb in VERBS:
        for line in verb.load().HELP.examples.splitlines():
            command = re.split(r" [|>] |   +(?=[a-z#])", line[line.index("hostfwctl") :])[0]
            yield tuple(shlex.split(command, comments=True)[1:])


def test_the_examples_of_help_do_what_they_say(host: Installation) -> None:
    """Of every verb; what is read from elsewhere is there, or is said to be missing."""
    read = dict.fromkeys(line for line in _examples() if not {"-", "v4", "--write"} & set(line))
    ended = {line: _ended(host, line) for line in read}

    assert {" ".join(line): said for line, said in ended.items() if said} == {}
    assert {line[0] for line in ended} == {verb.name for verb in VERBS}
