"""Rules that iptables-save prints, line by line, and what becomes of each."""

import json
from pathlib import Path

import pytest

from hostfw.importer.iptables.save import read_iptables
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.text import policy_text
from hostfw.model.sources import Source
from hostfw.model.values import Family
from tests.unit.cli_runs import hostfwctl


def reading(*rules: str, family: Family = Family.V4, chains: str = "") -> Reading:
    """The reading of a table filter that denies what comes in, with these rules."""
    text = f"*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{chains}"
    (found,) = read_iptables([(family, [Source("v4", text + "\n".join(rules) + "\nCOMMIT\n")])])
    return found


def inbound(*rules: str, family: Family = Family.V4, chains: str = "") -> list[str]:
    """The rules of the policy for what comes in, each in a line, without the comments."""
    found = reading(*rules, family=family, chains=chains)
    assert not found.problems
    text = policy_text(as_policy([found.rules]), "test").partition("name: inbound")[2].partition("---")[0]
    return [line.strip().removeprefix("- ") for line in text.splitlines() if line.startswith("  - {")]


RULES: list[tuple[str, str]] = [
    ("-p tcp -m tcp --dport 22", "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [22]}}"),
    (
        "-p udp -m multiport --dports 53,5000:5010",
        "{action: Allow, ipVersion: 4, protocol: UDP, destination: {ports: [53, '5000:5010']}}",
    ),
    (
        "-p tcp ! --sport 1:1023",
        "{action: Allow, ipVersion: 4, protocol: TCP, source: {notPorts: ['1:1023']}}",
    ),
    (
        "-p tcp --dport :1023",
        "{action: Allow, ipVersion: 4, protocol: TCP, destination: {notPorts: ['1024:65535']}}",
    ),
    ("-s 10.0.0.0/255.0.0.0", "{action: Allow, source: {nets: [10.0.0.0/8]}}"),
    ("! -s 192.0.2.7/32", "{action: Allow, ipVersion: 4, source: {notNets: [192.0.2.7/32]}}"),
    ("-m iprange --src-range 10.0.0.0-10.0.0.2", "{action: Allow, source: {nets: [10.0.0.0/31, 10.0.0.2/32]}}"),
    ("-p icmp -m icmp --icmp-type 8", "{action: Allow, protocol: ICMP, icmp: {type: 8}}"),
    ("-p icmp --icmp-type port-unreachable", "{action: Allow, protocol: ICMP, icmp: {type: 3, code: 3}}"),
    ("-p esp", "{action: Allow, ipVersion: 4, protocol: 50}"),
    ("! -p tcp", "{action: Allow, ipVersion: 4, notProtocol: TCP}"),
    ("-m addrtype --dst-type MULTICAST", "{action: Allow, destination: {nets: [224.0.0.0/4]}}"),
    (
        '-m comment --comment "the world\'s \\"web\\"" -p tcp --dport 80',
        "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [80]}}",
    ),
    (
        "-m mac --mac-source 02:00:00:00:00:AA",
        "{action: Allow, ipVersion: 4, source: {macs: ['02:00:00:00:00:aa']}}",
    ),
    ("-m policy --dir in --pol ipsec", "{action: Allow, ipVersion: 4, ipsec: true}"),
    ("-m policy --dir in --pol none", "{action: Allow, ipVersion: 4, ipsec: false}"),
    ("-m conntrack --ctstate NEW -p tcp --syn", "{action: Allow, ipVersion: 4, protocol: TCP}"),
]


@pytest.mark.parametrize(("matches", "expected"), RULES, ids=[matches for matches, _ in RULES])
def test_a_match_becomes_the_words_of_policy(matches: str, expected: str) -> None:
    """Each of those that policy has words for."""
    assert inbound(f"-A INPUT {matches} -j ACCEPT")[0] == expected


def test_rules_of_one_family_alone_leave_the_other_denied() -> None:
    """IPv6 of a host whose IPv6 rules were not given is not open by what allows IPv4."""
    assert inbound("-A INPUT -j ACCEPT") == ["{action: Allow, ipVersion: 4}"]


def test_who_returns_early_meets_what_follows_the_jump() -> None:
    """And not the rest of the chain."""
    chains = ":web - [0:0]\n"
    rules = ("-A INPUT -p tcp --dport 80 -j web", "-A web -s 10.0.0.0/8 -j RETURN", "-A web -j ACCEPT")

    assert inbound(*rules, chains=chains) == [
        "{action: Deny, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: [80]}}",
        "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [80]}}",
        "{action: Deny, ipVersion: 4}",
    ]


