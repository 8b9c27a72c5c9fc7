"""The networks that `local` means, and those that it does not."""

from dataclasses import replace

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.plan import LINK_LOCAL, Plan, PlannedRule
from hostfw.model.resources import EntityRule, GlobalNetworkPolicy, HostEndpoint, Resources, Rule
from hostfw.model.settings import Settings, Workloads
from hostfw.model.values import TCP, Action, Family, Learned
from hostfw.policy.resolve.address_book import AddressBook
from hostfw.policy.resolve.plan import ResolveCache, neighbour_problems, resolve
from hostfw.policy.resolve.rules import rule_digest
from tests.unit.builders.policy_builders import NODE, metadata, net, nets

FROM_LOCAL = Rule(Action.ALLOW, protocol=TCP, source=EntityRule(local=True))


def _policy(*rules: Rule) -> Resources:
    policy = GlobalNetworkPolicy(metadata("lan"), selector=SelectorText("all()"), ingress=rules)
    return Resources(policies=(policy,), endpoints=(HostEndpoint(metadata("every"), NODE, "*"),))


def _facts(*interfaces: Interface) -> HostFacts:
    return HostFacts(NODE, interfaces)


def _eth0(*networks: str, learned: Learned | None = None) -> Interface:
    of = nets(*networks)
    return Interface("eth0", 2, networks=of, networks_learned=tuple((cidr, learned) for cidr in of if learned))


def _found(plan: Plan) -> list[tuple[str, str]]:
    (rule,) = plan.endpoints[0].ingress.tiers[0].policies[0].rules
    assert rule.source.local is not None
    return [(name, str(cidr)) for name, cidr in rule.source.local.links.networks]


@pytest.mark.parametrize(
    ("learned", "given", "counts"),
    [
        (None, "10.0.0.0/8", True),
        (None, "8.0.0.0/7", False),
        (None, "0.0.0.0/0", False),
        (None, "2001:db8::/32", True),
        (None, "2001:d00::/24", False),
        (Learned.DHCP, "10.1.0.0/16", True),
        (Learned.DHCP, "10.0.0.0/15", False),
        (Learned.RA, "2001:db8::/64", True),
        (Learned.RA, "2001:db8::/63", False),
    ],
)
def test_a_network_counts_from_a_length_on_that_depends_on_who_gave_it(
    learned: Learned | None, given: str, counts: bool
) -> None:
    """An address that does not count is named, with its interface, how it came and what to write."""
    facts = _facts(_eth0(given, learned=learned))
    plan, problems = resolve(_policy(FROM_LOCAL), Settings(), facts)

    assert _found(plan) == ([("eth0", given)] if counts else [])
    told = [one.message for one in problems if "local is without" in one.message]
    given_by = {None: "", Learned.DHCP: ", which DHCP gave", Learned.RA: ", which a router advertisement gave"}[learned]
    assert told == ([] if counts else [f"local is without {given} of eth0{given_by}"])
    assert [one.message for one in neighbour_problems(_policy(FROM_LOCAL), Settings(), facts)] == told


def test_a_neighbour_gives_no_more_networks_than_the_kernel_takes_addresses_of() -> None:
    """An administrator's count beside them all, and so do those of the other IP version."""
    advertised = [f"2001:db8:0:{number:x}::/64" for number in range(20)]
    eth0 = _eth0(*advertised, learned=Learned.RA)
    eth0 = replace(eth0, networks=(*eth0.networks, net("192.0.2.0/24"), net("2001:db8:1::/64")))
    plan, problems = resolve(_policy(FROM_LOCAL), Settings(), _facts(eth0))

    counted = {text for _, text in _found(plan)}
    assert {"192.0.2.0/24", "2001:db8:1::/64"} <= counted
    plan_networks = plan.endpoints[0].ingress.tiers[0].policies[0].rules[0].source.local
    assert plan_networks is not None
    held = [text for text in advertised if plan_networks.links.holds("eth0", Family.V6, net(text).address + 1)]
    assert len(held) == 16
    assert len([one for one in problems if "16 networks" in one.expected]) == 4


