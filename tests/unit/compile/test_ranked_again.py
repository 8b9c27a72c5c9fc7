"""Lists found by lookups, compiled again after changes: what a fresh compile gives, written for what changed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

import pytest

from bench.inputs.mixtures import SHAPES, changed, drawn_mixture, packets, plan_of
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.incremental.objects_in_use import ForgottenObjectError
from hostfw.compile.layout.costs import DEFAULT_COSTS
from hostfw.compile.layout.cuts import by_port
from hostfw.compile.layout.cuts.by_address import Prefixes, ShortLists
from hostfw.compile.layout.cuts.by_port import NotCut, cut_again, cut_by_port
from hostfw.compile.layout.ranking.lookups import Lookups
from hostfw.compile.layout.ranking.map_parts import dividing_bits
from hostfw.compile.layout.ranking.ways import Variant
from hostfw.compile.plan_programs import Programs
from hostfw.compile.program import ProgramRule
from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.plan import Plan, PlannedDirection, PlannedPolicy, PlannedSide
from hostfw.model.settings import DenyAction
from hostfw.model.values import TCP, Action, Cidr, Direction, Family
from hostfw.nft.simulate import simulate


def _policies(plan: Plan) -> list[PlannedPolicy]:
    return list(plan.endpoints[0].ingress.tiers[0].policies)


def _with(plan: Plan, policies: list[PlannedPolicy]) -> Plan:
    (endpoint,) = plan.endpoints
    first, *others = endpoint.ingress.tiers
    tiers = (replace(first, policies=tuple(policies)), *others)
    return replace(plan, endpoints=(replace(endpoint, ingress=PlannedDirection(tiers)),))


def _edits(plan: Plan, random: Random) -> Iterator[Plan]:
    """The plan after one edit after the other: policies that are others, gone, back, moved, and none of the above."""
    whole = _policies(plan)
    for number in random.sample(range(len(whole)), 2):
        yield (plan := changed(plan, number))
    place = random.randrange(len(whole) - 8)
    yield (plan := _with(plan, _policies(plan)[:place] + _policies(plan)[place + random.randint(1, 8) :]))
    yield (plan := _with(plan, [*_policies(plan)[-2:], *_policies(plan)[:-2]]))
    yield (plan := _with(plan, whole))
    yield (plan := _with(plan, whole[: len(whole) // 2]))
    yield _with(plan, whole)


@pytest.mark.parametrize("seed", [0, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_a_mixture_that_was_edited_is_what_it_is_afresh(seed: int) -> None:
    """Rules that come, go and move leave no trace in what is written next."""
    random, cache = Random(seed), CompileCache()
    plan = drawn_mixture(seed).plan(200)
    compile_plan(plan, cache=cache)
    for number, other in enumerate(_edits(plan, random)):
        assert compile_plan(other, cache=cache) == compile_plan(other), number


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_was_edited_is_what_it_is_afresh(shape: str) -> None:
    """The same of each shape alone, and of what a set is that all rules share."""
    random, cache = Random(shape), CompileCache()
    plan = plan_of({shape: 1}, 96)
    compile_plan(plan, cache=cache)
    for number, other in enumerate(_edits(plan, random)):
        assert compile_plan(other, cache=cache) == compile_plan(other), number


def test_one_rule_costs_the_keys_that_it_stands_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all shapes together, behind a few keys another chain is written for one rule, and not behind the others."""
    written = 0
    right = Lookups._cover

    def counted(*given: object) -> object:
        nonlocal written
        written += 1
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Lookups, "_cover", counted)
    plan, cache = plan_of(dict.fromkeys(SHAPES, 1), 2000), CompileCache()
    compile_plan(plan, cache=cache)
    fresh, written = written, 0

    compile_plan(changed(plan, 1000), cache=cache)

    assert fresh > 10_000
    assert written < fresh / 20, (written, fresh)


