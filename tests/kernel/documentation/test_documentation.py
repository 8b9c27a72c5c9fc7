"""The configuration files that the documentation shows do with packets what the text beside them says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import run
from lab.topology import Link, Node, Route, Topology, assigned
from tests.kernel.cli.exposed_hosts import Knock, disagreements, listening
from tests.unit.importer import test_firewalld as firewalld
from tests.unit.importer import test_ufw as ufw
from tests.unit.project.documentation import Shown, shown, typed

ANYBODY, OFFICE, LISTED = "198.51.100.9", "10.20.0.5", "192.0.2.7"
ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: web}}
spec: {interfaceName: eth0}
"""
SET = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: office, labels: {set: office}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: office}
spec:
  selector: role == 'web'
  ingress: [{action: Allow, protocol: TCP, source: {selector: set == 'office'}, destination: {ports: [9100]}}]
"""
"""A set that members are put into."""
WEB = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: role == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
"""


@pytest.fixture(name="street")
def _street(tmp_path: Path) -> Iterator[tuple[Lab, Installation]]:
    """A host that listens on some ports, and a neighbour with the addresses that the documentation names."""
    host = Link("eth0", "wire", addresses=assigned("203.0.113.1/24"))
    outer = Link("eth0", "wire", addresses=assigned("203.0.113.2/24"))
    topology = Topology(
        (
            Node("host", (host,), (Route("default", "203.0.113.2"),)),
            Node("outer", (outer,)),
        )
    )
    with laboratory(topology) as lab:
        for address in (ANYBODY, OFFICE, LISTED):
            run(lab["outer"], ["ip", "address", "add", f"{address}/32", "dev", "lo"])
        with listening(lab, "host", [("0.0.0.0", port) for port in (22, 23, 25, 80, 443, 445, 5432, 9100)]):
            yield lab, install(lab["host"], tmp_path / "hostfw")


def _page(name: str, word: str = "") -> Shown:
    (found,) = (each for each in shown() if each.page == name and word in each.text)
    return found


def _knocks(expected: dict[tuple[str, int], bool]) -> list[Knock]:
    return [Knock("eth0", source, "203.0.113.1", port, is_open) for (source, port), is_open in expected.items()]


@pytest.mark.parametrize(("page", "word"), [("README.md", ""), ("hostfw-resources.5.scd", "9100")])
def test_the_web_server_is_open_to_all_and_its_metrics_to_one_network(
    street: tuple[Lab, Installation], page: str, word: str
) -> None:
    """And everything else is closed, but for ssh."""
    lab, installation = street
    (installation.config / "web.yaml").write_text(_page(page, word).text)
    hostfwctl(installation, "apply", "--accept-lockout")
    expected = {
        (ANYBODY, 80): True,
        (ANYBODY, 443): True,
        (ANYBODY, 9100): False,
        (OFFICE, 9100): True,
        (OFFICE, 25): False,
        (ANYBODY, 22): True,
    }

    assert disagreements(lab, _knocks(expected)) == []


def test_the_list_of_the_feed_is_denied_and_others_meet_the_other_policies(street: tuple[Lab, Installation]) -> None:
    """Addresses that are not on the list go on to the tier `default`."""
    lab, installation = street
    (installation.config / "feeds").mkdir(mode=0o755)
    (installation.config / "feeds/drop.txt").write_text(f"# a list\n{LISTED}\n")
    (installation.config / "drop.yaml").write_text(_page("feeds.md", "feeds/drop.txt").text)
    (installation.config / "web.yaml").write_text(f"{ENDPOINT}---\n{WEB}")
    hostfwctl(installation, "apply", "--accept-lockout")
    expected = {(ANYBODY, 80): True, (LISTED, 80): False, (ANYBODY, 25): False}

    assert disagreements(lab, _knocks(expected)) == []


def test_the_bastion_of_the_settings_is_the_only_way_to_ssh(street: tuple[Lab, Installation]) -> None:
    """Under the name that the policies have for the host."""
    lab, installation = street
    (installation.config / "hostfw.yaml").write_text(_page("hostfw.yaml.5.scd", "failsafe").text)
    (installation.config / "web.yaml").write_text(ENDPOINT.replace("{interfaceName", "{node: web-1, interfaceName"))
    hostfwctl(installation, "apply", "--accept-lockout")

    assert disagreements(lab, _knocks({(OFFICE, 22): True, (ANYBODY, 22): False, (OFFICE, 80): False})) == []


