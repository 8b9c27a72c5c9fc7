"""Governance stays, whatever the facts become."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.governance import MOST_ABSENT, NOTHING_GOVERNED, Governance, InterfaceLookup
from hostfw.model.kinds.interface_groups import InterfaceMatch
from hostfw.model.plan import Plan
from hostfw.model.resources import HostEndpoint, Resources
from hostfw.model.settings import Settings
from hostfw.policy.kept import recorded
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import ETH0, LO, facts, group, hep, link, nets

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CARD = "52:54:00:00:00:01"
WAN = Interface("eth0", 2, addresses=nets("10.0.0.1"), default_route=True, mac=CARD, permanent_mac=CARD)
PORT = replace(WAN, addresses=(), default_route=False, master="br1")
BRIDGE = Interface("br1", 9, kind="bridge", addresses=nets("10.0.0.1"), default_route=True, mac=CARD)
UPLINKS = group("uplinks", InterfaceMatch(default_route=True))


def configuration(*endpoints: HostEndpoint) -> Resources:
    """HostEndpoints, with the groups that they may name."""
    groups = (UPLINKS, group("lan", InterfaceMatch(address_in=nets("10.0.0.0/8"))))
    return Resources(endpoints=endpoints, interface_groups=groups)


def on_record(resources: Resources, host: HostFacts, before: Governance = NOTHING_GOVERNED) -> Governance:
    """The record of a configuration on a host."""
    return recorded(planned(resources, host, before)[0], resources, host, before, NOW)


def planned(resources: Resources, host: HostFacts, governance: Governance) -> tuple[Plan, list[str]]:
    """The plan, and what is said of it."""
    plan, problems = resolve(resources, Settings(), host, governance=governance)
    return plan, [problem.message for problem in problems]


def governs(plan: Plan) -> dict[str, tuple[str, bool]]:
    """The HostEndpoint of each interface that is there, and whether it is kept."""
    return {binding.interface: (binding.endpoint, binding.kept) for binding in plan.bindings if binding.present}


RENAMED = replace(WAN, name="wan0")
CHANGES: list[tuple[str, HostEndpoint, tuple[Interface, ...], dict[str, tuple[str, bool]]]] = [
    ("a new name", hep("uplink", "eth0"), (RENAMED,), {"wan0": ("uplink", True)}),
    ("a port of a bridge", hep("uplink", "eth0"), (PORT, BRIDGE), {"eth0": ("uplink", False), "br1": ("uplink", True)}),
    (
        "a port of a bond, and a new name and address with it",
        hep("uplink", "eth0"),
        (replace(PORT, name="p1", mac="52:54:00:00:00:09", master="bond0"), replace(BRIDGE, name="bond0", kind="bond")),
        {"p1": ("uplink", True), "bond0": ("uplink", True)},
    ),
    (
        "a bond in a bridge",
        hep("uplink", "eth0"),
        (replace(PORT, master="bond0"), replace(BRIDGE, name="bond0", kind="bond", master="br1"), BRIDGE),
        {"eth0": ("uplink", False), "bond0": ("uplink", True), "br1": ("uplink", True)},
    ),
    (
        "no route any more",
        hep("uplink", group="uplinks"),
        (replace(WAN, default_route=False),),
        {"eth0": ("uplink", True)},
    ),
    ("no address in the group", hep("uplink", group="lan"), (replace(WAN, addresses=()),), {"eth0": ("uplink", True)}),
    ("no lease any more", hep("uplink", ips=("10.0.0.1",)), (replace(WAN, addresses=()),), {"eth0": ("uplink", True)}),
    (
        "a port that leaves a group",
        hep("uplink", group="lan"),
        (PORT, replace(BRIDGE, addresses=())),
        {"eth0": ("uplink", True), "br1": ("uplink", True)},
    ),
    ("nothing", hep("uplink", "eth0"), (WAN,), {"eth0": ("uplink", False)}),
    ("it is gone", hep("uplink", "eth0"), (), {}),
]


@pytest.mark.parametrize(("name", "endpoint", "interfaces", "expected"), CHANGES, ids=[case[0] for case in CHANGES])
@pytest.mark.parametrize("rebooted", [False, True])
def test_an_interface_keeps_what_it_had(
    name: str,
    endpoint: HostEndpoint,
    interfaces: tuple[Interface, ...],
    expected: dict[str, tuple[str, bool]],
    rebooted: bool,
) -> None:
    """On the same boot, and on the next, where indices are others; kept once, it is kept from then on."""
    resources = configuration(endpoint)
    record = on_record(resources, facts(LO, WAN))
    if rebooted:
        record = record.without_indices()
        interfaces = tuple(replace(interface, index=interface.index + 40) for interface in interfaces)
    host = facts(LO, *interfaces)

    plan, messages = planned(resources, host, record)

    assert governs(plan) == expected, name
    kept = [interface for interface, (_, is_kept) in expected.items() if is_kept]
    assert [m for m in messages if m.startswith("no HostEndpoint claims")] == [
        message for interface in sorted(kept) for message in messages if f"the interface {interface}," in message
    ]
    assert governs(planned(resources, host, on_record(resources, host, record))[0]) == expected


def test_the_forward_path_keeps_it_too() -> None:
    """A kept interface is bound like any other, so that every hook and class finds it."""
    resources = configuration(hep("uplink", "eth0"))

    plan, _ = planned(resources, facts(LO, RENAMED), on_record(resources, facts(LO, WAN)))

    assert [(b.interface, b.reason) for b in plan.bindings if b.kept] == [
        ("wan0", "it was eth0, which the HostEndpoint names")
    ]
    assert [endpoint.name for endpoint in plan.endpoints] == ["uplink"]


def test_another_endpoint_that_claims_it_has_it() -> None:
    """Current policy comes before the record."""
    resources = configuration(hep("other", "wan0"), hep("uplink", "eth0"))

    plan, _ = planned(resources, facts(LO, RENAMED), on_record(resources, facts(LO, WAN)))

    assert governs(plan) == {"wan0": ("other", False)}


def test_it_stays_with_its_endpoint_rather_than_fall_to_the_wildcard() -> None:
    """The wildcard's policies may let more pass."""
    resources = configuration(hep("all", "*"), hep("uplink", "eth0"))

    plan, _ = planned(resources, facts(LO, RENAMED), on_record(resources, facts(LO, WAN)))

    assert governs(plan) == {"wan0": ("uplink", True)}