UNSAID = [
    ("-A INPUT -p tcp --dport 22 -m recent --update --seconds 60 --name s -j DROP", "-m recent", "not denied"),
    ("-A INPUT -m set --match-set good src -j ACCEPT", "-m set", "not allowed"),
    ("-A INPUT -m mac ! --mac-source 02:00:00:00:00:01 -j ACCEPT", "! --mac-source", "not allowed"),
    ("-A INPUT -m policy --dir in --pol ipsec --reqid 7 -j ACCEPT", "-m policy", "not allowed"),
    ("-A OUTPUT -m policy --dir out --pol ipsec -j DROP", "--dir out", "not denied"),
    ("-A INPUT -p tcp --tcp-flags ALL NONE -j DROP", "TCP flags", "not denied"),
    ("-A INPUT -p dccp --dport 5 -j ACCEPT", "ports of this protocol", "not allowed"),
    ("-A INPUT -p tcp -m multiport --ports 5 -j ACCEPT", "either side", "not allowed"),
    ("-A INPUT -j NFQUEUE --queue-num 1", "the target NFQUEUE", "left out"),
    ("-A INPUT -m conntrack --ctstate RELATED -j DROP", "connections that are there go on", "RELATED"),
]


@pytest.mark.parametrize(("rule", "what", "result"), UNSAID, ids=[what for _, what, _ in UNSAID])
def test_what_policy_cannot_say_is_named_with_its_line(rule: str, what: str, result: str) -> None:
    """And with what comes of leaving it out."""
    (note,) = reading(rule).notes

    assert note.position.line == 5
    assert what in note.message
    assert result in note.message


WRONG = [
    ("-A INPUT -s 10.0.0.300 -j ACCEPT", "10.0.0.300 is not an address or network of IPv4"),
    ("-A INPUT -s 2001:db8::1 -j ACCEPT", "2001:db8::1 is not an address or network of IPv4"),
    ("-A INPUT -p nonsense -j ACCEPT", "nonsense is not a protocol"),
    ("-A INPUT -p tcp --dport http -j ACCEPT", "http is not a port or range of ports, by number"),
    ("-A INPUT -j nowhere", "there is no chain nowhere"),
    ("-A INPUT -p", "-p without a value"),
    ('-A INPUT -m comment --comment "', "the line cannot be read"),
    ("-Z INPUT", "-Z is not read"),
    ("-A one -j one", "the chain one leads back to itself"),
]


