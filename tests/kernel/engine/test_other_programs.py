"""Another program's hand in our tables in the midst of an apply: in force is what policy says, or it is said."""

import subprocess
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hostfw.build.cache import EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.disable import Disabled, Units, disable
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.deploy.disturbances import WRITTEN_AGAIN
from hostfw.engine.outcomes import Failed, Status
from hostfw.host.nftables.tables import read_tables
from hostfw.host.nftables.writing.script_runner import NftablesWorker, NftResult
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.values import FAMILIES
from hostfw.nft.deletion import Deletion
from lab.namespace import inside, namespace
from tests.kernel.web_policy import web_policy

_MANY_PORTS = web_policy(80) + "".join(
    f"    - {{action: Allow, protocol: TCP, source: {{nets: [10.{n}.0.0/16]}}, destination: {{ports: [{1000 + n}]}}}}\n"
    for n in range(90)
)
_MORE = web_policy(443).replace("eth0", "eth1").replace("uplink", "other").replace("name: web", "name: more")
_MORE = _MORE.replace("role: web", "role: other").replace("'web'", "'other'")


class _Meddler:
    """Does something once, at the moment at which it is told to: before the prepare, or before the turn."""

    def __init__(self, moment: str, command: str) -> None:
        self._moment, self._command = moment, command

    def at(self, moment: str) -> None:
        """The moment has come."""
        if moment == self._moment:
            self._moment = ""
            subprocess.run(["nft", *self._command.split()], check=True)


class _Watched(NftablesWorker):
    """A worker whose moments somebody waits for."""

    def __init__(self, meddler: _Meddler, keep_open: Iterable[int]) -> None:
        super().__init__(keep_open=tuple(keep_open))
        self._meddler = meddler

    def commit(self, script: str) -> NftResult:
        self._meddler.at("prepare")
        return super().commit(script)

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        self._meddler.at("activate")
        super().activate(deletions, generation)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        self._meddler.at("delete")
        super().delete(deletions)
        self._meddler.at("deleted")


_NOBODY = _Meddler("", "")


class _Place:
    """An engine in a namespace of its own, with a memory or without."""

    def __init__(self, root: Path, cache: EngineCache | None) -> None:
        self._root, self._cache = root, cache
        (root / "etc").mkdir()
        (root / "etc" / "hostfw.yaml").write_text("node: host\n")

    def engine(self, meddler: _Meddler = _NOBODY) -> Engine:
        directories = Directories(*(self._root / name for name in ("etc", "var", "run")))
        return Engine(directories, Host(nftables=partial(_Watched, meddler)), cache=self._cache)

    def apply(self, port: int, meddler: _Meddler = _NOBODY) -> object:
        (self._root / "etc" / "policy.yaml").write_text(web_policy(port))
        return self.engine(meddler).apply(check_candidate(*read_configuration(self._root / "etc")))

    def write(self, policy: str, *, apply: bool = True) -> None:
        """Have this for the policy, in force if nothing else is said."""
        (self._root / "etc" / "policy.yaml").write_text(policy)
        assert not apply or isinstance(self.apply_again(), Applied)

    def apply_again(self, meddler: _Meddler = _NOBODY) -> object:
        """Apply what is there."""
        return self.engine(meddler).apply(check_candidate(*read_configuration(self._root / "etc")))

    def disable(self, meddler: _Meddler) -> Disabled | Failed:
        """Remove every rule, where no unit is installed."""
        engine = self.engine(meddler)
        return disable(engine.directories, engine.host, Units(lambda: False))

    def drift(self) -> tuple[str, ...]:
        status = self.engine().status()
        assert isinstance(status, Status)
        return status.drift