CLOSED = {(ANYBODY, 25): False, (ANYBODY, 22): True}
"""A port that no policy speaks of, and one that is failsafe."""
POLICIES = {
    "audit.md": {(ANYBODY, 23): False, (ANYBODY, 445): False, (ANYBODY, 80): True},
    "calico.md": {(OFFICE, 5432): False, (ANYBODY, 80): False},
    "firewalld.md": {(ANYBODY, 80): True, (ANYBODY, 443): True, (OFFICE, 5432): False},
    "iptables.md": {(OFFICE, 5432): True, (ANYBODY, 5432): False, (ANYBODY, 443): True, (OFFICE, 9100): False},
    "nft-rules.md": {(ANYBODY, 80): True},
    "tiers.md": {(ANYBODY, 23): False, (ANYBODY, 80): True, (OFFICE, 9100): False},
}
"""The policies of pages, and what they let in: 5432 in calico.md only through IPsec. Rules of nft close nothing."""


WORDS = {"calico.md": "ipsec: true"}
"""Words of the file that is meant, on pages with several."""


@pytest.mark.parametrize("page", POLICIES)
def test_the_policies_of_a_page_let_in_what_it_says(street: tuple[Lab, Installation], page: str) -> None:
    """On the interface of this host, under a HostEndpoint of it where the page has none."""
    lab, installation = street
    text = _page(page, WORDS.get(page, "")).text.replace("eth1", "eth0")
    (installation.config / "page.yaml").write_text(text)
    if "kind: HostEndpoint" not in text:
        role = "gateway" if "gateway" in text else "web"
        (installation.config / "endpoint.yaml").write_text(ENDPOINT.replace("role: web", f"role: {role}"))
        (installation.config / "web.yaml").write_text(WEB)
    hostfwctl(installation, "apply", "--accept-lockout")

    assert disagreements(lab, _knocks(CLOSED | POLICIES[page])) == []


def test_the_members_of_the_external_feed_are_denied_for_as_long_as_it_says(street: tuple[Lab, Installation]) -> None:
    """From the moment at which one is put in, until it is taken out, with the timeout of the page."""
    lab, installation = street
    deny = "ingress: [{action: Deny, source: {selector: list == 'bans'}}, {action: Allow, protocol: TCP}]"
    policy = WEB.replace(WEB[WEB.index("ingress") :], f"{deny}\n")
    (installation.config / "page.yaml").write_text(f"{_page('feeds.md', 'external').text}---\n{ENDPOINT}---\n{policy}")
    hostfwctl(installation, "apply", "--accept-lockout")
    assert disagreements(lab, _knocks({(LISTED, 80): True})) == []

    hostfwctl(installation, "set", "add", "bans", LISTED)

    assert disagreements(lab, _knocks({(LISTED, 80): False, (ANYBODY, 80): True})) == []
    (member,) = json.loads(hostfwctl(installation, "set", "list", "bans", "-o", "json").stdout)["members"]
    assert 3500 < member["leftSeconds"] <= 3600
    hostfwctl(installation, "set", "del", "bans", LISTED)
    assert disagreements(lab, _knocks({(LISTED, 80): True})) == []


def test_the_policies_of_the_manual_page_do_what_it_says(street: tuple[Lab, Installation]) -> None:
    """One that expires lets somebody in; one before failsafes keeps ssh from somebody, and nobody else."""
    lab, installation = street
    (installation.config / "web.yaml").write_text(f"{ENDPOINT}---\n{WEB}")
    for word, knocks in (
        ("expires", {(LISTED, 5432): True, (ANYBODY, 5432): False, (LISTED, 22): True}),
        ("before-failsafes", {(LISTED, 22): False, (LISTED, 80): False, (ANYBODY, 22): True, (ANYBODY, 80): True}),
    ):
        (installation.config / "page.yaml").write_text(_page("hostfw-resources.5.scd", word).text)
        hostfwctl(installation, "apply", "--accept-lockout")

        assert disagreements(lab, _knocks(knocks)) == []


ELSEWHERE = {
    "docker.md": "test_published.py",
    "feeds.md": "above, and downloads and names of hosts in tests/system/service/test_feeds.py",
    "README.md": "above",
    "hostfw-resources.5.scd": "above and below, and limits in test_source_limits.py",
    "hostfw.yaml.5.scd": "above, and each setting in its own test",
}


def test_every_page_with_configuration_is_applied_here_or_elsewhere() -> None:
    """A page that is new says where."""
    assert {each.page for each in shown()} == POLICIES.keys() | ELSEWHERE.keys()


STATUS = {"diff": 1, "explain 198.51.100.9 host:8080": 10}
"""Exit statuses of the tutorial's commands other than 0: there are differences, and a packet is denied."""
NEEDS_MORE = {
    "confirm": ("confirm", "--console"),  # there is no ssh here
    "drops --since 1h --top": ("drops", "--for", "1s", "--top"),  # nor a journal
}