def test_a_configuration_that_claims_something_else_is_obeyed() -> None:
    """A person moved the HostEndpoint; no fact took anything away."""
    record = on_record(configuration(hep("uplink", "eth0")), facts(LO, WAN))

    plan, _ = planned(configuration(hep("uplink", "eth1")), facts(LO, WAN, link("eth1")), record)

    assert governs(plan) == {"eth1": ("uplink", False)}


def test_what_is_kept_already_stays_so_when_the_configuration_changes() -> None:
    """Until a HostEndpoint claims it, or its own is gone."""
    before = configuration(hep("uplink", "eth0"))
    host = facts(LO, RENAMED, link("eth1"))
    record = on_record(before, host, on_record(before, facts(LO, WAN)))

    assert governs(planned(configuration(hep("uplink", "eth1")), host, record)[0])["wan0"] == ("uplink", True)
    assert governs(planned(configuration(hep("lan", "eth1")), host, record)[0]) == {"eth1": ("lan", False)}


def test_a_port_that_was_named_as_a_port_makes_its_bridge_nobodys() -> None:
    """It never governed a packet; the mistake is told, with the name of the bridge."""
    resources = configuration(hep("uplink", "eth0", line=4))
    host = facts(LO, PORT, BRIDGE)

    plan, messages = planned(resources, host, on_record(resources, host))

    assert governs(plan) == {"eth0": ("uplink", False)}
    assert messages == [
        'HostEndpoint "uplink" is for eth0, which is a port of the bridge br1: packets come in and go out on br1'
    ]


def test_since_when_it_is_kept_is_remembered() -> None:
    """From the first time on, through every later change."""
    resources = configuration(hep("uplink", "eth0"))
    host = facts(LO, RENAMED)
    first = on_record(resources, host, on_record(resources, facts(LO, WAN)))
    again = facts(LO, replace(RENAMED, name="wan1"))
    plan, _ = planned(resources, again, first)

    later = recorded(plan, resources, again, first, LATER)

    assert [(r.name, r.since, r.kept) for r in later.interfaces] == [
        ("wan1", NOW, "it was eth0, which the HostEndpoint names")
    ]


