"""An engine that remembers gives what one without a memory gives, byte for byte, whatever happens to it on the way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.build.cache import EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.build.refused import Refused
from hostfw.compile import table_builder as builder
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.ruleset import compile_plan
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.state.installed import digests
from hostfw.host.lock import WriterLock
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.plan import Plan, PlannedDirection, PlannedPolicy, PlannedTier
from hostfw.model.values import FAMILIES
from hostfw.nft.object_text import render
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeConntrack
from tests.property.generators.plans import plans, seeds
from tests.property.test_edits import ENDPOINTS, SETS, SETTINGS, Edit, edits

LO, ETH0, ETH1, ETH2 = (Interface(name, place) for place, name in enumerate(("lo", "eth0", "eth1", "eth2"), 1))
HOSTS = tuple(HostFacts("host", interfaces) for interfaces in ((LO, ETH0), (LO, ETH0, ETH1), (LO, ETH1, ETH2)))

_FEED = "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: bad, labels: {net: office}}\nspec: {path: bad.txt}\n"
_FEEDS = tuple("".join(f"192.0.2.{n}\n" for n in range(first, last)) for first, last in ((0, 9), (1, 9), (0, 200)))


@st.composite
def _many_rules(draw: st.DrawFn, name: str) -> str:
    """A policy of so many rules that they become lookups, by port, by address or by both."""
    count = draw(st.sampled_from((5, 30, 60)))
    first, port_step, net_step = (draw(st.integers(0, limit)) for limit in (40, 3, 3))
    changed = draw(st.integers(0, count - 1))
    rules = [
        {
            "action": "Deny" if number == changed else "Allow",
            "protocol": ("TCP", "UDP")[number % 7 == 0],
            "source": {"nets": [f"10.{(first + number) * net_step}.0.0/{24 - number % 2}"]},
            "destination": {"ports": [1000 + (first + number) * port_step]},
        }
        for number in range(count)
    ]
    spec = {"order": draw(st.sampled_from((1, 2))), "selector": "all()", "ingress": rules, "types": ["Ingress"]}
    version = "projectcalico.org/v3"
    return yaml.safe_dump(
        {"apiVersion": version, "kind": "GlobalNetworkPolicy", "metadata": {"name": name}, "spec": spec}
    )


_big_edits = st.one_of(
    st.tuples(st.just("hostfw.yaml"), st.sampled_from((None, *SETTINGS))),
    st.tuples(st.just("10-endpoints.yaml"), st.sampled_from(ENDPOINTS)),
    st.tuples(st.just("sets/office.yml"), st.sampled_from((None, *SETS))),
    st.tuples(st.just("feed.yaml"), st.sampled_from((None, _FEED))),
    *(st.tuples(st.just(f"policies/{n}.yaml"), st.one_of(st.none(), _many_rules(n), _many_rules(n))) for n in "xyz"),
)
_steps = st.lists(
    st.tuples(st.one_of(edits.map(tuple), st.tuples(_big_edits)), st.sampled_from(HOSTS)), min_size=1, max_size=8
)
_health = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
# An example is a whole history, or six compilations: of a quarter as many as of others.
_fewer = settings(_health, max_examples=max(settings().max_examples // 4, 3))
_unhurried = pytest.mark.timeout(900)


@dataclass(slots=True)
class _Place:
    """An engine on a host that changes, with a kernel in memory."""

    root: Path
    cache: EngineCache | None = None
    facts: HostFacts = HOSTS[0]
    kernel: FakeKernel = field(default_factory=FakeKernel)

    def edit(self, edit: Edit) -> None:
        name, text = edit
        path = self.root / "etc" / name
        if text is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def apply(self) -> Generation | Refused:
        configuration, problems = read_configuration(self.root / "etc")
        cache = self.cache.candidate if self.cache else None
        candidate = check_candidate(configuration, problems, partial(read_own_feeds, self.root / "etc"), cache)
        host = Host(
            lambda _node: self.facts,
            self.kernel.read_tables,
            lambda _keep_open: self.kernel,
            WriterLock,
            read_names=self.kernel.read_names,
            read_sets=self.kernel.read_sets,
            edit_timed=self.kernel.edit_timed,
            read_some=self.kernel.read_some,
            read_digests=self.kernel.read_digests,
            read_links=lambda _: {},
            read_generation=self.kernel.read_generation,
            read_block=lambda: None,
            conntrack=FakeConntrack(),
        )
        directories = Directories(*(self.root / name for name in ("etc", "var", "run")))
        outcome = Engine(directories, host, cache=self.cache).apply(candidate, accept_shrink=True, accept_loss=True)
        if isinstance(outcome, Refused):
            return outcome
        assert isinstance(outcome, Applied), outcome
        return outcome.generation


@contextmanager
def _place(cache: EngineCache | None) -> Iterator[_Place]:
    with TemporaryDirectory(prefix="hostfw-memory-") as root:
        for name in ("etc", "var", "run"):
            Path(root, name).mkdir()
        place = _Place(Path(root), cache)
        for feed, text in enumerate(_FEEDS):
            place.edit((f"feed-{feed}.txt", text))
        place.edit(("bad.txt", _FEEDS[0]))
        yield place


def _fresh(place: _Place) -> Generation | Refused:
    """The generation of an engine without a cache."""
    configuration, problems = read_configuration(place.root / "etc")
    return build(check_candidate(configuration, problems, partial(read_own_feeds, place.root / "etc")), place.facts)


def _held(kernel: FakeKernel) -> Mapping[str, object]:
    tables = kernel.read_tables()
    return {
        family.nft: (
            sorted((c.name, c.base, c.digest) for c in tables.of(family).chains if c.base is None or c.rules),
            sorted(s.name for s in tables.of(family).sets),
            sorted(counter.name for counter in tables.of(family).counters),
        )
        for family in FAMILIES
    }


@_unhurried
@_fewer
@given(steps=_steps, feeds=st.lists(st.sampled_from(_FEEDS), min_size=8, max_size=8))
def test_a_memory_changes_nothing(steps: list[tuple[tuple[Edit, ...], HostFacts]], feeds: list[str]) -> None:
    """After every edit of files, feeds and interfaces: scripts, plans, problems, and what the kernel then holds."""
    with _place(EngineCache()) as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "PACKED_FROM", 4)
        patch.setattr(builder, "EDITED_IN_PLACE_FROM", 8)
        for (made, facts), feed in zip(steps, feeds, strict=False):
            for edit in (*made, ("bad.txt", feed)):
                place.edit(edit)
            place.facts = facts
            generation, expected = place.apply(), _fresh(place)
            assert type(generation) is type(expected)
            if isinstance(generation, Refused) or isinstance(expected, Refused):
                assert generation == expected
                continue
            assert generation.script == expected.script
            # What is remembered of the host is not made of the files.
            assert replace(generation, candidate=expected.candidate, governance=expected.governance) == expected
            assert generation.candidate == expected.candidate

            with _place(None) as afresh:
                afresh.facts = facts
                for path in (place.root / "etc").rglob("*.*"):
                    afresh.edit((str(path.relative_to(place.root / "etc")), path.read_text()))
                afresh.apply()
            assert _held(place.kernel) == _held(afresh.kernel)
            assert place.cache is not None
            assert place.cache.last_commit is not None
            assert set(place.cache.last_commit.record.chains) == set(digests(place.kernel.read_tables()))


_CUTS = replace(DEFAULT_COSTS, linear_rules=1, linear_ports=1, linear_prefixes=1, inline_cidrs=1)
"""A layout that cuts wherever it can."""
_RANKS = replace(_CUTS, copies=0, rules_a_lookup=0, crowd=1, lookups=3, widened=1000, whole_map=4, part_of_map=4)
"""One that finds rules by rank wherever it can."""
_both = pytest.mark.parametrize(
    "costs", [pytest.param(_CUTS, id="cuts", marks=pytest.mark.slow), pytest.param(_RANKS, id="ranks")]
)


@_both
@_unhurried
@_fewer
@given(data=st.data())
def test_plans_compile_alike_with_the_memory_of_other_plans(costs: CostModel, data: st.DataObject) -> None:
    """Whatever was compiled before."""
    cache = CompileCache()
    drawn = [data.draw(plans()) for _ in range(3)]
    for plan in (*drawn, *drawn):
        ruleset = compile_plan(plan, costs, cache)
        fresh = compile_plan(plan, costs)
        assert ruleset == fresh
        assert render(ruleset) == render(fresh)


@_both
@_unhurried
@_fewer
@given(plan=plans(), seed=seeds)
def test_a_plan_compiles_alike_with_the_memory_of_one_that_has_more_rules(
    costs: CostModel, plan: Plan, seed: int
) -> None:
    """The rules go one after the other, and with each whatever it alone told apart: a protocol, a port, a prefix."""
    random, cache = Random(seed), CompileCache()
    for _ in range(6):
        assert compile_plan(plan, costs, cache) == compile_plan(plan, costs)
        plan = _with_fewer_rules(plan, random)


def _with_fewer_rules(plan: Plan, random: Random) -> Plan:
    """The plan without one rule of some of its policies."""

    def policy(whole: PlannedPolicy) -> PlannedPolicy:
        if not whole.rules or random.random() < 0.5:
            return whole
        place = random.randrange(len(whole.rules))
        return replace(whole, rules=whole.rules[:place] + whole.rules[place + 1 :])

    def tiers(every: tuple[PlannedTier, ...]) -> tuple[PlannedTier, ...]:
        return tuple(replace(tier, policies=tuple(map(policy, tier.policies))) for tier in every)

    def direction(whole: PlannedDirection) -> PlannedDirection:
        return PlannedDirection(
            tiers(whole.tiers),
            tuple(map(policy, whole.profiles)),
            tiers(whole.forward_tiers),
            tiers(whole.untracked_tiers),
            tiers(whole.pre_dnat_tiers),
        )

    endpoints = (
        replace(endpoint, ingress=direction(endpoint.ingress), egress=direction(endpoint.egress))
        for endpoint in plan.endpoints
    )
    return replace(plan, endpoints=tuple(endpoints))