@pytest.fixture(params=[False, True], ids=["without a memory", "with a memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Place]:
    """A host that allows port 80."""
    with namespace("host") as node, inside(node):
        made = _Place(tmp_path, EngineCache() if request.param else None)
        assert isinstance(made.apply(80), Applied)
        yield made


def _base_chains() -> list[tuple[str, int, int, str]]:
    """Of each base chain its name, how many rules packets meet, how many stand behind those, and its policy."""
    tables = read_tables()
    return [
        (chain.name, chain.rules or 0, len(chain.base_rules) - (chain.rules or 0), chain.base.policy)
        for family in FAMILIES
        for chain in tables.of(family).chains
        if chain.base is not None
    ]


@pytest.mark.parametrize("moment", ["prepare", "activate"])
@pytest.mark.parametrize(
    "command",
    [
        "insert rule ip hostfw input accept",
        "add rule ip hostfw input accept",
        "flush chain ip hostfw input",
        "add chain ip hostfw input { policy accept; }",
    ],
)
def test_what_another_hand_did_to_a_base_chain_is_gone_with_the_switch(
    place: _Place, moment: str, command: str
) -> None:
    """Whatever it put there, wherever it stands."""
    before = _base_chains()

    applied = place.apply(443, _Meddler(moment, command))

    assert isinstance(applied, Applied), applied
    assert _base_chains() == before
    assert place.drift() == ()


@pytest.mark.parametrize("moment", ["prepare", "activate"])
def test_what_another_program_does_in_its_own_table_hinders_nobody(place: _Place, moment: str) -> None:
    """Nor is it touched."""
    before = _base_chains()

    applied = place.apply(443, _Meddler(moment, "add table ip theirs"))

    assert isinstance(applied, Applied), applied
    assert _base_chains() == before
    assert place.drift() == ()
    subprocess.run(["nft", "delete", "table", "ip", "theirs"], check=True)


@pytest.mark.parametrize("moment", ["prepare", "activate"])
def test_elements_that_are_changed_in_the_midst_of_an_apply_are_told_of(place: _Place, moment: str) -> None:
    """The record must not hide them: nobody looks at elements while nftables stands still."""
    place.write(_MANY_PORTS)
    (name,) = {one.name for one in read_tables().ip.sets if "/ports." in one.name}
    place.write(f"{_MANY_PORTS}---\n{_MORE}", apply=False)

    applied = place.apply_again(_Meddler(moment, f"delete element ip hostfw {name} {{ 1050 }}"))

    assert isinstance(applied, Applied)
    assert WRITTEN_AGAIN in applied.warnings
    assert place.drift() == ()
    (name,) = {one.name for one in read_tables().ip.sets if "/ports." in one.name}
    subprocess.run(["nft", "get", "element", "ip", "hostfw", name, "{ 1050 }"], check=True)


@pytest.mark.parametrize("command", ["delete table ip hostfw", "flush ruleset"])
def test_where_the_tables_are_gone_they_are_made_anew_and_it_is_said(place: _Place, command: str) -> None:
    """Nothing that is left is called in force, and what was asked for is."""
    before = _base_chains()

    applied = place.apply(443, _Meddler("activate", command))

    assert isinstance(applied, Applied)
    assert WRITTEN_AGAIN in applied.warnings
    assert sorted(_base_chains()) == sorted(before)
    assert place.drift() == ()


@pytest.mark.parametrize(
    ("moment", "command"),
    [
        ("delete", "flush ruleset"),
        ("delete", "delete table ip hostfw"),
        ("delete", "delete table ip6 hostfw"),
        ("delete", "add rule ip hostfw input accept"),
        ("deleted", "add table ip hostfw"),
        ("deleted", "add table ip6 hostfw"),
    ],
)
def test_no_rule_is_left_although_another_program_is_at_them(place: _Place, moment: str, command: str) -> None:
    """Its own removals are no reason to fail, and what it put back goes as well."""
    done = place.disable(_Meddler(moment, command))

    assert isinstance(done, Disabled), done
    tables = read_tables()
    assert not any(tables.of(family).exists for family in FAMILIES)
    assert "the tables ip hostfw and ip6 hostfw are removed" in done.steps or WRITTEN_AGAIN in done.steps


def test_a_base_chain_of_another_hand_is_never_taken_for_ours(place: _Place) -> None:
    """It decides beside ours, so it is reported, and the next apply takes it away."""
    chain = "add chain ip hostfw theirs { type filter hook input priority -5; policy accept; }"
    before = _base_chains()

    place.apply(443, _Meddler("activate", chain))

    assert place.drift() == ("table ip hostfw: chain theirs is not ours",)
    assert isinstance(place.apply(443), Applied)
    assert _base_chains() == before
    assert place.drift() == ()