def test_an_interface_that_comes_back_is_as_before() -> None:
    """Under its own name it is claimed again, and nothing is kept."""
    resources = configuration(hep("uplink", "eth0"))
    record = on_record(resources, facts(LO, RENAMED), on_record(resources, facts(LO, WAN)))

    assert governs(planned(resources, facts(LO, WAN), record)[0]) == {"eth0": ("uplink", False)}


def test_a_card_that_was_pulled_out_is_known_again() -> None:
    """Under another name, after any time; containers that come and go are forgotten in the end."""
    resources = configuration(hep("uplink", "eth0"), hep("guests", group="lan"))
    record = on_record(resources, facts(LO, replace(WAN, addresses=())))
    for number in range(MOST_ABSENT + 10):
        guest = link(f"veth{number}", "10.9.0.1", kind="veth", mac=f"02:00:00:00:00:{number:02x}")
        record = on_record(resources, facts(LO, replace(guest, index=100 + number)), record)
    record = on_record(resources, facts(LO), record)

    assert len(record.interfaces) == 1 + MOST_ABSENT
    back = facts(LO, replace(RENAMED, addresses=()))
    assert governs(planned(resources, back, record)[0]) == {"wan0": ("uplink", True)}


TAP = Interface("tap0", 7, kind="tun")
IDENTITY: list[tuple[str, Interface, Interface, bool]] = [
    ("renamed", WAN, replace(WAN, name="a"), True),
    ("another index, as after a reboot", WAN, replace(WAN, name="a", index=5), True),
    ("another card under its name", WAN, replace(WAN, mac="x", permanent_mac="x"), False),
    ("without hardware, by index", TAP, replace(TAP, name="tap1"), True),
    ("without hardware, by name", TAP, replace(TAP, index=8), True),
    ("without hardware, neither", TAP, replace(TAP, name="tap1", index=8), False),
    ("another kind under its name", TAP, replace(TAP, kind="veth"), False),
    ("another kind at its index", TAP, replace(TAP, name="v", kind="veth"), False),
]


@pytest.mark.parametrize(("name", "was", "now", "known"), IDENTITY, ids=[case[0] for case in IDENTITY])
def test_an_interface_is_known_again_by_index_hardware_or_name(
    name: str, was: Interface, now: Interface, known: bool
) -> None:
    """And no other is taken for it."""
    (record,) = on_record(configuration(hep("e", was.name)), facts(LO, was)).interfaces

    assert (InterfaceLookup(facts(LO, now), [record]).found_again(record) is not None) is known, name


def test_a_vlan_is_not_known_by_the_address_that_it_borrows() -> None:
    """Every VLAN of a card has the card's."""
    vlan = Interface("eth0.10", 4, kind="vlan", mac=CARD)
    (record,) = on_record(configuration(hep("e", "eth0.10")), facts(LO, vlan)).without_indices().interfaces

    another = facts(LO, replace(vlan, name="eth0.20", index=5))
    assert InterfaceLookup(another, [record]).found_again(record) is None


@pytest.mark.parametrize("host", ["web1", "web1.example.com", "localhost"])
def test_the_name_on_record_stays_the_nodes(host: str) -> None:
    """Whatever a lease calls the host meanwhile; it is told."""
    resources = configuration(hep("uplink", "eth0", node="web1"))
    record = on_record(resources, facts(LO, ETH0, node="web1"))

    plan, messages = planned(resources, facts(LO, ETH0, node=host), record)

    assert (plan.node, governs(plan)) == ("web1", {"eth0": ("uplink", False)})
    assert messages == (
        []
        if host == "web1"
        else [f'this host is called "{host}" now, and keeps the policy of node "web1", which was accepted for it']
    )


def test_a_name_that_nothing_hangs_on_is_not_told() -> None:
    """HostEndpoints without a node are of every host."""
    resources = configuration(hep("uplink", "eth0", node="*"))

    _, messages = planned(resources, facts(LO, ETH0, node="b"), on_record(resources, facts(LO, ETH0, node="a")))

    assert messages == []