def test_the_tutorial_goes_as_it_says(street: tuple[Lab, Installation]) -> None:
    """Every command in its order; what is reachable stays so until it is denied, and opens as it is allowed."""
    lab, installation = street
    told: dict[str, str] = {}
    knocks = {(ANYBODY, 80): True, (ANYBODY, 25): True, ("198.51.100.7", 80): False, (ANYBODY, 8080): False}
    run(lab["outer"], ["ip", "address", "add", "198.51.100.7/32", "dev", "lo"])
    lines = [" ".join(each.words) for each in typed() if each.page == "docs/tutorial.md"]
    for line in lines[: lines.index("history")]:
        words = NEEDS_MORE.get(line) or tuple(_words(line))
        # The name servers that hostfwctl finds in /etc are this machine's.
        lockout = ("--accept-lockout",) if words[0] in ("apply", "allow", "deny", "remove") else ()
        done = hostfwctl(installation, *words, *lockout, check=False)
        assert done.returncode == STATUS.get(line, 0), f"{line}: {done.stdout}{done.stderr}"
        told[line] = done.stdout
    assert disagreements(lab, _knocks(knocks)) == []
    assert "quick.allow-tcp-80-443-udp-443" in told["explain 198.51.100.9 host:443"]
    assert "end-of-tier default" in told["explain 198.51.100.9 host:8080"]
    assert "quick.deny-198-51-100-7" in told["rules"]
    assert "tcp/25" in told["exposure"]

    hostfwctl(installation, "rollback", "--to", "1", "--accept-lockout")
    assert disagreements(lab, _knocks({("198.51.100.7", 80): True})) == []
    hostfwctl(installation, "disable", "--remove-rules")
    assert "hostfw" not in run(lab["host"], ["nft", "list", "tables"]).stdout
    assert lines[lines.index("history") :] == ["history", "rollback --to 1", "disable --remove-rules"]


def _words(line: str) -> list[str]:
    """The words of a line; a reason is one."""
    return line.replace("--reason the office", "--reason=office").split()


INCOMPLETE = (("drops",), ("explain",), ("import",), ("set", "add"), ("disable", "--remove-rules"), ("lockdown",))
"""Verbs alone, of which nothing is said but that they are there, and what ends the rest."""
_COMING_FROM = ("docs/coming-from/ufw.md", "docs/coming-from/firewalld.md", "docs/coming-from/iptables.md")


@pytest.mark.parametrize("page", _COMING_FROM)
def test_the_commands_of_who_comes_from_elsewhere_do_something(page: str, street: tuple[Lab, Installation]) -> None:
    """In their order, on one host; each ends well."""
    _, installation = street
    shown = [each.words for each in typed() if each.page == page and each.words not in INCOMPLETE]
    lines = dict.fromkeys(line for line in shown if not {"-f", "--ipv4"} & set(line))
    if ("init", "--write") not in lines:
        (installation.config / "policy.yaml").write_text(f"{ENDPOINT}---\n{WEB}---\n{SET}")
        hostfwctl(installation, "apply", "--accept-lockout")
    else:
        # Its first line, which begins with nothing.
        hostfwctl(installation, "init", "--write")
        del lines["init", "--write"]
    ended = {line: ended_well(installation, line) for line in lines}

    assert {" ".join(line): said for line, said in ended.items() if said} == {}
    assert len(ended) > 8


def other_firewall(root: Path, name: str) -> Path:
    """The root of a host with the files of ufw or firewalld."""
    files = ufw.tree("-A {}-user-input -p tcp --dport 80 -j ACCEPT") if name == "ufw" else firewalld.tree("")
    for path, source in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(source.text)
    return root


def ended_well(installation: Installation, line: tuple[str, ...]) -> str:
    """Words of a command that does not end as the documentation has it, empty where it does."""
    words = line
    if "for" in line:
        # The row before it allows the same for good.
        hostfwctl(installation, "remove", *line[: line.index("for")], "--accept-lockout", check=False)
    if line == ("confirm",):
        # There is no ssh here.
        words = ("confirm", "--console")
    if line[0] in ("apply", "allow", "deny", "remove", "init"):
        # The name servers that hostfwctl finds in /etc are this machine's.
        words = (*line, "--accept-lockout") if line[0] != "init" else line
    if line[0] == "import":
        # The host has no other firewall; the files are those of one that has.
        words = (*line, "--root", str(other_firewall(installation.config.parent / "other", line[1])))
    done = hostfwctl(installation, *words, check=False)
    well = {"explain": (0, 10), "doctor": (0, 1), "diff": (0, 1), "status": (0, 1)}.get(line[0], (0,))
    if "--confirm-within" in line and done.returncode == 0:
        hostfwctl(installation, "confirm", "--console")
    if line == ("confirm",) and "nothing" in done.stderr:
        # It was confirmed before.
        return ""
    return "" if done.returncode in well else f"{done.returncode}: {done.stdout}{done.stderr}"
