"""Lists that are found by rank: what a packet pays is the kinds of keys, never the policies, and its mark stays."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from bench.inputs.mixtures import SHAPES, drawn_mixture, missing_packets, packets, plan_of, with_logs
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.layout.cuts.by_port import cut_by_port
from hostfw.compile.layout.ranking.ranks import MOST, chunks, draw, ranks
from hostfw.compile.layout.ranking.ways import Shape, runs
from hostfw.compile.layout.ranking.widths import cut, merged_shapes, shortened_shapes, written_out
from hostfw.compile.plan_programs import Programs
from hostfw.compile.program import ProgramRule
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import TableBuilder
from hostfw.explain.verdict import explain
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan, PlannedPolicy, PlannedRule
from hostfw.model.values import ICMP, TCP, Action, Direction, Family, Icmp, PortRange
from hostfw.nft.objects import ElementType, Ruleset
from hostfw.nft.rules import Accept, Below, Drop, Jump, Key, Rule, Vmap
from hostfw.nft.simulate import Effort, effort, simulate

MOST_LOOKUPS = 16
"""Those in front of the rules included: 1.2 us on a machine whose lookups take 75 ns."""
MOST_RULES = 48
SIZES = (40, 160)
WORST_SEEDS = (11, 173, 74, 129)
"""All of them have two tiers or three, with a Pass: what it sends on is found again in the next."""
_EVERY = dict.fromkeys(SHAPES, 1)


def _worst(ruleset: Ruleset, asked: list[Packet]) -> Effort:
    efforts = [effort(ruleset, packet) for packet in asked]
    return Effort(max(one.lookups for one in efforts), max(one.rules for one in efforts))


def _asked(plan: Plan, seed: int = 0) -> list[Packet]:
    return [*packets(plan, 20, seed), *missing_packets(plan, 2)]


def test_one_policy_of_another_shape_costs_next_to_nothing() -> None:
    """Fourteen nets that are denied among hundreds of ports that are allowed: a lookup more, and one to decide."""
    weights = {"port": 386, "deny net": 14}
    plan = plan_of(weights, 400)

    worst = _worst(compile_plan(plan), _asked(plan))

    assert worst.lookups <= 8, worst
    assert worst.rules <= MOST_RULES, worst


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_alone_is_flat(name: str) -> None:
    """Four times as many policies of a shape are no more lookups and no more compares, but for what rounds."""
    few, many = (_worst(compile_plan(plan), _asked(plan)) for plan in (plan_of({name: 1}, size) for size in SIZES))

    assert many.lookups <= MOST_LOOKUPS, (few, many)
    assert many.rules <= MOST_RULES, (few, many)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_every_mixture_is_flat_and_exact(seed: int) -> None:
    """Shapes and weights drawn at random, in both families: bounded work, and what `explain` says whatever the mark."""
    random = Random(seed)
    shapes = random.sample(sorted(SHAPES), random.randint(2, len(SHAPES)))
    weights = {name: random.randint(1, 20) for name in shapes}
    family = (Family.V4, Family.V6)[seed % 2]
    plan = plan_of(weights, 120, seed, family, tiers=1 + seed % 3)
    ruleset = compile_plan(plan)

    for packet in _asked(plan, seed):
        allowed = explain(plan, packet).allowed
        for mark in (0, 0xFFFFFFFF, 0x0001_0000):
            outcome = simulate(ruleset, packet, mark)
            assert outcome.accepted is allowed, (packet, hex(mark))
            assert outcome.mark == mark or not allowed
    worst = _worst(ruleset, _asked(plan, seed))
    assert worst.lookups <= MOST_LOOKUPS * (1 + seed % 3), worst
    assert worst.rules <= MOST_RULES * (1 + seed % 3), worst


def test_every_shape_at_once_is_flat() -> None:
    """The worst mixture that is known: all shapes in equal parts."""
    plan = plan_of(_EVERY, 250)

    worst = _worst(compile_plan(plan), _asked(plan))

    assert worst.lookups <= MOST_LOOKUPS, worst
    assert worst.rules <= MOST_RULES, worst


@pytest.mark.slow
@pytest.mark.parametrize("seed", WORST_SEEDS)
def test_the_worst_mixtures_of_the_sweep_stay_as_they_are(seed: int) -> None:
    """Of 200 mixtures of `bench.sweep`, those of the most lookups and of the most compares."""
    mixture = drawn_mixture(seed)
    plan = mixture.plan(300)

    worst = _worst(compile_plan(plan), _asked(plan, seed))

    assert worst.lookups <= 16, worst
    assert worst.rules <= 67, worst


def test_a_packet_without_the_common_part_of_several_maps_is_looked_up_in_none_of_them() -> None:
    """A port, or a run of them, of one of a hundred nets: whoever is of none of these nets pays for one lookup."""
    plan = plan_of({"few nets and few ports": 3, "net and wide range": 2, "port": 1}, 600)
    ruleset = compile_plan(plan)
    maps = [one for one in ruleset.tables[0].maps if isinstance(one.type, tuple)]
    assert len(maps) >= 2

    allowed = [packet for packet in packets(plan, 200) if simulate(ruleset, packet).accepted]
    (nowhere,) = {packet.source for packet in missing_packets(plan, 1)}
    inside = [effort(ruleset, packet).lookups for packet in allowed if packet.source != nowhere]
    elsewhere = [effort(ruleset, packet).lookups for packet in allowed if packet.source == nowhere]

    assert max(elsewhere) <= max(inside) - len(maps) + 1, (elsewhere, inside)


def test_a_rule_of_the_last_lookup_is_gone_to_without_another() -> None:
    """Prefixes of two lengths, some without a longer one: the lookup that finds the rule is the last."""
    plan = plan_of({"but a net": 1}, 300)
    ruleset = compile_plan(plan)

    allowed = [packet for packet in packets(plan, 100) if simulate(ruleset, packet).accepted]

    assert {effort(ruleset, packet).lookups for packet in allowed} == {1}


def test_what_is_compared_inline_is_compared_before_ranks() -> None:
    """A port or an IPv4 prefix costs 3 to 5 ns, a rank 20, a range of ports as much."""
    ruleset = compile_plan(plan_of({"named port": 1, "net and wide range": 1}, 300))
    tests = [
        [match.key for match in rule.matches]
        for chain in ruleset.tables[0].chains
        if "/found." in chain.name
        for rule in chain.rules
        if any(isinstance(match.value, Below) for match in rule.matches)
    ]

    assert [Key.DADDR, Key.DPORT, Key.SCRATCH] in tests
    assert not any(Key.DADDR in keys[keys.index(Key.SCRATCH) :] for keys in tests)


def test_all_but_a_port_is_no_way_to_a_rule_that_has_another() -> None:
    """Each port but one would be sixty keys of a rule, and all of them would lead to every rule."""
    ruleset = compile_plan(plan_of({"but a net": 1}, 400))

    assert sum(len(one.elements) for one in ruleset.tables[0].maps) <= 2 * 400


def test_a_cut_that_is_not_worth_its_copies_is_not_made() -> None:
    """Each of four hundred ports with each of four hundred nets would be a copy: they are counted, not written."""
    plan = plan_of({"port": 1, "net": 1}, 800)
    segments = (tuple(_program_rules(plan)),)

    assert cut_by_port(segments, TCP.number, 8) is None
    assert cut_by_port(segments, TCP.number, 1000) is not None


def _program_rules(plan: Plan) -> Iterator[ProgramRule]:
    programs = Programs(plan.settings, reject=False, cache=CompileCache())
    for segment in programs.local(plan.endpoints[0].ingress, Direction.INGRESS).segments:
        yield from segment


@pytest.mark.parametrize("weights", [{"deny net": 1, "port": 2}, {"deny net": 1, "port": 2, "pass": 1}])
def test_a_tier_of_more_rules_than_ranks_is_what_explain_says(
    weights: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found in parts, or where a Pass leaves it, tried in order; compiling it does not fail."""
    for module in ("ranked", "ranks"):
        monkeypatch.setattr(f"hostfw.compile.layout.ranking.{module}.MOST", 150)
    plan = plan_of(weights, 400, tiers=1)

    ruleset = compile_plan(plan)

    assert ("pass" in weights) or any("/ranks" in one.name for one in ruleset.tables[0].maps)
    for packet in [*packets(plan, 100), *missing_packets(plan, 5)]:
        for mark in (0, 0x0001_0000):
            assert simulate(ruleset, packet, mark).accepted is explain(plan, packet).allowed, (packet, hex(mark))