def test_one_rule_has_few_elements_of_long_maps_written_again() -> None:
    """Only the part of each map that it stands in, and the short map that leads to the parts."""
    plan, cache = plan_of({"net": 3, "port": 1}, 6000), CompileCache()
    before = compile_plan(plan, cache=cache)

    after = compile_plan(changed(plan, 2500), cache=cache)

    known = {(table.family, one.name) for table in before.tables for one in table.maps}
    written = [one for table in after.tables for one in table.maps if (table.family, one.name) not in known]
    assert sum(len(one.elements) for table in after.tables for one in table.maps) > 10_000
    assert 0 < sum(len(one.elements) for one in written) < 3000, [(one.name, len(one.elements)) for one in written]


def test_what_a_plan_has_no_use_for_is_forgotten_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is edited, and without anything that has to be made anew because it was forgotten too soon."""
    whole, cache, random = plan_of(dict.fromkeys(SHAPES, 1), 300), CompileCache(), Random(7)
    compile_plan(whole, cache=cache)
    monkeypatch.setattr(ForgottenObjectError, "__init__", _nothing_is_missing)
    for _ in range(3):
        for plan in _edits(whole, random):
            ruleset = compile_plan(plan, cache=cache)
            for table in ruleset.tables:
                objects = cache.objects[table.family]  # type: ignore[index]
                assert objects.made <= len(table.sets) + len(table.maps) + len(table.chains) + 16


def test_what_is_missing_has_all_made_anew() -> None:
    """Were something forgotten too soon, the ruleset would be the right one, and cost the time of the first."""
    plan, cache = plan_of(dict.fromkeys(SHAPES, 1), 60), CompileCache()
    compile_plan(plan, cache=cache)
    for objects in cache.objects.values():
        for name in list(objects.chains):
            del objects.chains[name]
    other = changed(plan, 30)

    assert compile_plan(other, cache=cache) == compile_plan(other)


def _nothing_is_missing(_: ForgottenObjectError, name: str) -> None:
    raise AssertionError(name)


def test_one_rule_has_no_other_looked_at_for_cuts_that_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the prefixes of the others nor the ports that they would be copied to."""
    looked_at = 0
    lists_of = ShortLists.of

    def counted(*given: object) -> object:
        nonlocal looked_at
        looked_at += 1
        return lists_of(*given)  # type: ignore[arg-type]

    def never(*_: object) -> object:
        raise AssertionError("every rule was asked for its ports")

    monkeypatch.setattr(ShortLists, "of", counted)
    plan, cache = plan_of(dict.fromkeys(SHAPES, 1), 2000), CompileCache()
    compile_plan(plan, cache=cache)
    fresh, looked_at = looked_at, 0
    monkeypatch.setattr(by_port, "cut_by_port", never)

    compile_plan(changed(plan, 1000), cache=cache)

    assert fresh > 2000
    assert looked_at < 50, looked_at


