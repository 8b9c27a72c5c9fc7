"""Agreement of `explain` and the compiled ruleset: verdict, counter and log record, for every packet."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from bench.inputs.mixtures import SHAPES, missing_packets, packets, plan_of, with_logs
from hostfw.audit.log_prefix import LogTag, decode, encode
from hostfw.compile import object_names as names
from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS
from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Explanation, Step
from hostfw.model.packets.packet import Packet, Path
from hostfw.model.plan import Plan
from hostfw.model.settings import DenyAction
from hostfw.model.values import Action, Direction, Family
from hostfw.nft.simulate import Fate, Outcome, simulate
from tests.property.generators.plans import bridged_plans, burst, leases, plans, seeds, tall_plans

LOOKUPS_EVERYWHERE = CostModel(
    linear_rules=0,
    linear_interfaces=0,
    linear_ports=0,
    expanded_ports=2,
    inline_cidrs=0,
    inline_ports=0,
    inline_sockets=0,
    linear_prefixes=0,
    dispatched_prefixes=5,
    copies=1000,
    shared_rules=1,
    dispatched_together=2,
)
RANKED_EVERYWHERE = replace(
    LOOKUPS_EVERYWHERE, copies=0, rules_a_lookup=0, crowd=1, lookups=3, widened=1000, whole_map=1, part_of_map=2
)
"""No cut is worth its copies: every list is found by ranks, by as many criteria as there are, in parts of maps."""
RANKED_BY_ONE = replace(RANKED_EVERYWHERE, crowd=100, keys_a_rule=3, elements=0)
"""As ranks, by the first criterion that has few keys, the others tested; a rule of more keys is tried."""
LISTS_EVERYWHERE = CostModel(10_000, 100, 100, 64, 100, 100, dispatched_together=1)
LAYOUTS = (DEFAULT_COSTS, LOOKUPS_EVERYWHERE, RANKED_EVERYWHERE, RANKED_BY_ONE, LISTS_EVERYWHERE)
LONG_LAYOUTS = (DEFAULT_COSTS, replace(DEFAULT_COSTS, copies=0, rules_a_lookup=0), RANKED_BY_ONE, LISTS_EVERYWHERE)
"""Without cuts that would repeat a hundred rules a hundred times."""
PACKETS_A_PLAN = 250
"""With the 200 plans of a full run that is 50,000 packets, each through five layouts."""
MARKS = (0, 0x12345678, 0x0000FFFF)
"""Marks of other programs, one of which has the bits that ranks are noted in."""


_PLACES = {PolicyClass.UNTRACKED: "untracked", PolicyClass.PRE_DNAT: "pre-dnat"}


def _tag(step: Step) -> LogTag:
    of_rule = step.rule is not None and step.reason is Reason.RULE
    action = step.action if of_rule and step.action is not None else Action.DENY
    index = None if step.rule is None else step.rule.index
    return LogTag(action, step.direction, step.reason, step.tier, step.policy, index, step.staged)


def _denied(explanation: Explanation, step: Step) -> bool:
    return step is explanation.decided_by and not explanation.allowed


def _expected_prefixes(explanation: Explanation) -> list[str]:
    """Every Log that matched, every would-be verdict of a staged policy, and the denial, unless it is unrecorded."""
    return [
        encode(_tag(step))
        for step in explanation.steps
        if step.matched
        and not step.unrecorded
        and (step.staged or step.action is Action.LOG or _denied(explanation, step))
    ]


def _expected_counters(explanation: Explanation) -> list[str]:
    """Every policy rule that matched, a failsafe that did, or the drop that decided."""
    counters = []
    for step in explanation.steps:
        if not step.matched:
            continue
        if step.rule is not None:
            by_limit = step.reason is Reason.OVER_LIMIT
            counters.append(names.limit_counter(step.rule, step.reason) if by_limit else names.rule_counter(step.rule))
        elif step.failsafe is not None:
            place = _PLACES.get(step.policy_class, "")
            if step.reason is Reason.TO_HOST:
                place = "to-host" if step.direction is Direction.EGRESS else "lease"
            counters.append(names.failsafe_counter(step.failsafe, step.direction, place=place, reply=step.reply))
        elif _denied(explanation, step):
            counters.append(names.drop_counter(_tag(step)))
    return counters


def _expected_fate(plan: Plan, explanation: Explanation) -> Fate:
    """A denial rejects where the kernel can: in input, forward and output, and never what is invalid.

    What asks for a lease at a port of a bridge that nobody knows is dropped.
    """
    if explanation.allowed:
        return Fate.ACCEPT
    packet, decided_by = explanation.packet, explanation.decided_by
    rerouted = packet.path is Path.LOCAL_OUT and packet.original is not None
    silent = (
        decided_by.reason in (Reason.INVALID, Reason.SPOOFED, Reason.REVERSE_PATH)
        or decided_by.policy_class in _PLACES
        or (decided_by.reason is Reason.UNIDENTIFIED and decided_by.unrecorded)
        or rerouted
    )
    return Fate.REJECT if plan.settings.deny_action is DenyAction.REJECT and not silent else Fate.DROP


def _agree(plan: Plan, outcome: Outcome, packet: Packet) -> None:
    _agree_with(plan, outcome, explain(plan, packet))


def _agree_with(plan: Plan, outcome: Outcome, explanation: Explanation) -> None:
    assert outcome.fate is _expected_fate(plan, explanation), explanation
    assert list(outcome.prefixes) == _expected_prefixes(explanation)
    assert outcome.counters.count(LOG_RECORDS) == len(outcome.prefixes)
    assert [name for name in outcome.counters if name != LOG_RECORDS] == _expected_counters(explanation)
    assert all(decode(prefix) is not None for prefix in outcome.prefixes)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(900)
@settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(plan=plans(), seed=seeds)
def test_the_ruleset_does_what_explain_says(plan: Plan, seed: int) -> None:
    """Whatever the cost model prefers, each packet meets the same verdict, counters and logs."""
    _all_agree(plan, seed, PACKETS_A_PLAN)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(900)
@settings(
    max_examples=max(settings().max_examples // 4, 2),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(plan=tall_plans(), seed=seeds)
def test_many_tiers_in_a_row_do_what_explain_says(plan: Plan, seed: int) -> None:
    """Nine and more, with Pass, rejection, destination NAT and forwarding."""
    _all_agree(plan, seed, PACKETS_A_PLAN // 5)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.timeout(900)
@settings(
    max_examples=max(settings().max_examples // 2, 4),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(plan=bridged_plans(), seed=seeds)
def test_workloads_behind_bridges_meet_what_explain_says(plan: Plan, seed: int) -> None:
    """Between two ports of one bridge, between bridges, with the host, and with what is beyond it."""
    _agrees(plan, [explain(plan, packet) for packet in (*burst(seed, PACKETS_A_PLAN), *leases())])


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_long_mixtures_do_what_explain_says(seed: int) -> None:
    """Policies enough that no list is short, of every shape, some staged and some that log: more than one chunk."""
    random = Random(seed)
    weights = {name: random.randint(0, 5) + 1 for name in random.sample(sorted(SHAPES), 8)}
    family = (Family.V4, Family.V6)[seed % 2]
    plan = with_logs(plan_of(weights, 150, seed, family, tiers=1 + seed % 3), seed)

    _agrees(plan, [explain(plan, one) for one in (*packets(plan, 99, seed), *missing_packets(plan, 9))], LONG_LAYOUTS)


def _all_agree(plan: Plan, seed: int, packets: int) -> None:
    _agrees(plan, [explain(plan, packet) for packet in burst(seed, packets)])


def _agrees(plan: Plan, explained: list[Explanation], layouts: tuple[CostModel, ...] = LAYOUTS) -> None:
    for costs in layouts:
        ruleset = compile_plan(plan, costs)
        for number, explanation in enumerate(explained):
            mark = MARKS[number % len(MARKS)]
            outcome = simulate(ruleset, explanation.packet, mark)
            _agree_with(plan, outcome, explanation)
            assert outcome.mark == mark or not outcome.accepted
