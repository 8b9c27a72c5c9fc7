"""Changes of interfaces that may move a binding, and those that cannot."""

from dataclasses import replace

import pytest

from hostfw.model.host.facts import Interface
from hostfw.model.host.governance import Governance, GovernedInterface
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.settings import Settings, Workloads
from hostfw.policy.interest import Interest, interest
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import ETH0, ETH1, LO, NODE, facts, group, hep, net

VETH = Interface("veth7", 70, kind="veth", mac="02:00:00:00:00:07")
"""One as container engines make them."""


def asks(
    *endpoints: HostEndpoint,
    groups: tuple[InterfaceGroup, ...] = (),
    settings: Settings | None = None,
    governance: Governance | None = None,
    here: tuple[Interface, ...] = (LO, ETH0, ETH1),
) -> Interest:
    """The interest of a configuration on a host."""
    resources = Resources(endpoints=endpoints, interface_groups=groups)
    host = facts(*here, link_groups=(("dmz", 7),))
    record = governance or Governance()
    plan, _ = resolve(resources, settings or Settings(), host, governance=record)
    return interest(resources, plan, host, record)


def of(*entries: InterfaceMatch, excluded: tuple[InterfaceMatch, ...] = ()) -> Interest:
    """The interest of a HostEndpoint of a group."""
    members = replace(group("some", *entries), except_=excluded)
    return asks(hep("a", group="some"), groups=(members,))


LINKS: list[tuple[str, Interest, Interface, bool]] = [
    ("nobody asks", asks(hep("a", "eth0")), VETH, False),
    ("everybody is meant, whose rules name nobody", asks(hep("a", "*")), VETH, False),
    ("a name that is there", asks(hep("a", "eth0")), ETH0, True),
    ("a name that is to come", asks(hep("a", "veth7")), VETH, True),
    ("a name of another node", asks(replace(hep("a", "veth7"), node="other")), VETH, True),
    ("an alternative name", asks(hep("a", "eth7")), replace(VETH, altnames=("eth7",)), True),
    ("another name of what is governed", asks(hep("a", "eth0")), replace(ETH0, name="uplink"), True),
    ("a pattern", of(InterfaceMatch(name="veth*")), VETH, True),
    ("another pattern", of(InterfaceMatch(name="eth*")), VETH, False),
    ("a kind", of(InterfaceMatch(kind="veth")), VETH, True),
    ("another kind", of(InterfaceMatch(kind="bridge")), VETH, False),
    ("a link group", of(InterfaceMatch(link_group=7)), replace(VETH, link_group=7), True),
    ("a link group by its name", of(InterfaceMatch(link_group="dmz")), replace(VETH, link_group=7), True),
    ("another link group", of(InterfaceMatch(link_group=7)), VETH, False),
    ("a master", of(InterfaceMatch(master="br0")), replace(VETH, master="br0"), True),
    ("another master", of(InterfaceMatch(master="br0")), replace(VETH, master="docker0"), False),
    ("what is a master in a group", of(InterfaceMatch(master="veth7")), VETH, True),
    (
        "what is a master in an exception",
        of(InterfaceMatch(name="e*"), excluded=(InterfaceMatch(master="veth7"),)),
        VETH,
        True,
    ),
    ("all of it", of(InterfaceMatch(name="veth*", kind="veth", link_group=0)), VETH, True),
    ("one thing less", of(InterfaceMatch(name="veth*", kind="veth", link_group=9)), VETH, False),
    ("whatever its address", of(InterfaceMatch(name="veth*", address_in=(net("10.0.0.0/8"),))), VETH, True),
    ("an address alone, which comes later", of(InterfaceMatch(address_in=(net("10.0.0.0/8"),))), VETH, False),
    ("an address that it has", of(InterfaceMatch(address_in=(net("10.0.0.0/8"),))), replace(ETH0, link_group=3), True),
    ("a route that it has", of(InterfaceMatch(default_route=True)), replace(ETH0, link_group=3), True),
    ("a route that others have", of(InterfaceMatch(default_route=True)), VETH, False),
    ("no route", of(InterfaceMatch(default_route=False)), VETH, True),
    ("a setting", asks(settings=Settings(workloads=Workloads(("veth*",)))), VETH, True),
    ("another one of a setting", asks(settings=Settings(workloads=Workloads(("tap*",)))), VETH, False),
    (
        "a device on record under a name that it had",
        asks(
            hep("a", "eth7"),
            governance=Governance(NODE, (GovernedInterface("eth7", "a", "interfaceName eth7", mac=VETH.mac),)),
        ),
        VETH,
        True,
    ),
    (
        "a group that no HostEndpoint names",
        asks(hep("a", "eth0"), groups=(group("some", InterfaceMatch(kind="veth")),)),
        VETH,
        False,
    ),
]


@pytest.mark.parametrize(("asking", "link", "expected"), [c[1:] for c in LINKS], ids=[c[0] for c in LINKS])
def test_a_link_is_of_interest_if_something_asks_about_it(asking: Interest, link: Interface, expected: bool) -> None:
    """By what a link is, whatever its addresses are."""
    assert asking.in_link(link) is expected


ADDRESSES: list[tuple[str, Interest, str, str, bool]] = [
    ("nobody asks", asks(hep("a", "eth0")), "veth7", "fe80::1", False),
    ("of what is governed", asks(hep("a", "eth0")), "eth0", "192.0.2.9", True),
    ("that is expected", asks(hep("a", ips=("192.0.2.9",))), "veth7", "192.0.2.9", True),
    ("another than is expected", asks(hep("a", ips=("192.0.2.9",))), "veth7", "192.0.2.8", False),
    ("expected beside a name", asks(hep("a", "eth0", ips=("192.0.2.9",))), "veth7", "192.0.2.9", False),
    ("in a prefix", of(InterfaceMatch(address_in=(net("192.0.2.0/24"),))), "veth7", "192.0.2.9", True),
    ("in a prefix of another family", of(InterfaceMatch(address_in=(net("::/0"),))), "veth7", "192.0.2.9", False),
    ("of a workload", asks(settings=Settings(workloads=Workloads(("veth*",)))), "veth7", "192.0.2.9", True),
    (
        "of the rest, known to rules",
        asks(hep("a", "*"), settings=Settings(learn_addresses=True)),
        "veth7",
        "fe80::1",
        True,
    ),
    (
        "of the rest, known to no rule",
        asks(hep("a", "*"), settings=Settings(learn_addresses=False)),
        "veth7",
        "fe80::1",
        False,
    ),
]


@pytest.mark.parametrize(
    ("asking", "interface", "address", "expected"), [c[1:] for c in ADDRESSES], ids=[c[0] for c in ADDRESSES]
)
def test_an_address_is_of_interest_if_something_asks_about_it(
    asking: Interest,
    interface: str,
    address: str,
    expected: bool,
) -> None:
    """By its interface, or by itself."""
    assert asking.in_address(interface, net(address)) is expected
