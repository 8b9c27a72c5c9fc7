"""Many tiers in a row: what they compile to, and how deep chains lead into one another."""

from time import process_time

import pytest

from hostfw.compile.layout.cuts.by_port import cut_by_port
from hostfw.compile.program import Allow, Condition, ProgramRule
from hostfw.compile.ruleset import compile_plan
from hostfw.model.plan import (
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
from hostfw.model.settings import DenyAction, Settings
from hostfw.model.values import FAMILIES, TCP, Action, Direction, PortRange
from hostfw.nft.objects import Ruleset, Table
from hostfw.nft.rules import Goto, Jump, Rule, Vmap
from tests.unit.builders.policy_builders import net
from tests.unit.timing import calls_of

DEEPEST = 16
"""NFT_JUMP_STACK_SIZE: the kernel takes no path through more chains (nf_tables.h)."""


def tiers(count: int, direction: Direction, default: Action) -> tuple[PlannedTier, ...]:
    """Each with a policy that passes what comes from one network, and allows a port."""
    return tuple(
        PlannedTier(
            f"t{number:03}",
            default,
            (
                PlannedPolicy(
                    "GlobalNetworkPolicy",
                    "p",
                    f"t{number:03}",
                    None,
                    (
                        _rule(number, 0, direction, Action.PASS, source=PlannedSide(nets=(net("10.0.0.0/8"),))),
                        _rule(
                            number,
                            1,
                            direction,
                            Action.ALLOW,
                            protocol=TCP,
                            destination=PlannedSide(ports=(PortRange(number + 1, number + 1),)),
                        ),
                    ),
                ),
            ),
        )
        for number in range(count)
    )


def _rule(number: int, index: int, direction: Direction, action: Action, **criteria: object) -> PlannedRule:
    identity = RuleIdentity(
        "GlobalNetworkPolicy", f"t{number:03}", "p", direction, f"{number:08x}{index:04x}", 0, index
    )
    return PlannedRule(identity, action, FAMILIES, **criteria)  # type: ignore[arg-type]


def plan_of(count: int, default: Action = Action.PASS, deny_action: DenyAction = DenyAction.DROP) -> Plan:
    """An endpoint with so many tiers in each direction, for local and for forwarded traffic."""
    ingress, egress = (
        PlannedDirection(tiers(count, direction, default), (), tiers(count, direction, default))
        for direction in (Direction.INGRESS, Direction.EGRESS)
    )
    endpoint = PlannedEndpoint("eth0", ingress, egress)
    return Plan("host", Settings(deny_action=deny_action), (endpoint,), (Binding("eth0", "eth0", "named"),))


def depth(table: Table) -> int:
    """The number of chains on the longest path from a base chain."""
    rules = {chain.name: chain.rules for chain in table.chains}
    maps = {one.name: one for one in table.maps}
    known: dict[str, int] = {}

    def of_chain(name: str) -> int:
        if name not in known:
            known[name] = 1 + of_rules(rules[name])
        return known[name]

    def of_rules(some: tuple[Rule, ...]) -> int:
        deepest = 0
        for rule in some:
            for statement in rule.statements:
                match statement:
                    case Jump(chain) | Goto(chain):
                        deepest = max(deepest, of_chain(chain))
                    case Vmap(map=name):
                        targets = [v.chain for _, v in maps[name].elements if isinstance(v, Jump | Goto)]
                        deepest = max((deepest, *map(of_chain, targets)))
                    case _:
                        pass
        return deepest

    return max(1 + of_rules(base.rules) for base in table.base_chains)


@pytest.mark.parametrize("default", [Action.PASS, Action.DENY])
@pytest.mark.parametrize("deny_action", DenyAction)
def test_tiers_lead_no_deeper_however_many_they_are(default: Action, deny_action: DenyAction) -> None:
    """A tier that passes something on comes back to a list of jumps, in forwarding too."""
    few, many = (compile_plan(plan_of(count, default, deny_action)) for count in (60, 120))

    assert [depth(table) for table in many.tables] == [depth(table) for table in few.tables]
    assert all(depth(table) < DEEPEST for table in many.tables)


def test_what_tiers_compile_to_grows_with_their_number() -> None:
    """With `defaultAction: Pass` it doubled with every tier."""
    few, many = (_chains(compile_plan(plan_of(count))) for count in (60, 120))

    assert many < 2.2 * few


def test_five_hundred_tiers_compile_in_a_second() -> None:
    """Of a processor, with room for one that is slow."""
    plan = plan_of(500)
    before = process_time()

    compile_plan(plan)

    assert process_time() - before < 5


def _chains(ruleset: Ruleset) -> int:
    return sum(len(table.chains) for table in ruleset.tables)


def policy_of_one_port(number: int, direction: Direction, *, passes: bool, kind: str) -> PlannedPolicy:
    """A policy or profile that allows a port of its own, and if it passes, first sends a network on."""
    tier = "" if kind == "Profile" else f"t{number:03}"
    on = _rule(number, 0, direction, Action.PASS, source=PlannedSide(nets=(net("10.0.0.0/8"),)))
    port = PlannedSide(ports=(PortRange(number + 1, number + 1),))
    allow = _rule(number, 1, direction, Action.ALLOW, protocol=TCP, destination=port)
    return PlannedPolicy(kind, f"p{number}", tier, None, (on, allow) if passes else (allow,))


def plan_of_one_port_each(count: int, shape: str) -> Plan:
    """Endpoints with so many tiers of one policy, or so many profiles, in the shape of that name."""
    kind = "Profile" if shape == "profiles" else "GlobalNetworkPolicy"
    passes = "conditional" in shape
    default = Action.DENY if "deny" in shape else Action.PASS

    def of(direction: Direction) -> PlannedDirection:
        policies = tuple(policy_of_one_port(n, direction, passes=passes, kind=kind) for n in range(count))
        if kind == "Profile":
            return PlannedDirection((), policies)
        tiers = tuple(PlannedTier(f"t{n:03}", default, (policy,)) for n, policy in enumerate(policies))
        forward = tiers if "forward" in shape else ()
        before = tiers if "pre-dnat" in shape and direction is Direction.INGRESS else ()
        return PlannedDirection(tiers, (), forward, pre_dnat_tiers=before)

    ingress, egress = map(of, Direction)
    names = [f"eth{number}" for number in range(3 if "endpoints" in shape else 1)]
    endpoints = tuple(PlannedEndpoint(name, ingress, egress) for name in names)
    settings = Settings(deny_action=DenyAction.REJECT if "reject" in shape else DenyAction.DROP)
    return Plan("host", settings, endpoints, tuple(Binding(name, name, "named") for name in names))


def work(plan: Plan) -> int:
    """The number of calls that Python makes to compile a plan."""
    return calls_of(lambda: compile_plan(plan))


@pytest.mark.parametrize(
    "shape",
    [
        "pass",
        "conditional deny",
        "conditional deny reject",
        "pass forward",
        "pass pre-dnat",
        "pass endpoints",
        "profiles",
    ],
)
def test_the_work_of_compiling_tiers_and_profiles_grows_with_their_number(shape: str) -> None:
    """Each leaf of a dispatch looked at every tier, those without a rule for it too: 10,000 took over two minutes."""
    few, many = (work(plan_of_one_port_each(count, shape)) for count in (80, 320))

    assert many < 5 * few


def test_an_empty_segment_takes_no_place_in_a_leaf() -> None:
    """Work that no call counts: the lists of a leaf are of the tiers that have a rule there."""
    cut = cut_by_port(tuple((_allow(number),) for number in range(50)), TCP.number, copies=8)

    assert cut is not None
    assert {len(segments) for _, segments in cut.leaves} == {0, 1}


def _allow(number: int) -> ProgramRule:
    port = PlannedSide(ports=(PortRange(number + 1, number + 1),))
    return ProgramRule(Condition(protocol=TCP, destination=port), Allow(f"c{number}"))
