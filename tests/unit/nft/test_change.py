"""Prepare, switch and sweep."""

from dataclasses import replace

from hostfw.compile.ruleset import compile_plan
from hostfw.model.plan import (
    AddressSet,
    Binding,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    RuleIdentity,
)
from hostfw.model.prefixes import PACKED_FROM, cidr_set, unpacked
from hostfw.model.settings import Settings
from hostfw.model.values import FAMILIES, TCP, Action, Direction, Family, PortRange
from hostfw.nft.change import Change, SetLoad, change
from hostfw.nft.deletion import Deletion, DeletionKind
from hostfw.nft.installed import InstalledBaseChain, InstalledTable, as_installed
from hostfw.nft.object_text import render
from hostfw.nft.objects import Ruleset, Set
from hostfw.nft.rules import SetRef


def _plan(*ports: int) -> Plan:
    rules = tuple(
        PlannedRule(
            RuleIdentity("GlobalNetworkPolicy", "default", "web", Direction.INGRESS, f"{port:012x}", 0, index),
            Action.ALLOW,
            FAMILIES,
            TCP,
            destination=PlannedSide(ports=(PortRange(port, port),)),
        )
        for index, port in enumerate(ports)
    )
    policy = PlannedPolicy("GlobalNetworkPolicy", "web", "default", None, rules)
    ingress = PlannedDirection((PlannedTier("default", Action.DENY, (policy,)),))
    endpoint = PlannedEndpoint("eth0", ingress, PlannedDirection())
    return Plan("host", Settings(), (endpoint,), (Binding("eth0", "eth0", "named"),))


def _in_kernel(ruleset: Ruleset) -> tuple[InstalledTable, ...]:
    return tuple(
        InstalledTable(
            table.family,
            frozenset(table.counters),
            frozenset(item.name for item in table.sets),
            frozenset(item.name for item in table.maps),
            frozenset(chain.name for chain in table.chains),
            {chain.name: as_installed(chain) for chain in table.base_chains},
        )
        for table in ruleset.tables
    )


def _lines(script: str) -> list[str]:
    return [line.strip() for line in script.splitlines()]


def test_base_chains_are_born_in_the_first_switch() -> None:
    """Before the switch nothing filters: a chain that drops by policy appears together with what it leads to."""
    first = change(compile_plan(_plan(80)), ())

    assert "hook" not in first.prepare
    assert "add chain ip hostfw input { type filter hook input priority filter; policy drop; }" in _lines(first.switch)
    assert first.sweep == ()


def test_what_is_in_force_needs_nothing() -> None:
    """The same ruleset again sends nothing at all."""
    ruleset = compile_plan(_plan(80))

    again = change(ruleset, _in_kernel(ruleset))

    assert again == Change()
    assert again.is_empty


def test_a_new_rule_above_leaves_the_counters_of_the_others() -> None:
    """One counter comes, none goes: counters are named after what a rule is."""
    before, after = compile_plan(_plan(80)), compile_plan(_plan(443, 80))

    planned = change(after, _in_kernel(before))

    new = [line for line in _lines(planned.prepare) if line.startswith("add counter ")]
    assert new == [f"add counter {family.nft} hostfw gnp/default/web/in/0000000001bb" for family in FAMILIES]
    assert DeletionKind.COUNTER not in {deletion.what for deletion in planned.sweep}


LEADING_TO_INGRESS = ("in/eth0", "input", "published", "published/in/eth0", "published/ours")
"""The chains that lead to a rule of ingress, for the host itself and for the ports that it publishes."""


def test_only_what_leads_to_the_change_is_built_anew() -> None:
    """The other direction's chains are shared by both generations, and its base chain is not touched."""
    before, after = compile_plan(_plan(80)), compile_plan(_plan(81))

    planned = change(after, _in_kernel(before))

    chains = [line.split(".")[0] for line in _lines(planned.prepare) if line.startswith("add chain ")]
    declared = [[f"add chain {family.nft} hostfw {name}" for name in LEADING_TO_INGRESS] for family in FAMILIES]
    assert chains == [line for family in declared for line in family * 2], "declared, then given their rules"
    assert "output" not in planned.switch
    swept = [deletion for deletion in planned.sweep if deletion.what is DeletionKind.CHAIN]
    assert [(deletion.family, deletion.name.split(".")[0]) for deletion in swept] == [
        (family, name) for family in FAMILIES for name in LEADING_TO_INGRESS
    ]