def test_interfaces_keep_their_networks_apart_and_a_vrf_has_those_of_its_interfaces() -> None:
    """`lo` has none while no HostEndpoint names it, and no interface of a workload has any."""
    interfaces = (
        replace(_eth0("192.0.2.0/24", "192.0.2.0/25", "fe80::/64"), master="blue"),
        Interface("blue", 3, kind="vrf"),
        Interface("eth1", 4, networks=nets("198.51.100.0/24"), master="br0"),
        Interface("br0", 5, kind="bridge"),
        Interface("lo", 1, kind="loopback", networks=nets("127.0.0.0/8")),
        Interface("ve-web", 6, networks=nets("10.9.0.0/30")),
    )
    settings = Settings(workloads=Workloads(("ve-*",)))
    plan, _ = resolve(_policy(FROM_LOCAL), settings, _facts(*interfaces))

    assert _found(plan) == [("blue", "192.0.2.0/24"), ("eth0", "192.0.2.0/24"), ("eth1", "198.51.100.0/24")]


def test_link_local_addresses_are_local_whatever_is_known() -> None:
    """So no rule depends on how many interfaces have one."""
    plan, _ = resolve(_policy(FROM_LOCAL), Settings(), _facts(Interface("eth0", 2)))

    (rule,) = plan.endpoints[0].ingress.tiers[0].policies[0].rules
    assert rule.source.nets is None
    assert rule.source.local is not None
    assert rule.source.local.nets == (LINK_LOCAL,)
    assert rule.families == (Family.V4, Family.V6)


def test_rules_that_do_not_ask_for_networks_stay_the_very_same_when_these_change() -> None:
    """An address that comes or goes makes nobody else's rule anew."""
    other = Rule(Action.ALLOW, protocol=TCP, source=EntityRule(nets=nets("10.0.0.0/8")))
    cache = ResolveCache()
    resources = _policy(other)
    first, _ = resolve(resources, Settings(), _facts(_eth0("192.0.2.0/24")), cache)
    second, _ = resolve(resources, Settings(), _facts(_eth0("198.51.100.0/24")), cache)
    assert _rule(first) is _rule(second)

    resources = _policy(FROM_LOCAL)
    first, _ = resolve(resources, Settings(), _facts(_eth0("192.0.2.0/24")), cache)
    second, _ = resolve(resources, Settings(), _facts(_eth0("198.51.100.0/24")), cache)
    assert (_found(first), _found(second)) == ([("eth0", "192.0.2.0/24")], [("eth0", "198.51.100.0/24")])
    assert _rule(first).identity == _rule(second).identity


def _rule(plan: Plan) -> PlannedRule:
    return plan.endpoints[0].ingress.tiers[0].policies[0].rules[0]


def test_rules_with_and_without_the_word_have_counters_of_their_own() -> None:
    """It says something else, among nets as among notNets."""
    book = AddressBook(Resources(), {})
    sides = (EntityRule(), EntityRule(local=True), EntityRule(not_local=True), EntityRule(nets=nets("10.0.0.0/8")))
    assert len({rule_digest(Rule(Action.DENY, source=one), book) for one in sides}) == len(sides)


def test_a_list_with_the_word_keeps_a_rule_out_of_no_ip_version() -> None:
    """An interface has networks of both; another list, or ipVersion, still does."""
    mixed = Rule(Action.ALLOW, source=EntityRule(nets=nets("10.0.0.0/8"), local=True))
    plan, _ = resolve(_policy(mixed), Settings(), _facts(_eth0("192.0.2.0/24")))
    limited = replace(mixed, destination=EntityRule(nets=nets("10.0.0.1/32")))
    of_one, _ = resolve(_policy(limited), Settings(), _facts(_eth0("192.0.2.0/24")))

    assert _rule(plan).families == (Family.V4, Family.V6)
    local = _rule(plan).source.local
    assert local is not None
    assert local.nets == (net("10.0.0.0/8"), LINK_LOCAL)
    assert _rule(of_one).families == (Family.V4,)