def test_a_memory_knows_the_cell_of_a_part_of_staged_policies() -> None:
    """Where ICMP has no cell of its own any more, staged policies that ask for other ICMP types test for them."""
    after = _any_protocol(plan_of({"pair": 1}, 120))
    (tier,) = after.endpoints[0].ingress.tiers
    staged = tuple(_staged(policy) for policy in tier.policies)
    rule = replace(tier.policies[0].rules[0], protocol=ICMP, icmp=Icmp(13, None))
    pings = replace(tier.policies[0], name="pings", rules=(rule,))
    after = _with_policies(after, (*staged, *tier.policies))
    before = _with_policies(after, (*staged, *tier.policies, pings))
    costs, cache = CostModel(copies=0), CompileCache()

    compile_plan(before, costs, cache)
    remembered, anew = compile_plan(after, costs, cache), compile_plan(after, costs)

    assert any("/ranks" in one.name for one in anew.tables[0].maps)
    assert remembered == anew
    ping = replace(_asked(after)[0], protocol=ICMP.number, source_port=None, destination_port=None, icmp_type=8)
    marked = simulate(remembered, replace(ping, icmp_code=0), 0x0001_0000)
    assert marked.counters == simulate(remembered, replace(ping, icmp_code=0)).counters


def _any_protocol(plan: Plan) -> Plan:
    (tier,) = plan.endpoints[0].ingress.tiers
    return _with_policies(
        plan, tuple(replace(p, rules=tuple(replace(r, protocol=None) for r in p.rules)) for p in tier.policies)
    )