@pytest.mark.parametrize(("rule", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_iptables_would_not_take_is_a_problem_with_its_place(rule: str, message: str) -> None:
    """All of it at once, and nothing is imported."""
    problems = reading(rule, chains=":one - [0:0]\n").problems

    assert any(message in problem.message and problem.position.line == 6 for problem in problems)


def test_other_tables_and_chains_of_other_programs_stay_theirs() -> None:
    """They are named; what Docker and fail2ban set up, they set up again."""
    found = reading("-A INPUT -j f2b-sshd", "-A f2b-sshd -s 192.0.2.1 -j DROP", chains=":f2b-sshd - [0:0]\n")
    assert [note.message for note in found.notes] == [
        "chains f2b* belong to another program, which goes on filling them"
    ]
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT --to 10.0.0.1\nCOMMIT\n"
    (nat,) = read_iptables([(Family.V4, [Source("v4", text)])])
    assert "table nat" in nat.notes[0].message


def test_an_address_of_this_host_is_known_of_what_comes_in_alone() -> None:
    """In OUTPUT it would be every address, and what was denied would be allowed without a word."""
    rule = "-m addrtype --dst-type LOCAL -j ACCEPT"
    found = reading(f"-A INPUT {rule}", f"-A OUTPUT {rule}", "-A OUTPUT -j DROP")

    assert inbound(f"-A INPUT {rule}")[:1] == [
        "{action: Allow, ipVersion: 4, destination: {notNets: [0.0.0.0/32, 224.0.0.0/4, 255.255.255.255/32]}}"
    ]
    assert "notNets" not in policy_text(as_policy([found.rules]), "test").partition("name: outbound")[2]
    (note,) = [note for note in found.notes if "which addresses" in note.message]
    assert note.position.line == 6


def test_a_rejection_is_told() -> None:
    """Hostfw drops unless a setting says otherwise."""
    (note,) = reading("-A INPUT -p tcp -j REJECT --reject-with tcp-reset").notes
    assert "denyAction: reject" in note.message


def test_the_verb_prints_policy_that_validates_and_says_what_differs(tmp_path: Path) -> None:
    """For both families; the failsafe for ssh is what hostfw lets in by itself."""
    rules = (
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A INPUT -p tcp --dport {} -j ACCEPT\nCOMMIT\n"
    )
    (tmp_path / "v4").write_text(rules.format(80))
    (tmp_path / "v6").write_text(rules.format(443))
    given = ("--ipv4", tmp_path / "v4", "--ipv6", tmp_path / "v6", "--config-dir", tmp_path / "none")

    ran = hostfwctl("import", "iptables-save", *given)
    (tmp_path / "imported.yaml").write_text(ran.out)

    assert ran.status == 0
    assert hostfwctl("validate", "-f", tmp_path / "imported.yaml").status == 0
    assert "10000 packets at the edges of the rules" in ran.err
    assert "denied before, allowed by the import: failsafe tcp 22 of hostfw.yaml" in ran.err
    document = json.loads(hostfwctl("import", "iptables-save", *given, "-o", "json").out)
    assert document["kind"] == "Import"
    assert document["comparison"]["packets"] == 10000
    assert {resource["kind"] for resource in document["resources"]} == {"HostEndpoint", "GlobalNetworkPolicy"}


@pytest.mark.parametrize(
    ("form", "answer"),
    [("nftables", "nft -j list ruleset"), ("iptables", "--ipv4 v4"), ("shorewall", "`hostfwctl init`")],
)
def test_another_form_is_answered_with_the_command_that_does_it(form: str, answer: str) -> None:
    """Or with what there is instead."""
    ran = hostfwctl("import", form)

    assert ran.status == 2
    assert answer in ran.err


def test_the_verb_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    """Without rules, without a file, and with a file that is something else."""
    (tmp_path / "odd").write_text("-A INPUT -j ACCEPT\n")
    assert hostfwctl("import", "iptables-save").status == 1
    assert "no rules to import" in hostfwctl("import", "iptables-save").err
    assert hostfwctl("import", "iptables-save", "--ipv4", tmp_path / "missing").status == 1
    ran = hostfwctl("import", "iptables-save", "--ipv4", tmp_path / "odd")
    assert (ran.status, ran.out) == (3, "")
    assert "odd:1:1: a rule before any table" in ran.err


_SSH = "-A INPUT -p tcp --dport 22"
_TWO = f"{_SSH} -m recent --update --seconds 60 --hitcount 3 -j DROP"
_ALLOWED = "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [22]}}"
_OF_HASHLIMIT = "-m hashlimit --hashlimit-name s --hashlimit-mode srcip"


def _limited(limit: str) -> str:
    return _ALLOWED.replace("destination", f"limitPerSource: {{{limit}}}, destination")


@pytest.mark.parametrize(
    ("rules", "expected", "told"),
    [
        ((_TWO, f"{_SSH} -j ACCEPT"), _limited("newConnections: 2/minute"), "in place of 2 connections in 60 seconds"),
        (
            (_TWO.replace("60", "61"), f"{_SSH} -m recent --set -j ACCEPT"),
            _limited("newConnections: 2/hour"),
            "2 connections in 61 seconds",
        ),
        (
            (f"{_SSH} {_OF_HASHLIMIT} --hashlimit-upto 9/min --hashlimit-burst 3 -j ACCEPT",),
            _limited("newConnections: 9/minute"),
            "what is beyond it is denied, whatever follows",
        ),
        (
            (f"{_SSH} -m connlimit --connlimit-above 4 -j REJECT", _TWO, f"{_SSH} -j ACCEPT"),
            _limited("newConnections: 2/minute, maxConnections: 4"),
            "in place of 4 connections at a time of a source: limitPerSource {maxConnections: 4} of a source",
        ),
        (
            (f"{_SSH} -m connlimit ! --connlimit-above 4 -j ACCEPT",),
            _limited("maxConnections: 4"),
            "in place of 4 connections at a time",
        ),
        (
            (_TWO, "-A INPUT -s 10.0.0.0/8 -j ACCEPT", f"{_SSH} -j ACCEPT"),
            _limited("newConnections: 2/minute"),
            "but not in v4:6, which is wider",
        ),
    ],
    ids=["recent", "recent for over a minute", "hashlimit", "two", "connlimit", "beside a wider rule"],
)
def test_what_counts_by_source_limits_the_rules_that_allow(rules: tuple[str, ...], expected: str, told: str) -> None:
    """In the words of hostfw, with the line and what differs."""
    assert expected in inbound(*rules)
    assert any(told in note.message for note in reading(*rules).notes)


@pytest.mark.parametrize(
    "rule",
    [
        _TWO.replace("--seconds 60", "--seconds 3601"),
        _TWO.replace(" --hitcount 3", ""),
        _TWO.replace("--hitcount 3", "--hitcount 1"),
        _TWO.replace("--update", "! --update"),
        _TWO.replace("--update", "--update --rttl"),
        _TWO.replace("--update", "--update --rdest"),
        _TWO.replace("--update", "--update --mask 255.255.255.0"),
        _TWO.replace("-j DROP", "-j MARKED"),
        f"{_SSH} -m connlimit --connlimit-above 4 --connlimit-mask 24 -j DROP",
        f"{_SSH} -m connlimit --connlimit-above 4 --connlimit-daddr -j DROP",
        f"{_SSH} {_OF_HASHLIMIT},dstport --hashlimit-above 9/min -j DROP",
        f"{_SSH} {_OF_HASHLIMIT} --hashlimit-above 9/day -j DROP",
        f"{_SSH} {_OF_HASHLIMIT} --hashlimit-above 512kb/s -j DROP",
        f"{_SSH} {_OF_HASHLIMIT} --hashlimit-srcmask 24 --hashlimit-above 9/min -j DROP",
        f"{_SSH} -m connlimit --connlimit-above 4 -m recent --update --seconds 60 --hitcount 3 -j DROP",
    ],
)
def test_a_count_that_no_limit_says_is_named(rule: str) -> None:
    """By its module; what stands behind it is as it was."""
    rules = (rule, f"{_SSH} -j ACCEPT")
    chains = ":MARKED - [0:0]\n-A MARKED -p tcp -j DROP\n"

    assert _ALLOWED in inbound(*rules, chains=chains)
    (note,) = (note for note in reading(*rules, chains=chains).notes if note.message.startswith("policy cannot say"))
    assert rule in note.message


def test_what_goes_out_has_no_limit() -> None:
    """Its source is this host."""
    out = "-A OUTPUT -p tcp --dport 25 -m connlimit --connlimit-above 4 -j DROP"

    assert any("policy cannot say a limit of each source in such a rule" in note.message for note in reading(out).notes)


def test_ethernet_addresses_of_many_rules_are_as_many_as_rules_may_have() -> None:
    """A returning chain makes one condition of all of them, and a rule of policy has sixteen."""
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(20)]
    returning = (f"-A known -m mac --mac-source {mac} -j RETURN" for mac in macs)
    found = inbound(
        "-A INPUT -j known", "-A INPUT -j ACCEPT", *returning, "-A known -j DROP", chains=":known - [0:0]\n"
    )

    assert [rule.count("02:00:00:00:00") for rule in found] == [16, 4, 0]
    assert found[0].startswith("{action: Allow, ipVersion: 4, source: {macs: ['02:00:00:00:00:00', ")


def test_what_the_host_sends_comes_from_no_neighbour() -> None:
    """A chain that is met on both ways asks in vain for Ethernet addresses and IPsec of what goes out."""
    rules = (
        "-A OUTPUT -j both",
        "-A INPUT -j both",
        "-A both -m mac --mac-source 02:00:00:00:00:01 -j DROP",
        "-A both -m policy --dir in --pol none -p tcp --dport 23 -j DROP",
    )
    text = policy_text(as_policy([reading(*rules, chains=":both - [0:0]\n").rules]), "test")
    outbound = text.partition("name: outbound")[2].partition("---")[0]

    assert "macs: ['02:00:00:00:00:01']" in text
    assert "macs" not in outbound
    assert "{action: Deny, ipVersion: 4, protocol: TCP, destination: {ports: [23]}}" in outbound
