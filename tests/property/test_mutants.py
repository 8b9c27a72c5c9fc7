"""The test of the test: a compiler that is a little wrong is caught by the agreement with `explain`.

Each mutant is one mistake that somebody could make. None that survives is tolerated, for such a mistake nobody would
see.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bench.inputs.mixtures import packets, plan_of, with_logs
from hostfw.compile import (
    before_translation,
    behind_bridges,
    dispatch,
    exempt_conditions,
    neighbours,
    plan_programs,
    program,
    ruleset,
)
from hostfw.compile import table_builder as builder
from hostfw.compile.behind_bridges import BehindBridges, Places, ProgramOf, places_of
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.cuts import by_address as addresses
from hostfw.compile.layout.cuts import by_port as ports
from hostfw.compile.layout.cuts import cut as layout
from hostfw.compile.layout.cuts.cells import port_runs
from hostfw.compile.layout.nft_rules import matches
from hostfw.compile.layout.parts import Place, by_prefix, in_parts
from hostfw.compile.layout.ranking import key_maps, lookups, map_parts, ranked, ways, widths
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import TableBuilder
from hostfw.compile.targets import Targets
from hostfw.model.host.guests import Workload
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan, PlannedEndpoint
from hostfw.model.values import FAMILIES, Direction, Family, PortRange
from hostfw.nft.objects import Table
from hostfw.nft.rules import Accept, Below, Key, Match, Note, Return, Rule
from hostfw.nft.simulate import simulate
from tests.property.agreement.test_agreement import LAYOUTS, MARKS, _agree
from tests.property.generators.plans import BRIDGES, bridged_plans, burst, leases, plans, seeds

pytestmark = pytest.mark.slow

PLANS = 100
PACKETS_A_PLAN = 200
"""Packets to catch a mutant; the first few plans catch nearly all of them."""

CROWDED = {"nets and one port": 3, "net and wide range": 3, "but a net": 3, "pair": 1}
"""Shapes of which many stand behind one key, each with more to be tested."""

NESTED = {**CROWDED, "any length": 3}
"""Shapes of which some stand under a long prefix and others under a shorter one of it."""

GATED = {"net and wide range": 2, "port": 1}
"""Shapes that are looked up in several maps by what they have in common."""

Mutate = Callable[[pytest.MonkeyPatch], None]


def _drawn(of: st.SearchStrategy[Plan], count: int) -> list[tuple[Plan, list[Packet]]]:
    """So many plans, each with packets, the same in every run; the richest plans first."""
    found: list[tuple[Plan, list[Packet]]] = []

    @settings(
        max_examples=count,
        phases=(Phase.generate,),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(plan=of, seed=seeds)
    def draw(plan: Plan, seed: int) -> None:
        found.append((plan, burst(seed, PACKETS_A_PLAN)))

    draw()
    return sorted(found, key=lambda pair: _size(pair[0]), reverse=True)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Plan, list[Packet]]]:
    """Plans and packets as the agreement is tested with."""
    by_shape = (with_logs(plan_of(CROWDED, 40, tiers=2)), plan_of(NESTED, 60), plan_of(GATED, 60))
    of_shapes = [(plan, packets(plan, 100)) for plan in by_shape]
    return [*of_shapes, *_drawn(plans(), PLANS)]


@pytest.fixture(scope="module")
def drawn_with_bridges() -> list[tuple[Plan, list[Packet]]]:
    """Those of hosts with workloads behind bridges."""
    return [(plan, [*sent, *leases()]) for plan, sent in _drawn(bridged_plans(), PLANS // 4)]


def _size(plan: Plan) -> int:
    """The number of policy rules of a plan."""
    ways = [way for endpoint in plan.endpoints for way in (endpoint.ingress, endpoint.egress)]
    tiers = [t for w in ways for t in (*w.tiers, *w.forward_tiers, *w.untracked_tiers, *w.pre_dnat_tiers)]
    return sum(len(policy.rules) for tier in tiers for policy in tier.policies)


def _no_end_of_tier(patch: pytest.MonkeyPatch) -> None:
    right = plan_programs.Programs._tiers
    patch.setattr(
        plan_programs.Programs, "_tiers", lambda self, tiers, direction, **_: right(self, tiers, direction, ends=False)
    )


def _changed_rules(patch: pytest.MonkeyPatch, change: Callable[[Rule], Rule]) -> None:
    """Have every rule of the finished tables changed."""
    right = TableBuilder.table

    def changed(self: TableBuilder) -> Table:
        table = right(self)
        chains = tuple(replace(chain, rules=tuple(map(change, chain.rules))) for chain in table.chains)
        bases = tuple(replace(base, rules=tuple(map(change, base.rules))) for base in table.base_chains)
        return replace(table, chains=chains, base_chains=bases)

    patch.setattr(TableBuilder, "table", changed)


def _swallowed(patch: pytest.MonkeyPatch, *keys: Key) -> None:
    def without(rule: Rule) -> Rule:
        return replace(rule, matches=tuple(m for m in rule.matches if not (m.negated and m.key in keys)))

    _changed_rules(patch, without)


def _lost_pass(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        return replace(rule, statements=tuple(s for s in rule.statements if s != Return()))

    _changed_rules(patch, without)


def _early_run(patch: pytest.MonkeyPatch) -> None:
    def shifted(conditions: Iterable[program.Condition], protocol: int) -> tuple[PortRange, ...]:
        runs = port_runs(conditions, protocol)
        return tuple(PortRange(max(r.first - 1, 0), r.last - (r.last < 65535)) for r in runs)

    patch.setattr(ports, "port_runs", shifted)


def _swallowed_not_nets(patch: pytest.MonkeyPatch) -> None:
    _swallowed(patch, Key.SADDR, Key.DADDR)


def _swallowed_not_ports(patch: pytest.MonkeyPatch) -> None:
    _swallowed(patch, Key.SPORT)


def _swallowed_not_protocol(patch: pytest.MonkeyPatch) -> None:
    _swallowed(patch, Key.PROTOCOL)


def _each_of_icmp_negated(patch: pytest.MonkeyPatch) -> None:
    right = matches._other_icmp
    patch.setattr(matches, "_other_icmp", lambda icmp, *given, **how: right(icmp._replace(code=None), *given, **how))


def _any_family(patch: pytest.MonkeyPatch) -> None:
    right = plan_programs._condition
    patch.setattr(plan_programs, "_condition", lambda rule: replace(right(rule), families=FAMILIES))


def _sides_swapped(patch: pytest.MonkeyPatch) -> None:
    source, destination = matches._SOURCE, matches._DESTINATION
    patch.setattr(matches, "_SOURCE", destination)
    patch.setattr(matches, "_DESTINATION", source)


def _shortest_prefix_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "sorted", lambda things, **_: sorted(things), raising=False)


def _order_lost_within_a_prefix(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(addresses, "_in_order", lambda one, other: [*one, *other])


def _no_egress_of_forwarding(patch: pytest.MonkeyPatch) -> None:
    right = dispatch.Dispatch.forward
    patch.setattr(
        dispatch.Dispatch,
        "forward",
        lambda self, direction: right(self, direction) if direction == "ingress" else [],
    )


def _allowed_before_and_asked_again(patch: pytest.MonkeyPatch) -> None:
    right = ruleset._prerouting

    def forgotten(*given: object) -> list[Rule]:
        right(*given)  # type: ignore[arg-type]
        return []

    patch.setattr(ruleset, "_prerouting", forgotten)


def _policed_on_the_first_route(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ruleset, "_polices_output", lambda _plan: False)


def _failsafe_of_any_net(patch: pytest.MonkeyPatch) -> None:
    right = exempt_conditions.failsafe_condition
    patch.setattr(plan_programs, "failsafe_condition", lambda port, way: right(replace(port, net=None), way))


def _no_failsafe(patch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Iterator[program.ProgramRule]:
        return iter(())

    patch.setattr(plan_programs.Programs, "_failsafes", none)


def _log_for_each_alternative(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(matches.Tests, "count", property(lambda _tests: 1))


def _far_neighbours(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(neighbours, "HOP_LIMIT_OF_A_NEIGHBOUR", 64)


def _loopback_always_open(patch: pytest.MonkeyPatch) -> None:
    right = dispatch.Dispatch._loopback

    def always(self: dispatch.Dispatch, direction: Direction) -> Iterator[Rule]:
        unbound = dispatch.Dispatch(replace(self._plan, bindings=()), self._builder, CompileCache(), reject=False)
        return right(unbound, direction)

    patch.setattr(dispatch.Dispatch, "_loopback", always)


def _enforced_staging(patch: pytest.MonkeyPatch) -> None:
    right = plan_programs.Programs._policy
    patch.setattr(
        plan_programs.Programs,
        "_policy",
        lambda self, policy, direction: right(self, replace(policy, staged=False), direction),
    )


def _published_past_policy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatch.Dispatch, "published", lambda _: [])


def _published_by_the_translated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(before_translation.BeforeTranslation, "rules", lambda _, rules: rules)


def _published_of_others(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        return replace(rule, matches=tuple(m for m in rule.matches if m != Match(Key.DADDR_TYPE, "local")))

    _changed_rules(patch, without)


def _published_and_done(patch: pytest.MonkeyPatch) -> None:
    right = dispatch.Dispatch.forward
    patch.setattr(
        dispatch.Dispatch,
        "forward",
        lambda self, direction: [
            *([Rule((Match(Key.CT_STATUS, "dnat"),), (Accept(),))] if right(self, direction) else []),
            *right(self, direction),
        ],
    )


def _tail_taken_for_granted(patch: pytest.MonkeyPatch) -> None:
    def cut(rules: Sequence[Rule], tail: Sequence[Rule], _: object) -> Sequence[Rule] | None:
        return rules[: -len(tail)] if 0 < len(tail) < len(rules) else None

    patch.setattr(builder, "own_rules", cut)


def _ranks_that_rise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ranked, "ranks", lambda names: list(range(1, len(names) + 1)))


def _last_rank_wins(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        noted = any(isinstance(statement, Note) for statement in rule.statements)
        return replace(rule, matches=tuple(m for m in rule.matches if not (noted and isinstance(m.value, Below))))

    _changed_rules(patch, without)


def _logs_behind_the_decision(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        noted = any(isinstance(statement, Note) for statement in rule.statements)
        return replace(rule, matches=tuple(m for m in rule.matches if noted or not isinstance(m.value, Below)))

    _changed_rules(patch, without)


def _bits_of_others_taken(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        taken = Match(Key.SCRATCH, 0, negated=True)
        return replace(rule, matches=(*rule.matches, Match(Key.SCRATCH, 0))) if taken in rule.matches else rule

    _changed_rules(patch, without)


def _mark_left_behind(patch: pytest.MonkeyPatch) -> None:
    def without(rule: Rule) -> Rule:
        return replace(rule, statements=tuple(s for s in rule.statements if s != Note(0)))

    _changed_rules(patch, without)


def _first_rule_of_a_key_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ways.Placement, "holds", property(lambda _: True))


def _rest_not_tested(patch: pytest.MonkeyPatch) -> None:
    right = ways.Variant._way

    def careless(self: ways.Variant, by: tuple[ways.Aspect, ...], of: TableBuilder) -> ways.Placement | None:
        way = right(self, by, of)
        return None if way is None else ways.Placement(way.keys, ((),))

    patch.setattr(ways.Variant, "_way", careless)


def _first_of_what_is_written_out(patch: pytest.MonkeyPatch) -> None:
    right = widths.written_out
    patch.setattr(key_maps, "written_out", lambda *given: list(right(*given))[:1])


def _short_keys_not_tested(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lookups.Lookups, "_rest", lambda *_: iter(()))


def _one_gate_closed(patch: pytest.MonkeyPatch) -> None:
    right = lookups._values
    patch.setattr(lookups, "_values", lambda *given: set(sorted(right(*given))[1:]))


def _what_covers_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lookups, "_end_of", lambda rank, _, ends: ends.get(rank))


def _runs_one_port_short(patch: pytest.MonkeyPatch) -> None:
    right = ways.runs
    patch.setattr(ways, "runs", lambda one: right(PortRange(one.first, max(one.first, one.last - 1))))


def _pass_allows(patch: pytest.MonkeyPatch) -> None:
    def changed(rule: Rule) -> Rule:
        passes = Note(0) in rule.statements and rule.statements[-1] == Return()
        return replace(rule, statements=(*rule.statements[:-1], Accept())) if passes else rule

    _changed_rules(patch, changed)


def _parts_end(patch: pytest.MonkeyPatch) -> None:
    def told(
        key: Key,
        names: Sequence[str],
        most: int,
        rules_of: Callable[[tuple[str, ...]], Iterable[Rule]],
        rest: Sequence[Rule],
        chain: Callable[[str, Iterable[Rule]], str],
    ) -> list[Rule]:
        def cut(of: str, rules: Iterable[Rule]) -> str:
            return chain(of, tuple(rules)[: 1 if of == "part" else None])

        return in_parts(key, names, most, rules_of, rest, cut)

    patch.setattr(dispatch, "in_parts", told)


def _parts_of_maps_mixed_up(patch: pytest.MonkeyPatch) -> None:
    right = map_parts._parts

    def told(of: map_parts.Elements, place: int, mask: int) -> Iterable[object]:
        parts = right(of, place, mask)
        return [(key, those) for (key, _), (_, those) in zip(parts, [*parts[1:], parts[0]], strict=True)]

    patch.setattr(map_parts, "_parts", told)


MUTANTS: tuple[tuple[str, Mutate], ...] = (
    ("the end of a tier denies nothing", _no_end_of_tier),
    ("a Pass only counts", _lost_pass),
    ("runs of ports begin one port early", _early_run),
    ("negated nets and selectors are swallowed", _swallowed_not_nets),
    ("negated source ports are swallowed", _swallowed_not_ports),
    ("negated protocols are swallowed", _swallowed_not_protocol),
    ("the code of a negated ICMP type is swallowed", _each_of_icmp_negated),
    ("rules exist in both families", _any_family),
    ("source and destination are swapped", _sides_swapped),
    ("the shortest prefix is looked up first", _shortest_prefix_first),
    ("rules of a wider prefix come before all of a narrower one", _order_lost_within_a_prefix),
    ("forwarding skips the egress of the way out", _no_egress_of_forwarding),
    ("what was allowed before the filters is asked again", _allowed_before_and_asked_again),
    ("what is translated is policed on its first route", _policed_on_the_first_route),
    ("the net of a failsafe is ignored", _failsafe_of_any_net),
    ("there are no failsafes", _no_failsafe),
    ("a Log logs once for every way to match", _log_for_each_alternative),
    ("routed neighbour discovery is let in", _far_neighbours),
    ("lo is open though an endpoint is bound to it", _loopback_always_open),
    ("staged policies are enforced", _enforced_staging),
    ("published ports go past policy", _published_past_policy),
    ("published ports are judged by where they lead", _published_by_the_translated),
    ("what is sent to others and translated counts as published", _published_of_others),
    ("what ingress policy allows of published ports skips forward policy", _published_and_done),
    ("every leaf is taken to end as the rules behind the dispatch do", _tail_taken_for_granted),
    ("the last of the rules that are found decides", _ranks_that_rise),
    ("the rule that is found last decides", _last_rank_wins),
    ("a Log behind the rule that decides logs", _logs_behind_the_decision),
    ("ranks are noted in bits that another program has set", _bits_of_others_taken),
    ("the noted rank stays in the mark", _mark_left_behind),
    ("only the first rule behind a key is asked", _first_rule_of_a_key_only),
    ("a rule that is found is not tested any further", _rest_not_tested),
    ("of the keys of a longer prefix only the first is written out", _first_of_what_is_written_out),
    ("what a shorter key leaves out is not tested", _short_keys_not_tested),
    ("one of the parts that maps have in common is forgotten", _one_gate_closed),
    ("a rule under a long prefix is gone to before those of a shorter one", _what_covers_is_passed_over),
    ("the last port of a range is not found", _runs_one_port_short),
    ("a Pass that is found allows", _pass_allows),
    ("what a part of the interfaces does not know meets nothing more", _parts_end),
    ("the parts of a map are mixed up", _parts_of_maps_mixed_up),
)


def _told_by_the_other_end(patch: pytest.MonkeyPatch) -> None:
    right = BehindBridges._known
    patch.setattr(BehindBridges, "_known", lambda self, side, *given: right(self, side.opposite, *given))


def _whoever_sends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BehindBridges, "_senders", lambda _, _purpose, verdict, _rest: [Rule((), (verdict,))])


def _unknown_goes_on(patch: pytest.MonkeyPatch) -> None:
    nothing = lambda _, direction: program.Program(direction, ((),))  # noqa: E731
    patch.setattr(plan_programs.Programs, "unidentified_on_bridge", nothing)


def _no_leases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan_programs.Programs, "_leases", lambda *_: iter(()))


def _one_stands_for_all(patch: pytest.MonkeyPatch) -> None:
    right = Targets.met

    def met(self: Targets, endpoint: PlannedEndpoint, side: Direction) -> tuple[object, ...]:
        return right(self, endpoint, side) if endpoint.workload is None else (True,)

    patch.setattr(Targets, "met", met)


def _all_behind_one_bridge(patch: pytest.MonkeyPatch) -> None:
    def places(bridged: Iterable[tuple[PlannedEndpoint, Workload]], family: Family, most: int) -> Places:
        found = {address: name for (_, address), name in places_of(bridged, family, most).names.items()}
        every = {(bridge, address): name for bridge in BRIDGES for address, name in sorted(found.items())}
        return Places(every, None)

    patch.setattr(dispatch, "places_of", places)


def _host_goes_past_policy(patch: pytest.MonkeyPatch) -> None:
    right = BehindBridges.local

    def local(self: BehindBridges, side: Direction, *given: ProgramOf) -> Iterator[Rule]:
        return right(self, side, *given) if side is Direction.INGRESS else iter(())

    patch.setattr(BehindBridges, "local", local)


def _first_part_alone(patch: pytest.MonkeyPatch) -> None:
    def by_one_prefix(places: Sequence[Place], family: Family, most: int) -> tuple[int, dict[int, list[Place]]] | None:
        found = by_prefix(places, family, most)
        return found if found is None else (found[0], dict(list(found[1].items())[:1]))

    patch.setattr(behind_bridges, "by_prefix", by_one_prefix)


MUTANTS_OF_BRIDGES: tuple[tuple[str, Mutate], ...] = (
    ("a workload is told by the other end of a packet", _told_by_the_other_end),
    ("whoever sends is a workload", _whoever_sends),
    ("what no workload has goes on", _unknown_goes_on),
    ("the host gives no leases", _no_leases),
    ("one workload stands for all", _one_stands_for_all),
    ("an address is known behind every bridge", _all_behind_one_bridge),
    ("the host goes past the policy of workloads", _host_goes_past_policy),
    ("of many addresses the first part is known alone", _first_part_alone),
)


@pytest.mark.parametrize("mutate", [m for _, m in MUTANTS_OF_BRIDGES], ids=[name for name, _ in MUTANTS_OF_BRIDGES])
def test_a_mistake_about_bridges_is_caught(
    mutate: Mutate, drawn_with_bridges: list[tuple[Plan, list[Packet]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By packets from and to workloads behind them."""
    mutate(monkeypatch)

    with pytest.raises(AssertionError):
        _compare(drawn_with_bridges)


@pytest.mark.parametrize("mutate", [m for _, m in MUTANTS], ids=[name for name, _ in MUTANTS])
def test_a_mistake_of_the_compiler_is_caught(
    mutate: Mutate, drawn: list[tuple[Plan, list[Packet]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agreement fails within a bounded number of examples."""
    mutate(monkeypatch)

    with pytest.raises(AssertionError):
        _compare(drawn)


def test_the_compiler_as_it_is_passes(
    drawn: list[tuple[Plan, list[Packet]]], drawn_with_bridges: list[tuple[Plan, list[Packet]]]
) -> None:
    """Mutants are caught by their mistake and nothing else."""
    _compare([*drawn[:5], *drawn_with_bridges[:5]])


def _compare(drawn: Iterable[tuple[Plan, list[Packet]]]) -> None:
    for plan, sent in drawn:
        for costs in LAYOUTS:
            compiled = compile_plan(plan, costs)
            for number, packet in enumerate(sent):
                mark = MARKS[number % len(MARKS)]
                outcome = simulate(compiled, packet, mark)
                _agree(plan, outcome, packet)
                assert outcome.mark == mark or not outcome.accepted
