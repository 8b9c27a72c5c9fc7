"""The files of firewalld, which become the chains that its nftables backend makes."""

from pathlib import Path

import pytest

from hostfw.importer.firewalld.reader import CONF, DIRECT, read_firewalld
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.text import policy_text
from hostfw.model.sources import Source
from tests.unit.cli_runs import hostfwctl

ZONE = "etc/firewalld/zones/public.xml"
_SERVICES = {
    "usr/lib/firewalld/services/ssh.xml": '<service><port protocol="tcp" port="22"/></service>',
    "usr/lib/firewalld/services/web.xml": '<service><port protocol="tcp" port="80"/><include service="ssh"/></service>',
    "usr/lib/firewalld/services/local.xml": (
        '<service><port protocol="udp" port="546"/><destination ipv6="fe80::/64"/><helper name="ftp"/></service>'
    ),
}


def tree(zone: str, attributes: str = "", **others: str) -> dict[str, Source]:
    """Files with a default zone `public`, and others by their names with `__` for a slash."""
    texts = {
        **_SERVICES,
        CONF: "DefaultZone=public\nRFC3964_IPv4=no\n",
        ZONE: f"<zone {attributes}>\n{zone}\n</zone>",
        **{f"etc/firewalld/{name.replace('__', '/')}.xml": text for name, text in others.items()},
    }
    return {name: Source(name, text) for name, text in texts.items()}


def policy(readings: tuple[Reading, ...], name: str = "inbound") -> list[str]:
    """The rules of one policy, each in a line."""
    assert not [problem for one in readings for problem in one.problems]
    text = policy_text(as_policy([one.rules for one in readings]), "test").partition(f"name: {name}\n")[2]
    return [
        line.strip().removeprefix("- ") for line in text.partition("---")[0].splitlines() if line.startswith("  - {")
    ]


def messages(readings: tuple[Reading, ...]) -> list[str]:
    """The notes, each with its place."""
    return [f"{note.position.file_line}: {note.message}" for one in readings for note in one.notes]


ELEMENTS = [
    ('<service name="ssh"/>', "{action: Allow, protocol: TCP, destination: {ports: [22]}}"),
    ('<service name="web"/>', "{action: Allow, protocol: TCP, destination: {ports: [80]}}"),
    (
        '<port port="5000-5010" protocol="udp"/>',
        "{action: Allow, protocol: UDP, destination: {ports: ['5000:5010']}}",
    ),
    ('<source-port port="67" protocol="udp"/>', "{action: Allow, protocol: UDP, source: {ports: [67]}}"),
    ('<protocol value="gre"/>', "{action: Allow, protocol: "),
    ('<service name="local"/><icmp-block-inversion/>', "{action: Deny, protocol: ICMP}"),
    (
        '<rule family="ipv4"><source address="10.0.0.0/8"/><port port="22" protocol="tcp"/><accept/></rule>',
        "{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8]}, destination: {ports: [22]}}",
    ),
    (
        '<rule family="ipv4"><source address="10.0.0.1" invert="True"/><service name="ssh"/><log/><drop/></rule>',
        "{action: Deny, ipVersion: 4, protocol: TCP, source: {notNets: [10.0.0.1/32]}, destination: {ports: [22]}}",
    ),
    (
        '<port port="22" protocol="tcp"/><rule priority="-5"><source ipset="bad"/><drop/></rule>',
        "{action: Deny, source: {nets: [192.0.2.0/24]}}",
    ),
    (
        '<rule><source mac="02:00:00:00:00:01"/><accept/></rule>',
        "{action: Allow, source: {macs: ['02:00:00:00:00:01']}}",
    ),
    ('<icmp-block name="echo-request"/>', "{action: Deny, protocol: ICMP, icmp: {type: 8}}"),
]


@pytest.mark.parametrize(("elements", "expected"), ELEMENTS, ids=[str(place) for place in range(len(ELEMENTS))])
def test_an_element_of_a_zone_becomes_the_words_of_policy(elements: str, expected: str) -> None:
    """Services with what they include, ports, protocols, rich rules by priority, blocks of ICMP."""
    bad = '<ipset type="hash:net"><entry>192.0.2.0/24</entry></ipset>'
    found = read_firewalld(tree(elements, ipsets__bad=bad))
    assert any(rule.startswith(expected) for rule in policy(found)[:1]), policy(found)


