"""Layouts that the sweep measures beside that of hostfw: they hold the same policies, in the form that others have."""

from collections import defaultdict

import pytest

from bench.inputs.mixtures import forwarded, missing_packets, packets, plan_of
from bench.inputs.other_layouts import AS_LIST, PolicyHook, entry_of, policy_chains
from hostfw.compile.ruleset import compile_plan
from hostfw.model.values import Family
from hostfw.nft.objects import Hook, Priority
from hostfw.nft.simulate import effort

_IN = (Family.V4, Hook.INPUT, Priority.FILTER)
_FORWARDED = (Family.V4, Hook.FORWARD, Priority.MANGLE)


@pytest.mark.parametrize("way", [_IN, _FORWARDED])
def test_each_policy_is_a_chain_and_each_fifth_may_return(way: PolicyHook) -> None:
    """Felix tests the marks in front of each policy but the first of five, behind which it returns."""
    plan = plan_of({"port": 2, "deny net": 1}, 40)
    listed = compile_plan(forwarded(plan) if way is _FORWARDED else plan, AS_LIST)

    script = policy_chains(listed, way).splitlines()

    groups: dict[str, list[str]] = defaultdict(list)
    for line in script:
        if line.startswith("add rule ip hostfw group-"):
            _, _, _, _, name, rule = line.split(" ", 5)
            groups[name].append(rule)
    assert max(map(len, groups.values())) >= 40
    for rules in groups.values():
        jumps = [rule for rule in rules if "jump policy-" in rule]
        assert [rule.startswith("meta mark & 0x00030000 == 0 ") for rule in jumps] == [
            bool(place % 5) for place in range(len(jumps))
        ]
        assert len(rules) - len(jumps) == (len(jumps) - 1) // 5
        assert all(rule == "meta mark & 0x00030000 != 0 return" for rule in rules if rule not in jumps)
    own = [line for line in script if line.startswith("add rule ip hostfw policy-")]
    assert sum(rule.endswith("counter drop") for rule in own) > 5
    assert all(rule.endswith("| 0x00010000") for rule in own if not rule.endswith("counter drop"))


def test_members_of_a_selector_are_a_set_and_not_policies() -> None:
    """Ninety-nine nets of one policy are one rule for each prefix length, not ninety-nine."""
    plan = plan_of({"set": 1}, 30)
    listed = compile_plan(plan, AS_LIST)

    table, entry = entry_of(listed, _IN)

    assert len(table.sets) >= 30
    assert max(effort(listed, packet).rules for packet in (*packets(plan, 10), *missing_packets(plan, 2))) < 100
    assert entry in {chain.name for chain in table.chains}