def _with_policies(plan: Plan, policies: tuple[PlannedPolicy, ...]) -> Plan:
    (endpoint,) = plan.endpoints
    (tier,) = endpoint.ingress.tiers
    ingress = replace(endpoint.ingress, tiers=(replace(tier, policies=policies),))
    return replace(plan, endpoints=(replace(endpoint, ingress=ingress),))


def _staged(policy: PlannedPolicy) -> PlannedPolicy:
    """A staged policy that asks for any packet but a ping."""
    (rule,) = policy.rules
    kind, name = "StagedGlobalNetworkPolicy", f"staged-{policy.name}"
    identity = replace(rule.identity, kind=kind, policy=name)
    asked = PlannedRule(identity, Action.DENY, rule.families, not_icmp=Icmp(8, None))
    return replace(policy, kind=kind, name=name, rules=(asked,), staged=True)


def test_what_logs_in_front_of_all_others_logs_before_anything_is_noted() -> None:
    """So its record has the mark that the packet came with; what logs behind a rule that decides comes after them."""
    plan = plan_of({"port": 1, "deny net": 1}, 200)
    (tier,) = plan.endpoints[0].ingress.tiers
    logs = [_logging(tier.policies[number]) for number in (0, 1, 100)]
    policies = (*logs[:2], *tier.policies[2:100], logs[2], *tier.policies[101:])

    compiled = compile_plan(_with_policies(plan, policies))

    rules = next(one.rules for one in compiled.tables[0].chains if any(_is_by_rank(rule) for rule in one.rules))
    before = [_leads_to_log(rule) for rule in rules]
    lookups = [place for place, rule in enumerate(rules) if rule.statements and isinstance(rule.statements[0], Vmap)]
    assert [place for place, logged in enumerate(before) if logged] == [1, 2, lookups[-1] - 1]
    assert lookups[0] == 3
    assert not any(isinstance(match.value, Below) for rule in rules[1:3] for match in rule.matches)


def test_what_logs_behind_the_rule_that_decides_costs_a_packet_next_to_nothing() -> None:
    """A third of six hundred policies log or are staged; the first of all is met by all, and so are few others."""
    plan = with_logs(plan_of({"port": 1, "net and port": 1}, 600), 1)
    ruleset = compile_plan(plan)
    (tier,) = plan.endpoints[0].ingress.tiers
    deciding = [p for p in tier.policies if not p.staged and p.rules[0].action is not Action.LOG]

    early, late = (
        max(effort(ruleset, packet).rules for packet in packets(_with_policies(plan, (policy,)), 5))
        for policy in (deciding[0], deciding[-1])
    )

    assert early < 64, early
    assert late > 150