def test_zones_come_by_source_then_by_interface_then_by_default() -> None:
    """Each interface gets a HostEndpoint and the policy of its zone."""
    inside = '<zone target="ACCEPT"><interface name="eth1"/></zone>'
    guests = '<zone target="DROP"><source address="192.0.2.0/24"/></zone>'
    found = read_firewalld(tree('<port port="80" protocol="tcp"/>', zones__inside=inside, zones__guests=guests))

    assert policy(found, "inbound-eth1") == [
        "{action: Deny, source: {nets: [192.0.2.0/24]}}",
        "{action: Allow}",
    ]
    assert policy(found, "inbound-others")[:2] == [
        "{action: Deny, source: {nets: [192.0.2.0/24]}}",
        "{action: Allow, protocol: TCP, destination: {ports: [80]}}",
    ]


def test_policies_between_zones_come_before_or_after_by_priority() -> None:
    """To the host itself, and from it."""
    into = (
        '<policy target="DROP" priority="-10"><ingress-zone name="ANY"/><egress-zone name="HOST"/>'
        '<rule><protocol value="tcp"/><accept/></rule></policy>'
    )
    out = (
        '<policy target="REJECT"><ingress-zone name="HOST"/><egress-zone name="ANY"/>'
        '<port port="53" protocol="udp"/></policy>'
    )
    found = read_firewalld(tree('<port port="80" protocol="udp"/>', policies__into=into, policies__out=out))

    assert policy(found) == ["{action: Allow, protocol: TCP}", "{action: Deny}"]
    assert policy(found, "outbound") == ["{action: Allow, protocol: UDP, destination: {ports: [53]}}", "{action: Deny}"]


def test_a_connection_of_network_manager_may_name_the_zone() -> None:
    """With the interface; firewalld's own files do not have it then."""
    files = tree("", zones__work='<zone><port port="80" protocol="tcp"/></zone>')
    name = "etc/NetworkManager/system-connections/lan.nmconnection"
    files[name] = Source(name, "[connection]\ninterface-name=eth2\nzone=work\n")

    assert policy(read_firewalld(files), "inbound-eth2")[0].endswith("destination: {ports: [80]}}")
    # With spaces, and in a script of Red Hat's.
    files[name] = Source(name, "[connection]\ninterface-name = eth2\nzone = work\n")
    assert policy(read_firewalld(files), "inbound-eth2")[0].endswith("destination: {ports: [80]}}")
    del files[name]
    script = "etc/sysconfig/network-scripts/ifcfg-eth2"
    files[script] = Source(script, 'DEVICE="eth2"\nZONE=work\n')
    assert policy(read_firewalld(files), "inbound-eth2")[0].endswith("destination: {ports: [80]}}")


def test_a_connection_that_names_no_interface_is_named() -> None:
    """Its interface would get what the default zone allows."""
    files = tree("", zones__work="<zone/>")
    name = "etc/NetworkManager/system-connections/wan.nmconnection"
    files[name] = Source(name, "[connection]\nzone=drop\n[ethernet]\nmac-address=02:00:00:00:00:01\n")

    assert any(one.startswith(f"{name}:2: ") and "of zone drop" in one for one in messages(read_firewalld(files)))


def test_a_policy_of_the_default_zone_is_told() -> None:
    """It is written for what the zone names, and other interfaces come into the zone as well."""
    into = '<policy target="DROP"><ingress-zone name="public"/><egress-zone name="HOST"/></policy>'
    found = read_firewalld(tree("", policies__into=into))

    assert any("policy into is of the default zone public" in one for one in messages(found)), messages(found)


NAMED = [
    ("<masquerade/>", "keep <masquerade/> in a table of your own"),
    ('<forward-port port="80" protocol="tcp" to-port="8080"/>', "in a table of your own"),
    ('<rule><forward-port port="80" protocol="tcp" to-port="8080"/></rule>', "in a table of your own"),
    ('<service name="nowhere"/>', "the service nowhere, which no file describes"),
    ('<service name="local"/>', "sets up no helper of connections: keep it in a table of your own"),
    ("<novelty/>", "<novelty/> is not known here"),
    ('<rule><service name="ssh"/><accept><limit value="3/m"/></accept></rule>', "a limit of a rate"),
    ('<rule><source mac="02:00:00:00:00:01" invert="True"/><accept/></rule>', "ether saddr !="),
    ('<rule><source address="10.0.0.1" strange="1"/><accept/></rule>', "strange"),
    ('<rule odd="1"><accept/></rule>', "the attribute odd"),
    ('<rule><source ipset="nowhere"/><accept/></rule>', "the ipset nowhere, which no file describes"),
    ('<rule><source ipset="brief"/><drop/></rule>', "whose elements expire"),
    ('<rule><service name="ssh"/><mark set="1"/></rule>', "marks no packets"),
    ('<rule><service name="ssh"/></rule>', "not understood"),
    ('<port port="http" protocol="tcp"/>', "by number"),
    ('<icmp-block name="odd"/>', "the ICMP message odd"),
]


