"""Cost that follows the change: what an engine that remembers reads, compiles and sends, and what makes it forget."""

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.inputs import configurations
from hostfw.build.cache import EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.cuts.by_port import changed_cut, cut_by_port
from hostfw.compile.program import Allow, Condition, ProgramRule
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import TableBuilder
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.state import state
from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.host.lock import WriterLock
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.generations import Accepted, save_accepted
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.plan import Plan, PlannedPolicy, PlannedSide
from hostfw.model.resources import GlobalNetworkPolicy
from hostfw.model.sources import Configuration
from hostfw.model.values import TCP, PortRange
from hostfw.nft.change import Change
from hostfw.nft.objects import Ruleset
from hostfw.policy.resolve.plan import resolve
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeClock, FakeConntrack

FACTS = HostFacts("host1", (Interface("lo", 1, kind="loopback"), Interface("eth0", 2)))
POLICIES = 60


class Living:
    """An engine with a memory, on a kernel that counts how often it is read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kernel = FakeKernel()
        self.read_whole = 0
        self.workers = 0
        self.only_ours: Callable[[int, int], bool] = lambda _since, _until: False
        self.cache = EngineCache()
        self.clock = FakeClock()
        configurations.write(root / "etc", POLICIES)

    def reload(self) -> Change:
        """The change that a reload sends."""
        outcome = self.engine().apply(
            check_candidate(*read_configuration(self.root / "etc"), cache=self.cache.candidate)
        )
        assert isinstance(outcome, Applied), outcome
        assert outcome.warnings == ()
        return outcome.change

    def engine(self) -> Engine:
        """The engine, made anew for each request as it may be: what it remembers is in the memory alone."""
        host = Host(
            lambda _node: FACTS,
            self._read_tables,
            self._nftables,
            WriterLock,
            now=self.clock.now,
            read_names=self.kernel.read_names,
            read_sets=self.kernel.read_sets,
            edit_timed=self.kernel.edit_timed,
            read_some=self.kernel.read_some,
            read_digests=self.kernel.read_digests,
            read_links=lambda _: {},
            read_generation=self.kernel.read_generation,
            only_ours=self.only_ours,
            conntrack=FakeConntrack(),
        )
        return Engine(Directories(*(self.root / name for name in ("etc", "var", "run"))), host, cache=self.cache)

    def edit(self, old: str, new: str) -> None:
        """Change the one file of ten policies that says something."""
        path = self.root / "etc" / "policies" / "00003.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def _read_tables(self) -> KernelTables:
        self.read_whole += 1
        return self.kernel.read_tables()

    def _nftables(self, _keep_open: object) -> FakeKernel:
        self.workers += 1
        return self.kernel


@pytest.fixture(name="living")
def _living(tmp_path: Path) -> Living:
    made = Living(tmp_path)
    made.reload()
    made.read_whole = made.workers = 0
    return made


def test_a_reload_without_a_change_reads_no_table_and_starts_no_worker(living: Living) -> None:
    """That nothing changed is told by the files, the facts and nftables' generation."""
    committed = list(living.kernel.committed)

    assert living.reload().is_empty
    assert (living.read_whole, living.workers, living.kernel.committed) == (0, 0, committed)


def test_one_changed_policy_is_read_back_by_name(living: Living) -> None:
    """A handful of chains is new, as many are swept, and the tables are not read whole."""
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    sent = living.reload()

    assert sent.prepare.count("add chain") < 25
    assert 0 < len(sent.sweep) < 25
    assert living.read_whole == 0
    assert living.reload().is_empty