def _logging(policy: PlannedPolicy) -> PlannedPolicy:
    return replace(policy, rules=(replace(policy.rules[0], action=Action.LOG),))


def _is_by_rank(rule: Rule) -> bool:
    return any(isinstance(one, Vmap) and one.key is Key.SCRATCH for one in rule.statements)


def _leads_to_log(rule: Rule) -> bool:
    return any(isinstance(one, Jump) and one.chain.startswith("log") for one in rule.statements)


def _ranks(names: list[str]) -> list[int]:
    return ranks([draw(name) for name in names])


def test_ranks_fall_and_are_nobody_elses() -> None:
    """From the first rule to the last, in one list of as many rules as there can be."""
    names = [f"rule {number}" for number in range(20_000)]
    for found in (_ranks(names), _ranks(["same"] * 20_000), _ranks([f"{n}" for n in range(MOST)])):
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == len(found)
        assert MOST >= found[0] >= found[-1] > 0
    with pytest.raises(ValueError, match="65536 rules"):
        _ranks(["one"] * (MOST + 1))


@pytest.mark.parametrize("name", ["rule {}", "gnp/default/p{:05}/in/5f0a1c"])
def test_a_new_rule_moves_few_ranks(name: str) -> None:
    """Those of its run; seldom those of its series, and of 10,000 rules more seldom all behind it."""
    names = [name.format(number) for number in range(10_000)]
    before = dict(zip(names, _ranks(names), strict=True))
    moved = []
    for place in range(0, 10_000, 100):
        now = [*names[:place], name.format(20_000 + place), *names[place:]]
        moved.append(sum(before.get(name, rank) != rank for name, rank in zip(now, _ranks(now), strict=True)))

    assert sorted(moved)[50] <= 8
    assert sorted(moved)[90] <= 120
    assert sum(moved) / len(moved) < 120
    assert [place for part in chunks([draw(name) for name in names]) for place in part] == list(range(10_000))


@pytest.mark.parametrize(
    "ports", [(0, 65535), (1, 65534), (1024, 65535), (80, 80), (80, 95), (4095, 4113), (7, 60_000)]
)
def test_runs_are_the_range(ports: tuple[int, int]) -> None:
    """Every port of the range once, and no other."""
    found = sorted(port for bits, first in runs(PortRange(*ports)) for port in range(first, first + (1 << 16 - bits)))

    assert found == list(range(ports[0], ports[1] + 1))


def test_keys_stand_under_a_shorter_prefix_where_few_do() -> None:
    """The /48 go to the /32 and the /64 stay, since two of them would stand under one key; other parts are apart."""
    net32, net48, net64 = (((Key.SADDR, bits),) for bits in (32, 48, 64))
    pair: Shape = ((Key.SADDR, 48), (Key.DPORT, 16))
    first, second = 0x2001_0DB8 << 96, 0x2001_0DB9 << 96
    crowds: dict[Shape, dict[tuple[int, ...], int]] = {
        net32: {(first,): 1},
        net48: {(first | 1 << 80,): 1, (second,): 2},
        net64: {(first | 1 << 64,): 1, (second | 1 << 64,): 1, (second | 2 << 64,): 1},
        pair: {(first, 443): 1},
    }

    def width(key: Key) -> int:
        return 16 if key is Key.DPORT else 128

    assert shortened_shapes(crowds, lambda *_: 2, width) == {net32: net32, net48: net32, net64: net64, pair: pair}
    assert shortened_shapes(crowds, lambda *_: 4, width) == {net32: net32, net48: net32, net64: net32, pair: pair}
    assert shortened_shapes(crowds, lambda *_: 1, width) == {shape: shape for shape in crowds}
    assert cut((pair, (first | 1 << 80, 443)), ((Key.SADDR, 32), (Key.DPORT, 12)), width) == (first, 432)


