"""Agreement of our netlink packing with nft's: sets and maps of random rulesets, loaded again by us."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from hostfw.compile.ruleset import compile_plan
from hostfw.engine.context import Host
from hostfw.engine.kernel.deploy.transactions import reload_sets
from hostfw.engine.kernel.state.contents import altered, altered_by_name, misdeclared
from hostfw.host.nftables.tables import read_tables
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.plan import Plan
from hostfw.model.values import FAMILIES
from hostfw.nft.object_text import render
from hostfw.nft.objects import TABLE
from lab.namespace import LabError, inside, namespace
from tests.property.agreement.test_agreement import LOOKUPS_EVERYWHERE
from tests.property.generators.plans import plans


@pytest.fixture(scope="module")
def nftables() -> Iterator[NftablesWorker]:
    """A worker in a namespace of its own, which the test is in as well."""
    try:
        with namespace("refill") as place, inside(place), NftablesWorker() as worker:
            yield worker
    except LabError as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans())
def test_a_ruleset_that_is_filled_again_is_as_it_was(nftables: NftablesWorker, plan: Plan) -> None:
    """Every key, verdict and bound of a range, after another program has emptied every set and map.

    Each of them is told by its name before, and none of them otherwise.
    """
    ruleset = compile_plan(plan, LOOKUPS_EVERYWHERE)
    fixed = [
        (table.family, kind, each.name)
        for table in ruleset.tables
        for kind, of in (("set", [s for s in table.sets if s.dynamic is None]), ("map", table.maps))
        for each in of
    ]
    _nft("flush ruleset\n" + render(ruleset))
    before = _listed()
    tables = read_tables()
    assert altered(tables, ruleset, Host(), nftables) == frozenset()
    assert altered_by_name(tables, Host(), Path("/nowhere")) == frozenset()
    assert misdeclared(tables, ruleset) == frozenset()
    _nft("".join(f"flush {kind} {family.nft} {TABLE} {name}\n" for family, kind, name in fixed))

    names = {(family, name) for family, _, name in fixed}
    assert altered(read_tables(), ruleset, Host(), nftables) == names
    assert altered_by_name(read_tables(), Host(), Path("/nowhere")) == names
    reloaded = reload_sets(ruleset, names, nftables)

    assert isinstance(reloaded, tuple)
    assert set(reloaded) == names
    assert _listed() == before


def _listed() -> list[str]:
    """Our tables as the kernel shows them, elements one a line."""
    done = [_run("--debug=netlink", "list", "table", family.nft, TABLE) for family in FAMILIES]
    return sorted("".join(done).replace("\telement", "\n\telement").splitlines())


def _nft(script: str) -> None:
    _run("-f", "-", text=script)


def _run(*arguments: str, text: str = "") -> str:
    command = ["/usr/sbin/nft", *arguments]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True).stdout