def test_one_rule_has_few_others_found_by_other_criteria(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those alone that stand at one of its keys, and are crowded there."""
    asked = 0
    quiet = Variant.quiet

    def counted(*given: object) -> object:
        nonlocal asked
        asked += 1
        return quiet(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Variant, "quiet", counted)
    plan, cache = plan_of(dict.fromkeys(SHAPES, 1), 2000), CompileCache()
    compile_plan(plan, cache=cache)
    fresh, asked = asked, 0

    compile_plan(changed(plan, 1000), cache=cache)

    assert fresh >= 2000
    assert asked < fresh / 20, (asked, fresh)


@pytest.mark.parametrize("seed", range(3))
def test_two_endpoints_whose_maps_are_alike_are_what_they_are_afresh(seed: int) -> None:
    """Each comes to have what the other has, or had: a map goes while another that is nearly the same stays."""
    random, cache = Random(seed), CompileCache()
    plan = plan_of(dict.fromkeys(("net", "port", "pass", "any length"), 1), 120, seed)
    (one,) = plan.endpoints
    other = replace(one, name="eth1")
    bindings = (*plan.bindings, replace(plan.bindings[0], endpoint="eth1", interface="eth1"))
    of_each = [_edited(plan, random) for _ in range(2)]
    for _ in range(8):
        now = random.choice([(of_each[0], of_each[1]), (of_each[1], of_each[0]), (of_each[0],) * 2, (of_each[1],) * 2])
        of_each[random.randrange(2)] = _edited(of_each[0], random)
        ingress = [found.endpoints[0].ingress for found in now]
        endpoints = (replace(one, ingress=ingress[0]), replace(other, ingress=ingress[1]))
        both = replace(plan, endpoints=endpoints, bindings=bindings)
        assert compile_plan(both, cache=cache) == compile_plan(both)


def _edited(plan: Plan, random: Random) -> Plan:
    """The plan with a policy changed, one gone, or one moved."""
    policies = _policies(plan)
    place = random.randrange(len(policies) - 10)
    match random.randrange(4):
        case 0:
            return changed(plan, place)
        case 1:
            return _with(plan, [*policies[:place], *policies[place + 1 :]])
        case 2:
            (rule,) = policies[place].rules
            action = Action.DENY if rule.action is Action.ALLOW else Action.ALLOW
            policies[place] = replace(policies[place], rules=(replace(rule, action=action),))
            return _with(plan, policies)
        case _:
            return _with(plan, [*policies[:place], *policies[place + 5 :], *policies[place : place + 5]])


@pytest.mark.parametrize("deny_action", DenyAction)
def test_denials_that_tell_the_sender_are_compiled_again_alike(deny_action: DenyAction) -> None:
    """Policies come, go and move, and their actions change, with either way to deny."""
    random, cache = Random(7), CompileCache()
    plan = plan_of(dict.fromkeys(SHAPES, 1), 160)
    plan = replace(plan, settings=replace(plan.settings, deny_action=deny_action))
    for _ in range(10):
        assert compile_plan(plan, cache=cache) == compile_plan(plan)
        plan = _edited(plan, random)


@pytest.mark.parametrize("shapes", [SHAPES, ("port", "net"), ("port", "net", "pass")])
def test_one_rule_changes_short_chains_of_the_list_in_order(shapes: Iterable[str]) -> None:
    """A packet with a foreign mark meets the rules in chains of chains, a Pass in its chunk as any other rule."""
    plan, cache = plan_of(dict.fromkeys(shapes, 1), 2000), CompileCache()
    before = {chain.name for chain in compile_plan(plan, cache=cache).tables[0].chains}
    table = compile_plan(changed(plan, 1000), cache=cache).tables[0]

    in_order = [chain for chain in table.chains if "/in-order." in chain.name]

    assert len(in_order) > 2000 // 40
    assert max(len(chain.rules) for chain in in_order) <= 160
    assert sum(len(chain.rules) for chain in in_order if chain.name not in before) < 320


@pytest.mark.parametrize("seed", range(4))
def test_what_is_known_of_cuts_is_what_is_found_afresh(seed: int) -> None:
    """The prefixes of each side, and whether a cut by port is worth its copies, whatever comes and goes."""
    random = Random(seed)
    plan = drawn_mixture(seed).plan(120)
    rules = _rules(plan)
    before: object = None
    known = dict.fromkeys((True, False), Prefixes((), Counter()))
    for copies in (2, 2, 4, 2, 2, 8, 2, 2, 1, 1):
        now = (tuple(rules[:40]), tuple(rules[40 : 60 + random.randrange(20)]))
        cut = before = cut_again(now, TCP.number, copies, before if copies == 2 else None)
        afresh = cut_by_port(now, TCP.number, copies)
        assert afresh is None if isinstance(cut, NotCut) else afresh == cut
        if isinstance(cut, NotCut):
            assert cut == cut_again(now, TCP.number, copies, None)
        for source in known:
            short = ShortLists(Family.V4, 64)
            known[source] = Prefixes.of(now, short, known[source], source=source)
            assert known[source] == Prefixes.of(now, short, source=source)
        rules = [*random.sample(rules, 2), *(rule for rule in rules if random.random() > 1 / 40)]


def _rules(plan: Plan) -> list[ProgramRule]:
    programs = Programs(plan.settings, reject=False, cache=CompileCache())
    return [
        rule for segment in programs.local(plan.endpoints[0].ingress, Direction.INGRESS).segments for rule in segment
    ]


_NETS = [0x0A000000 + (number << 8) for number in range(4096)]
_ROWS: tuple[tuple[str, list[int], int, int, int], ...] = (
    ("neighbours", _NETS, 24, 512, 15),
    ("as many as a part has", _NETS[:512], 24, 512, 0),
    ("one more, of which one is apart", [*_NETS[:512], 0x14000000], 24, 512, 4),
    ("one net with many ports", [0x0A000000] * 600, 24, 512, 0),
    ("two such nets", [0x0A000000] * 600 + [0x0A000100] * 600, 24, 512, 24),
    ("many far from each other, and some close", [*_NETS[:1024], *(n << 24 for n in range(16, 200))], 24, 512, 4),
)


@pytest.mark.parametrize("row", _ROWS, ids=[name for name, *_ in _ROWS])
def test_keys_are_divided_by_the_first_bits_that_suffice(row: tuple[str, list[int], int, int, int]) -> None:
    """So many bits of an IPv4 address, 0 for a map that stays whole."""
    _, values, bits, most, expected = row

    assert dividing_bits(values, 32, bits, most) == expected


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_no_bigger_than_asked_unless_there_were_too_many(seed: int) -> None:
    """Or unless keys are equal in all bits that count."""
    random = Random(seed)
    values = sorted(random.sample(range(1 << 16), random.randint(2, 3000)))
    most = random.choice((2, 16, 64, 512))

    length = dividing_bits(values, 16, 16, most)

    parts: dict[int, int] = {}
    for value in values:
        parts[value >> 16 - length] = parts.get(value >> 16 - length, 0) + 1
    if length:
        assert len(parts) > 1
        assert max(parts.values()) <= most or len(parts) <= max(16, len(values) // 64)
    else:
        assert len(values) <= most or len(values) < 3000


def test_what_a_part_of_a_map_does_not_know_meets_shorter_prefixes() -> None:
    """Of hosts and the nets around them, in the same part: the host alone is denied, if its rule comes first."""
    plan = plan_of({"net": 1}, 80)
    (endpoint,) = plan.endpoints
    (tier,) = endpoint.ingress.tiers
    policies = tuple(_of_host_or_net(policy, number) for number, policy in enumerate(tier.policies))
    ingress = replace(endpoint.ingress, tiers=(replace(tier, policies=policies),))
    plan = replace(plan, endpoints=(replace(endpoint, ingress=ingress),))
    packet = packets(plan, 1)[0]
    parts = replace(DEFAULT_COSTS, copies=0, rules_a_lookup=0, whole_map=4, part_of_map=4)
    costs = replace(parts, written_out=0, shortened=0, shortened_inline=0, compares_a_lookup=0)

    ruleset = compile_plan(plan, costs)

    assert any("/by-saddr/parts." in one.name for table in ruleset.tables for one in table.maps)
    for number in range(40):
        for last in (7, 9):
            sent = replace(packet, source=0x0A000000 | number << 8 | last)
            assert simulate(ruleset, sent).accepted is explain(plan, sent).allowed is (last == 9), (number, last)


def _of_host_or_net(policy: PlannedPolicy, number: int) -> PlannedPolicy:
    (rule,) = policy.rules
    address = 0x0A000000 | number // 2 << 8
    host = number % 2 == 0
    side = PlannedSide(nets=(Cidr(Family.V4, address | 7, 32) if host else Cidr(Family.V4, address, 24),))
    action = Action.DENY if host else Action.ALLOW
    return replace(policy, rules=(replace(rule, action=action, source=side),))