def test_what_is_certainly_ours_is_not_looked_through(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where another program was there meanwhile are tens of thousands of chains gone through."""

    def never(*_: object) -> None:
        raise AssertionError("it was looked through")

    monkeypatch.setattr("hostfw.engine.kernel.deploy.rewriting._written", never)
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    assert living.reload().prepare


def test_a_commit_of_another_makes_it_read_everything(living: Living) -> None:
    """Whoever committed may have changed our tables: what they did is found and put right."""
    chain = next(c.name for c in living.kernel.read_tables().ip.chains if c.name.startswith("deny/service"))
    assert living.kernel.meddle(f"flush chain ip hostfw {chain}\n").ok

    sent = living.reload()

    assert f"flush chain ip hostfw {chain}" in sent.switch
    assert living.read_whole > 0
    assert living.reload().is_empty


def test_a_commit_of_another_between_ours_makes_it_read_everything(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only our own commits are known to have left the rest alone; what others did is put right the next time."""
    commit = living.kernel.commit

    def disturbed(script: str) -> object:
        result = commit(script)
        assert living.kernel.meddle(f"flush chain ip hostfw {chain}\n").ok
        return result

    chain = next(c.name for c in living.kernel.read_tables().ip.chains if c.name.startswith("deny/service"))
    monkeypatch.setattr(living.kernel, "commit", disturbed)
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    living.reload()
    monkeypatch.setattr(living.kernel, "commit", commit)

    assert living.read_whole == 2, "once, and again after what was new was written again"
    assert f"flush chain ip hostfw {chain}" in living.reload().switch
    assert living.reload().is_empty


def test_a_switch_without_an_answer_leaves_nothing_for_known(living: Living) -> None:
    """The active generation is unknown then, so the next reload reads everything."""
    living.edit("10.0.33.7/32", "10.9.33.7/32")
    living.kernel.failures.extend((NftResult(ok=True), NftFailure("the kernel does not answer", unchanged=False)))

    outcome = living.engine().apply(check_candidate(*read_configuration(living.root / "etc")))

    assert isinstance(outcome, Failed)
    assert outcome.in_force == UNKNOWN
    assert living.cache.last_commit is None
    assert living.reload().switch
    assert living.read_whole > 0


def test_a_commit_that_did_not_take_is_noticed(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sent rules are read back, with and without a cache; to read all of them shows none of IPv4 either."""
    some, everything = living.kernel.read_some, living.kernel.read_tables
    switched: list[bool] = []

    def after_switch(tables: KernelTables) -> KernelTables:
        switched.append(True)
        return replace(tables, ip=replace(tables.ip, chains=()))

    monkeypatch.setattr(living.kernel, "read_some", lambda names: after_switch(some(names)))
    monkeypatch.setattr(living.kernel, "read_tables", lambda: after_switch(everything()) if switched else everything())
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    outcome = living.engine().apply(check_candidate(*read_configuration(living.root / "etc")))

    assert isinstance(outcome, Failed)
    assert "the kernel does not have the committed rules" in outcome.message


def test_a_commit_of_another_program_makes_the_next_reload_read_everything(living: Living) -> None:
    """Nobody knows what it did."""
    living.kernel.generation += 1
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    assert living.reload().activation
    assert living.read_whole > 0


def test_commits_of_others_elsewhere_cost_nothing(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a reload, and in the midst of one, where somebody knows that they left our tables alone."""
    asked: list[tuple[int, int]] = []

    def only_ours(since: int, until: int) -> bool:
        asked.append((since, until))
        return True

    def commit(script: str) -> NftResult:
        living.kernel.generation += 3
        return right(script)

    right = living.kernel.commit
    living.only_ours = only_ours
    before = living.kernel.generation
    living.kernel.generation += 5
    monkeypatch.setattr(living.kernel, "commit", commit)
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    assert living.reload().activation
    assert living.read_whole == 0
    assert asked[0] == (before, before + 5)
    assert {since for since, _ in asked[1:]} == {before + 5}
    assert asked[-1][1] == living.kernel.generation
    assert living.reload().is_empty


def test_without_its_record_nothing_is_taken_for_known(living: Living) -> None:
    """As without a memory: every chain is written again, and the record with it."""
    record = living.root / "run" / "generation.json"
    record.unlink()

    assert living.reload().switch
    assert record.exists()
    assert living.reload().is_empty


def test_what_another_accepted_is_not_taken_for_ours(living: Living) -> None:
    """A generation that was accepted by another program is replaced, although nothing in the files has changed."""
    accepted = living.cache.accepted
    assert accepted is not None
    save_accepted(living.root / "var", replace(accepted[1], id="", configuration=Configuration(), script=""))

    living.reload()

    assert living.cache.accepted is not None
    now: Accepted = living.cache.accepted[1]
    assert now.configuration == accepted[1].configuration


def test_other_interfaces_are_another_generation(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files on a host that has changed are compiled again."""
    more = HostFacts("host1", (*FACTS.interfaces, Interface("eth1", 3)))
    (living.root / "etc" / "endpoints.yaml").write_text(
        (living.root / "etc" / "endpoints.yaml").read_text().replace("interfaceName: eth0", "interfaceName: '*'")
    )
    living.reload()
    monkeypatch.setattr("tests.unit.engine.test_caches.FACTS", more)

    living.reload()

    generation = living.cache.generation.generation
    assert generation is not None
    assert generation.facts == more


# ------------------------------------------------------------------------------------------------------- compilation


def _plan(root: Path) -> Plan:
    candidate = check_candidate(*read_configuration(root / "etc"))
    plan, _ = resolve(candidate.resources, candidate.settings, FACTS)
    return plan


@pytest.fixture(name="chains")
def _chains(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The purposes of the chains that are made."""
    made: list[str] = []
    right = TableBuilder.chain

    def counting(self: TableBuilder, purpose: str, rules: object) -> str:
        made.append(purpose)
        return right(self, purpose, rules)  # type: ignore[arg-type]

    monkeypatch.setattr(TableBuilder, "chain", counting)
    return made


def test_a_plan_with_one_other_policy_makes_a_handful_of_chains(living: Living, chains: list[str]) -> None:
    """The rest is that of the plan before, although none of its objects are: only what they say counts."""
    cache = CompileCache()
    compile_plan(_plan(living.root), cache=cache)
    at_first = len(chains)
    living.edit("10.0.33.7/32", "10.9.33.7/32")
    plan = _plan(living.root)
    chains.clear()

    changed = compile_plan(plan, cache=cache)

    assert at_first > 5 * POLICIES
    # The limits of the log are told for every plan, whatever it holds: a few for each reason.
    assert len([purpose for purpose in chains if not purpose.startswith("log/")]) < 30
    assert changed == compile_plan(plan)


def test_what_no_plan_uses_any_more_is_forgotten(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many plans have passed, there are not many more objects than the last one has."""
    monkeypatch.setattr("hostfw.compile.incremental.memo._LITTER_OF_FEW", 10)
    cache = CompileCache()
    ruleset = Ruleset(())
    for number in range(12):
        configurations.write(living.root / f"{number}" / "etc", POLICIES)
        text = living.root / f"{number}" / "etc" / "policies" / "00003.yaml"
        text.write_text(text.read_text().replace("172.16.", f"172.{number}.").replace("10.0.", f"10.{number}."))
        for path in (living.root / f"{number}" / "etc" / "policies").iterdir():
            path.write_text(path.read_text().replace("2001:db8:", f"2001:{number}:"))
        ruleset = compile_plan(_plan(living.root / f"{number}"), cache=cache)

    needed = sum(len(table.chains) + len(table.sets) + len(table.maps) for table in ruleset.tables)
    assert sum(objects.used for objects in cache.objects.values()) == needed
    assert sum(objects.made for objects in cache.objects.values()) < 4 * needed
    assert ruleset == compile_plan(_plan(living.root / "11"))


def test_a_policy_that_is_edited_again_and_again_leaves_nothing_behind(living: Living) -> None:
    """The service would grow by what it was each time: only the policy as it is now is kept, in either direction."""
    living.edit("10.0.33.7/32", "10.0.33.0/32")
    living.reload()
    before = _planned_policies()
    for number in range(1, 20):
        living.edit(f"10.0.33.{number - 1}/32", f"10.0.33.{number}/32")
        living.reload()

    assert _planned_policies() <= before + 20


def _planned_policies() -> int:
    """The policies that are kept as they were planned at some time."""
    gc.collect()
    return sum(isinstance(one, PlannedPolicy) for one in gc.get_objects())


_ranges = st.builds(
    lambda first, more: PortRange(first, min(first + more, 65535)), st.integers(65500, 65535), st.integers(0, 9)
)
_edges = st.builds(lambda first, more: PortRange(first, first + more), st.integers(0, 40), st.integers(0, 9))
_rules = st.builds(
    lambda ports, not_ports: ProgramRule(
        Condition(protocol=TCP, destination=PlannedSide(ports=ports, not_ports=not_ports)), Allow("c")
    ),
    st.one_of(st.none(), *[st.lists(st.one_of(_edges, _ranges), max_size=3).map(tuple)] * 6),
    st.one_of(*[st.just(())] * 6, st.lists(_edges, max_size=1).map(tuple)),
)


@given(
    before=st.lists(st.lists(_rules, max_size=8), min_size=1, max_size=3),
    come=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), _rules), max_size=3),
    gone=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), max_size=3),
)
def test_a_changed_cut_is_the_cut_of_what_it_changed_to(
    before: list[list[ProgramRule]],
    come: list[tuple[int, int, ProgramRule]],
    gone: list[tuple[int, int]],
) -> None:
    """Run for run and rule for rule, or it says that it cannot."""
    after = [list(segment) for segment in before]
    for place, number in gone:
        segment = after[place % len(after)]
        if segment:
            del segment[number % len(segment)]
    for place, number, rule in come:
        segment = after[place % len(after)]
        segment.insert(number % (len(segment) + 1), rule)
    wanted = tuple(map(tuple, after))

    cut = cut_by_port(tuple(map(tuple, before)), TCP.number, 1000)
    assert cut is not None
    changed = changed_cut(cut, wanted)

    expected = cut_by_port(wanted, TCP.number, 1000)
    reaches_everywhere = any(
        rule.condition.destination.ports is None or rule.condition.destination.not_ports
        for rule in (*(r for s in before for r in s), *(r for _, _, r in come))
    )
    assert changed is not None or reaches_everywhere
    assert changed in (None, expected)


def test_what_is_read_back_by_name_is_a_share_of_all(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred new objects among hundreds are not; among thousands they are, and a few always."""
    monkeypatch.setattr(state, "READ_ONE_BY_ONE", 0)
    living.edit("10.0.33.7/32", "10.9.33.7/32")
    living.reload()
    assert living.read_whole == 0

    monkeypatch.setattr(state, "READ_SHARE", 10_000)
    living.edit("10.9.33.7/32", "10.8.33.7/32")
    living.reload()

    assert living.read_whole == 1


def test_a_reload_without_a_change_compiles_nothing_although_time_went_by(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment of an apply is on record, and matters only where something expires."""
    # The first one had nothing on record.
    living.reload()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was resolved")

    monkeypatch.setattr("hostfw.build.generation.resolve", never)

    assert living.reload().is_empty
    built = living.cache.generation.generation
    assert built is not None
    living.clock.sleep(3600)
    assert living.reload().is_empty
    later = living.cache.generation.generation
    assert later is not None
    assert later.ruleset is built.ruleset
    assert built.governance.applied is not None
    assert later.governance.applied is not None
    assert later.governance.applied > built.governance.applied


def test_of_one_changed_file_only_its_policies_are_judged_again(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten policies of sixty, by each of the checks that look at every rule."""
    judged: list[str] = []
    for name in ("hostfw.policy.check.warnings.reach_of", "hostfw.policy.resolve.link_networks._first_of"):
        module, _, function = name.rpartition(".")
        real = getattr(import_module(module), function)
        monkeypatch.setattr(name, partial(_noted, judged, real))
    living.edit("10.0.33.7/32", "10.9.33.7/32")

    living.reload()

    assert sorted(judged) == sorted([f"service-{number}" for number in range(30, 40)] * 2)


def _noted(judged: list[str], real: Callable[[GlobalNetworkPolicy], object], owner: GlobalNetworkPolicy) -> object:
    judged.append(owner.metadata.name)
    return real(owner)