@pytest.mark.parametrize(("elements", "message"), NAMED, ids=[str(place) for place in range(len(NAMED))])
def test_what_policy_cannot_say_is_named_with_its_line(elements: str, message: str) -> None:
    """And it opens nothing."""
    brief = '<ipset type="hash:ip"><option name="timeout" value="60"/></ipset>'
    found = read_firewalld(tree(elements, ipsets__brief=brief))

    assert any(one.startswith(f"{ZONE}:2: ") and message in one for one in messages(found)) or any(
        message in one and "services/" in one for one in messages(found)
    ), messages(found)
    assert [rule for rule in policy(found) if "ICMP" not in rule and "Allow" in rule and "546" not in rule] == []


def test_addresses_that_no_packet_carries_are_said_in_no_rule() -> None:
    """IPv4 within IPv6, to which firewalld sends nothing (RFC3964_IPv4): a policy with it would be refused."""
    files = tree("")
    files[CONF] = Source(CONF, "DefaultZone=public\nRFC3964_IPv4=yes\n")
    (denied, *_) = policy(read_firewalld(files), "outbound")

    assert denied.startswith("{action: Deny, destination: {nets: ['::/96', '2002::/24'")
    assert "::ffff" not in denied


def test_direct_rules_and_zones_that_are_not_in_force_are_named() -> None:
    """Each with its file."""
    direct = '<direct>\n<rule ipv="ipv4" table="filter" chain="INPUT" priority="0">-j ACCEPT</rule></direct>'
    found = "\n".join(messages(read_firewalld(tree("", direct=direct, zones__idle="<zone/>"))))

    assert f"{DIRECT}:2: a direct rule goes around zones" in found
    assert "zone idle has no interface and no source" in found


WRONG = [
    ({"zones__public": "<zone>"}, "the file cannot be read"),
    ({"zones__public": "<policy/>"}, "<policy> is not what this folder is for"),
    ({"zones__public": '<!DOCTYPE z [<!ENTITY a "b">]><zone>&a;</zone>'}, "an entity"),
    ({"zones__public": "<zone>" * 64}, "nested too deeply"),
]


@pytest.mark.parametrize(("files", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_file_that_is_wrong_is_a_problem_with_its_place(files: dict[str, str], message: str) -> None:
    """Nothing is imported; an entity is never expanded."""
    (problem, *_) = read_firewalld(tree("", **files))[0].problems
    assert message in problem.message
    assert problem.position.path == ZONE


def test_the_verb_reads_a_tree(tmp_path: Path) -> None:
    """A file in etc stands in place of one that is shipped."""
    assert hostfwctl("import", "firewalld", "--root", tmp_path).status == 1
    for name, source in tree('<service name="web"/>').items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source.text)
    given = ("--root", tmp_path, "--config-dir", tmp_path / "none", "--packets", "500")

    ran = hostfwctl("import", "firewalld", *given)
    (tmp_path / "imported.yaml").write_text(ran.out)

    assert ran.status == 0
    assert "then `systemctl disable --now firewalld`" in ran.err
    assert hostfwctl("validate", "-f", tmp_path / "imported.yaml").status == 0
    (tmp_path / CONF).write_text("DefaultZone=nowhere\n")
    assert "there is no zone nowhere" in hostfwctl("import", "firewalld", *given).err


@pytest.mark.parametrize("inversion", ["", "<icmp-block-inversion/>"])
def test_blocks_of_icmp_of_a_zone_are_about_what_is_for_the_host(inversion: str) -> None:
    """As firewalld 1.3 and 2.3 load them; what is forwarded meets the target alone."""
    found = read_firewalld(tree(f'{inversion}<icmp-block name="echo-request"/>'))

    assert any("type: 8" in rule for rule in policy(found))
    assert not [rule for rule in policy(found, "forwarded") if "icmp" in rule]