def test_nothing_is_deleted_before_what_refers_to_it() -> None:
    """Rules go first, then maps, then chains, then sets and counters."""
    before, after = compile_plan(_plan(*range(1000, 1040))), compile_plan(_plan(80))

    kinds = [deletion.what for deletion in change(after, _in_kernel(before)).sweep]

    order = [DeletionKind.RULES, DeletionKind.MAP, DeletionKind.CHAIN, DeletionKind.COUNTER]
    assert kinds == sorted(kinds[: len(kinds) // 2], key=order.index) * len(FAMILIES)
    assert DeletionKind.MAP in kinds


def test_a_sweep_reads_as_nft_would_be_told() -> None:
    """For `diff --nft`; a table is deleted with everything in it."""
    every = tuple(Deletion(Family.V4, what, "name", 7 if what is DeletionKind.RULE else 0) for what in DeletionKind)

    assert str(Change(sweep=every)).splitlines() == [
        "# sweep",
        "delete rule ip hostfw name handle 7",
        "flush chain ip hostfw name",
        "delete chain ip hostfw name",
        "delete set ip hostfw name",
        "delete map ip hostfw name",
        "flush set ip hostfw name",
        "delete counter ip hostfw name",
        "delete table ip hostfw",
        "delete flowtable ip hostfw name",
        "delete quota ip hostfw name",
        "delete ct helper ip hostfw name",
        "delete limit ip hostfw name",
        "delete connlimit ip hostfw name",
        "delete tunnel ip hostfw name",
        "delete ct timeout ip hostfw name",
        "delete secmark ip hostfw name",
        "delete ct expectation ip hostfw name",
        "delete synproxy ip hostfw name",
    ]


def test_a_chain_that_another_hand_changed_is_written_again() -> None:
    """Its rules are replaced in the switch, although its name says that it is right."""
    ruleset = compile_plan(_plan(80))
    installed = _in_kernel(ruleset)
    touched = next(chain for chain in ruleset.tables[0].chains if chain.name.startswith("in/eth0"))

    planned = change(ruleset, (replace(installed[0], suspect=frozenset((touched.name,))), installed[1]))

    assert (planned.prepare, planned.sweep) == ("", ())
    assert _lines(planned.switch)[0] == f"flush chain ip hostfw {touched.name}"
    assert len(_lines(planned.switch)) == len(("flush", "add", *touched.rules, "}"))


def test_a_base_chain_that_another_hand_made_in_our_table_goes() -> None:
    """It decides beside ours, whatever its priority; one of ours that is not in use only accepts, and stays."""
    ruleset = compile_plan(_plan(80))
    ip, ip6 = _in_kernel(ruleset)
    theirs = {"theirs": InstalledBaseChain(policy_drop=True, rules=0, comment="")}
    ours = {"raw-output": InstalledBaseChain(policy_drop=False, rules=0, comment="")}
    changed_by_others = replace(ip, base_chains={**ip.base_chains, **theirs, **ours})

    found = change(ruleset, (changed_by_others, ip6))

    assert found.sweep == (
        Deletion(Family.V4, DeletionKind.RULES, "theirs"),
        Deletion(Family.V4, DeletionKind.CHAIN, "theirs"),
    )
    assert not found.prepare
    assert not found.switch


def test_a_base_chain_that_lost_its_policy_gets_it_back() -> None:
    """Declaring it again sets the policy; its rules are written again as well."""
    ruleset = compile_plan(_plan(80))
    installed = _in_kernel(ruleset)
    loosened = {name: replace(chain, policy_drop=False) for name, chain in installed[0].base_chains.items()}

    planned = change(ruleset, (replace(installed[0], base_chains=loosened), installed[1]))

    assert "add chain ip hostfw input { type filter hook input priority filter; policy drop; }" in _lines(
        planned.switch
    )
    assert "ip6" not in planned.switch


def test_a_family_whose_table_is_gone_is_built_whole() -> None:
    """The other one stays as it is."""
    ruleset = compile_plan(_plan(80))

    planned = change(ruleset, _in_kernel(ruleset)[:1])

    assert _lines(planned.prepare)[0] == "add table ip6 hostfw"
    assert "ip hostfw" not in planned.prepare + planned.switch


def _blocking(count: int) -> Ruleset:
    """A policy that denies so many hosts of the one selector."""
    plan = _plan(80)
    hosts = unpacked(cidr_set({(Family.V4, 32): range(10 << 24, (10 << 24) + count), (Family.V6, 64): [1 << 64]}))
    policy = plan.endpoints[0].ingress.tiers[0].policies[0]
    rule = replace(policy.rules[0], action=Action.DENY, source=PlannedSide(address_set=AddressSet("all()", hosts)))
    tier = PlannedTier("default", Action.DENY, (replace(policy, rules=(rule,)),))
    endpoint = replace(plan.endpoints[0], ingress=PlannedDirection((tier,)))
    return compile_plan(replace(plan, endpoints=(endpoint,)))


def _big(ruleset: Ruleset) -> list[Set]:
    return [item for table in ruleset.tables for item in table.sets if item.is_big]


def test_big_sets_are_declared_and_then_filled() -> None:
    """The script has their size, and none of their elements; the whole ruleset has both."""
    ruleset = _blocking(PACKED_FROM)
    (big,) = _big(ruleset)
    first = change(ruleset, ())

    assert first.set_loads == (SetLoad(Family.V4, big),)
    assert f"size {PACKED_FROM}" in _lines(first.prepare)
    assert "10.0.0.7" not in first.prepare
    assert "10.0.0.7" in render(ruleset)
    assert str(first.set_loads[0]) == f"add 4096 elements to ip hostfw {big.name}"
    assert f"# {first.set_loads[0]}\n" in str(first)


def test_sets_below_the_bound_go_with_their_script() -> None:
    """Nothing is to be filled."""
    few = change(_blocking(PACKED_FROM - 1), ())

    assert few.set_loads == ()
    assert "10.0.0.7" in few.prepare


def test_a_big_set_is_named_by_its_content() -> None:
    """As every set; equal content has an equal name."""
    assert _big(_blocking(5000)) == _big(_blocking(5000))
    assert _big(_blocking(5000))[0].name != _big(_blocking(5001))[0].name


def test_what_is_filled_needs_nothing_and_what_is_not_is_filled() -> None:
    """A set that a crash left half filled has its name already."""
    ruleset = _blocking(5000)
    (big,) = _big(ruleset)
    whole = _in_kernel(ruleset)
    half = tuple(replace(t, unfilled=frozenset((big.name,)) if t.family is Family.V4 else frozenset()) for t in whole)

    assert change(ruleset, whole).is_empty
    assert change(ruleset, half) == Change(set_loads=(SetLoad(Family.V4, big),))


def test_a_big_set_that_is_not_wanted_is_swept_filled_or_not() -> None:
    """Litter of a crash goes like any other."""
    (big,) = _big(_blocking(5000))
    whole = _in_kernel(_blocking(5000))

    for there in (whole, tuple(replace(t, unfilled=frozenset((big.name,))) for t in whole)):
        assert Deletion(Family.V4, DeletionKind.SET, big.name) in change(compile_plan(_plan(80)), there).sweep


def test_no_step_has_libnftables_read_the_sets_of_the_host() -> None:
    """As `table` blocks, `add rule` and deletions would; nft 1.0.6 dies of sets that a newer one wrote."""
    first = change(_blocking(20), ())
    later = change(_blocking(21), _in_kernel(_blocking(20)))

    for line in _lines(first.prepare + first.switch + later.prepare + later.switch):
        assert not line.startswith(("table ", "add rule", "add element", "delete "))


def test_a_set_that_is_there_is_declared_for_new_rules_without_its_elements() -> None:
    """Libnftables has to know of it, and the kernel keeps it as it is."""
    ruleset = _blocking(20)
    installed = _in_kernel(ruleset)
    (there,) = (item for item in ruleset.tables[0].sets if item.name.startswith("nets"))
    dependent = next(
        chain
        for chain in ruleset.tables[0].chains
        if any(
            isinstance(match.value, SetRef) and match.value.name == there.name
            for r in chain.rules
            for match in r.matches
        )
    )
    lacking = replace(installed[0], chains=installed[0].chains - {dependent.name})

    lines = _lines(change(ruleset, (lacking, installed[1])).prepare)

    assert lines[:3] == ["add table ip hostfw", f"add set ip hostfw {there.name} {{", "type ipv4_addr"]
    assert not any(line.startswith("elements") for line in lines)
    assert lines.count(f"add chain ip hostfw {dependent.name} {{") == 1
