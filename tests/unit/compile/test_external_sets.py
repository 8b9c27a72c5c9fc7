"""Rules that select sets which other programs fill: every layout leaves the question to the kernel."""

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.object_names import external_sets
from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import (
    AddressSet,
    Binding,
    ExternalSet,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    RuleIdentity,
)
from hostfw.model.settings import Settings
from hostfw.model.values import FAMILIES, TCP, Action, Cidr, Direction, Family, PortRange, TableFamily, parse_cidr
from hostfw.nft.object_text import render
from hostfw.nft.objects import Element, Ruleset, Set
from hostfw.nft.simulate import simulate
from hostfw.policy.resolve.external import with_members

BANS, GUESTS = ExternalSet("bans", 65_536), ExternalSet("guests", 10, 3600)
LISTED = tuple(filter(None, map(parse_cidr, ("10.0.1.0/24", "10.0.2.7/32", "10.1.0.0/16", "2001:db8::/48"))))
LOOKUPS = CostModel(
    linear_rules=0, linear_interfaces=0, linear_ports=0, expanded_ports=4, inline_cidrs=0, inline_ports=0, copies=1000
)
RANKS = replace(LOOKUPS, copies=0, rules_a_lookup=0, crowd=1)
SOURCES = {
    Family.V4: (0x0A000105, 0x0A000207, 0x0A010203, 0x0A020304),
    Family.V6: (0x20010DB8 << 96 | 7, 0x20010DB9 << 96 | 7),
}


def _sets() -> tuple[AddressSet | None, ...]:
    return (
        None,
        AddressSet("bans", (), external=(BANS,)),
        AddressSet("both", (), external=(BANS, GUESTS)),
        AddressSet("mixed", LISTED, from_feed=True, external=(GUESTS,)),
        AddressSet("listed", LISTED),
    )


def _plan(random: Random, count: int) -> Plan:
    """Rules that name a port or not, and on one side or both select sets of each sort, or must not be in them."""

    def rule(index: int) -> PlannedRule:
        identity = RuleIdentity("GlobalNetworkPolicy", "default", "p", Direction.INGRESS, f"{index:012x}", 0, index)
        ports = random.choice((None, (PortRange(80, 80),), (PortRange(80, 90),), (PortRange(1000, 2000),)))
        within, without = random.choice(_sets()), random.choice((None, None, *_sets()))
        action = random.choice((Action.ALLOW, Action.DENY))
        return PlannedRule(
            identity,
            action,
            FAMILIES,
            TCP,
            source=PlannedSide(address_set=within, not_address_set=without),
            destination=PlannedSide(ports=ports),
        )

    policy = PlannedPolicy("GlobalNetworkPolicy", "p", "default", None, tuple(map(rule, range(count))))
    ingress = PlannedDirection((PlannedTier("default", Action.DENY, (policy,)),))
    endpoint = PlannedEndpoint("eth0", ingress, PlannedDirection())
    bindings = (Binding("eth0", "eth0", "named"),)
    return Plan("host", Settings(), (endpoint,), bindings, external=(BANS, GUESTS))


def _filled(ruleset: Ruleset, members: dict[str, tuple[Cidr, ...]]) -> Ruleset:
    """The ruleset as the kernel has it once another program has put members in."""
    held: dict[tuple[TableFamily, str], tuple[Element, ...]] = {
        (family, name): tuple(cidr.address for cidr in members.get(one.name, ()) if cidr.family is family)
        for one, family in product((BANS, GUESTS), FAMILIES)
        for name in external_sets(one)[:1]
    }

    def with_elements(one: Set, family: TableFamily) -> Set:
        return replace(one, elements=held.get((family, one.name), one.elements))

    return Ruleset(
        tuple(
            replace(table, sets=tuple(with_elements(one, table.family) for one in table.sets))
            for table in ruleset.tables
        )
    )


@pytest.mark.parametrize("costs", [DEFAULT_COSTS, LOOKUPS, RANKS], ids=["default", "lookups", "ranks"])
def test_the_ruleset_obeys_whatever_the_sets_come_to_hold(costs: CostModel) -> None:
    """Compiled once, without a look at the members; explained with those that are there."""
    random = Random(7)
    for _ in range(20):
        plan = _plan(random, random.choice((2, 12, 40)))
        ruleset = compile_plan(plan, costs)
        for _ in range(4):
            members = {
                name: tuple(
                    Cidr(family, address, family.bits)
                    for family, addresses in SOURCES.items()
                    for address in addresses
                    if random.random() < 0.5
                )
                for name in ("bans", "guests")
            }
            explained, filled = with_members(plan, members), _filled(ruleset, members)
            for family, port in product(FAMILIES, (80, 85, 1500, 5000)):
                for source in SOURCES[family]:
                    packet = Packet(family, TCP.number, source, 9, 40_000, port, in_interface="eth0")
                    verdict = explain(explained, packet)
                    assert simulate(filled, packet).accepted is verdict.allowed, (members, packet, verdict)


def test_a_plan_that_asks_for_no_external_set_stays_the_very_same() -> None:
    """Ten thousand policies are not to be copied for nothing."""
    plan = replace(_plan(Random(1), 5), external=())

    assert with_members(plan, {"bans": LISTED}) is plan


def test_the_sets_are_declared_with_their_bounds_and_without_members() -> None:
    """Other programs name them, so their names say size and timeout only where these are not the default."""
    script = " ".join(render(compile_plan(_plan(Random(7), 40), DEFAULT_COSTS)).split())

    assert external_sets(BANS) == ("external/bans", "external-nets/bans")
    assert external_sets(GUESTS) == ("external/guests/10/3600s", "external-nets/guests/10/3600s")
    assert "set ip hostfw external/bans { type ipv4_addr size 65536 flags timeout comment" in script
    nets = "set ip6 hostfw external-nets/guests/10/3600s { type ipv6_addr size 10 flags interval,timeout timeout 3600s"
    assert nets in script
    assert "elements" not in script[script.index(nets) :].partition("}")[0]
