"""The facts file: every field, and what is wrong with one that somebody wrote."""

import json

from hostfw.manifest.files.facts_file import decode_facts, facts_document
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.sources import Source
from hostfw.model.values import Learned
from tests.unit.builders.policy_builders import net, nets
from tests.unit.builders.policy_texts import said

WRITTEN = """\
apiVersion: hostfw.io/v1
kind: HostFacts
node: web1
kernel: 6.1.0-18-amd64
nft: 1.0.6
linkGroups: {default: 0, dmz: 7}
interfaces:
  - {name: lo, index: 1, kind: loopback, addresses: [127.0.0.1, "::1"]}
  - name: eth0
    index: 2
    altnames: [enp3s0]
    linkGroup: 7
    master: br0
    addresses: [10.0.0.1, 10.0.0.2, "2001:db8::1", "::ffff:10.0.0.9"]
    learned: {dhcp: [10.0.0.2], ra: ["2001:db8::1"]}
    defaultRoute: true
    defaultRouteLearned: [dhcp, ra]
    up: false
    networks: [10.0.0.0/24, "2001:db8::/64"]
    networksLearned: {ra: ["2001:db8::/64"]}
"""

FACTS = HostFacts(
    node="web1",
    interfaces=(
        Interface("lo", 1, kind="loopback", addresses=nets("127.0.0.1", "::1")),
        Interface(
            "eth0",
            2,
            altnames=("enp3s0",),
            link_group=7,
            master="br0",
            addresses=nets("10.0.0.1", "10.0.0.2", "2001:db8::1", "::ffff:10.0.0.9"),
            default_route=True,
            up=False,
            learned=((net("10.0.0.2"), Learned.DHCP), (net("2001:db8::1"), Learned.RA)),
            default_route_learned=(Learned.DHCP, Learned.RA),
            networks=nets("10.0.0.0/24", "2001:db8::/64"),
            networks_learned=((net("2001:db8::/64"), Learned.RA),),
        ),
    ),
    link_groups=(("default", 0), ("dmz", 7)),
    kernel="6.1.0-18-amd64",
    nft="1.0.6",
)


def test_facts_decode_with_every_field() -> None:
    """Defaults are those of an interface that is up and has nothing."""
    assert decode_facts(Source("facts.yaml", WRITTEN)) == (FACTS, ())


def test_facts_are_written_with_every_field_and_read_back() -> None:
    """As JSON, indented with tabs even."""
    text = json.dumps(facts_document(FACTS), indent="\t")

    assert decode_facts(Source("facts.json", text)) == (FACTS, ())
    assert json.loads(text)["interfaces"][1] == {
        "name": "eth0",
        "index": 2,
        "altnames": ["enp3s0"],
        "kind": "",
        "linkGroup": 7,
        "master": "br0",
        "addresses": ["10.0.0.1", "10.0.0.2", "2001:db8::1", "::ffff:10.0.0.9"],
        "learned": {"dhcp": ["10.0.0.2"], "ra": ["2001:db8::1"]},
        "defaultRoute": True,
        "defaultRouteLearned": ["dhcp", "ra"],
        "up": False,
        "networks": ["10.0.0.0/24", "2001:db8::/64"],
        "networksLearned": {"ra": ["2001:db8::/64"]},
    }


def test_where_something_is_wrong_there_are_no_facts() -> None:
    """A ruleset for half of a host would be for another host."""
    facts, problems = decode_facts(Source("facts.yaml", WRITTEN + "  - {name: eth1}\n"))

    assert facts is None
    assert [said(problem) for problem in problems] == [
        "21:5 index is missing; expected the name and index of the interface"
    ]