def test_prefixes_of_many_lengths_are_few_lookups() -> None:
    """The IPv6 mixture that costs most of 200: nets of any length, and ranges of ports of them; it was 14 lookups."""
    plan = drawn_mixture(20).plan(600)
    ruleset = compile_plan(plan)
    asked = _asked(plan, 20)

    assert _worst(ruleset, asked).lookups <= 12
    assert sum(effort(ruleset, packet).lookups for packet in packets(plan, 40, 20)) <= 8.5 * 40
    for packet in asked:
        assert simulate(ruleset, packet, 0).accepted is explain(plan, packet).allowed, packet


def test_keys_with_the_same_rules_behind_them_share_a_chain() -> None:
    """The 99 nets of a set are one chain, and so are the runs of a range, whatever stands beside them in the maps."""
    plan = plan_of({"set": 2, "any length": 1, "port": 1, "wide range": 1}, 400)

    (table,) = (table for table in compile_plan(plan).tables if table.family is Family.V4)
    found = [chain for chain in table.chains if chain.name.startswith("in/tcp/found")]
    elements = sum(len(contents.elements) for contents in table.maps if contents.name.startswith("in/tcp/by-"))

    assert elements > 10_000
    assert len(found) < 3 * 400, len(found)
    assert sum(len(chain.rules) for chain in found) < 5 * 400


def test_a_packet_under_a_long_prefix_is_not_looked_up_by_the_shorter_ones() -> None:
    """Of nets of many lengths, one within the other, whose first rule decides whichever of them it has."""
    plan = plan_of({"any length": 2, "deny net": 1, "but a net": 1}, 400, 7, Family.V6)
    ruleset = compile_plan(plan)
    asked = packets(plan, 150, 7)
    (table,) = (table for table in ruleset.tables if table.family is Family.V6)
    (group,) = (chain for chain in table.chains if chain.name.startswith("in/tcp/by-saddr."))
    lengths = [one.length or 0 for rule in group.rules for one in rule.statements if isinstance(one, Vmap)]

    for packet in asked:
        assert simulate(ruleset, packet, 0).accepted is explain(plan, packet).allowed, packet
    lookups = sorted(effort(ruleset, packet).lookups for packet in asked)

    assert len(lengths) > 1
    assert lengths == sorted(lengths, reverse=True)
    assert lookups[len(asked) // 2] == lookups[-1] - len(lengths) + 1


def test_a_map_of_the_same_size_and_ends_is_another_map_where_a_verdict_differs() -> None:
    """A map is compared whole with the one of the last time, which saves its digest."""
    builder = TableBuilder(Family.V4, CostModel())
    one, other = Accept(), Drop()

    first = builder.verdict_map("of", ElementType.PORT, ((1, one), (2, one), (3, one)))
    second = builder.verdict_map("of", ElementType.PORT, ((1, one), (2, other), (3, one)))

    assert first != second
    assert builder.verdict_map("of", ElementType.PORT, ((1, one), (2, one), (3, one))) == first
    assert builder.maps[second].elements[1] == (2, other)


@pytest.mark.slow
def test_keys_are_written_out_within_a_budget_of_the_whole_list() -> None:
    """Ten times the policies had twenty times the elements."""
    few, many = (
        sum(len(contents.elements) for table in compile_plan(plan).tables for contents in table.maps)
        for plan in (drawn_mixture(0).plan(size) for size in (600, 6000))
    )

    assert many < 12 * few, (few, many)


def test_keys_of_a_shorter_prefix_are_written_out() -> None:
    """A /23 is two /24; a map that nothing is longer than stays, and so do others where there is no room."""
    net23: Shape
    net24: Shape
    port: Shape
    net23, net24, port = ((Key.SADDR, 23),), ((Key.SADDR, 24),), ((Key.DPORT, 16),)
    counts: dict[Shape, int] = {net23: 10, net24: 5, port: 100}

    assert merged_shapes(counts, 3, 1000) == {shape: shape for shape in counts}
    assert merged_shapes(counts, 1, 1000) == {net23: net24, net24: net24, port: port}
    assert merged_shapes(counts, 1, 9) == {shape: shape for shape in counts}
    assert list(written_out((net23, (0x0A000000,)), net24, lambda _: 32)) == [(0x0A000000,), (0x0A000100,)]
