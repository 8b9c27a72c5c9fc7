"""An apply that is answered from the last one says and leaves what it would if it had compiled everything."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hostfw.control.handlers import handle
from hostfw.control.messages import Apply, InForceNow, Reply
from hostfw.engine.apply.asked import Asked
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.reading.status import compared
from hostfw.host.lock import WriterLock
from hostfw.host.network.sockets.sockets import Connection, ConnectionState
from hostfw.host.nftables.sets.set_reloading import Contents
from hostfw.host.store.answers import forget_answer, load_answer
from hostfw.host.store.generations.active import load_active
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.values import FAMILIES, TCP, Family
from hostfw.nft.declarations import SetName
from hostfw.nft.objects import ElementType
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeClock, FakeConntrack
from tests.property.test_edits import Edit, edits

LO, ETH0, ETH1 = (Interface(name, place) for place, name in enumerate(("lo", "eth0", "eth1"), 1))
HOSTS = (
    HostFacts("host", (LO, ETH0)),
    HostFacts("host", (LO, ETH0, ETH1)),
    HostFacts("host", (LO, Interface("eth9", 2), ETH1)),
    HostFacts("other", (LO, ETH0)),
)
_FORGOTTEN = Connection(Family.V4, TCP.number, 0x0A000001, 22, 0x0A000002, 40000, True, ConnectionState.ESTABLISHED, 7)
_EXPIRING = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: visitors, annotations: {hostfw.io/expires: "2030-01-01T02:00:00Z"}}
spec: {selector: all(), ingress: [{action: Allow, protocol: TCP, destination: {ports: [8443]}}]}
"""
_FEED = "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: bad, labels: {net: office}}\nspec: {path: bad.txt}\n"


class _Kernel(FakeKernel):
    """A kernel that knows which interface indices its sets hold."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[SetName, tuple[int, ...]] = {}

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Note what sets of indices get."""
        super().reload_sets(contents)
        for family, one in contents:
            if one.type is ElementType.IFINDEX:
                self.links[family, one.name] = tuple(index for index in one.elements if isinstance(index, int))

    def read_links(self, names: Iterable[SetName]) -> Mapping[SetName, tuple[int, ...]]:
        """The indices that sets hold."""
        there = {(family, one.name) for family in FAMILIES for one in self.read_tables().of(family).sets}
        return {name: self.links.get(name, ()) for name in names if name in there}


@dataclass(slots=True)
class _Place:
    """A host on which commands run by themselves, with or without answers of the last one."""

    root: Path
    answers: bool
    etc: Path
    facts: HostFacts = HOSTS[0]
    kernel: _Kernel = field(default_factory=_Kernel)
    clock: FakeClock = field(default_factory=FakeClock)
    conntrack: FakeConntrack = field(default_factory=FakeConntrack)
    announced: list[object] = field(default_factory=list)
    answered: int = 0

    @property
    def directories(self) -> Directories:
        return Directories(self.etc, self.root / "var", self.root / "run")

    def apply(self, asked: Asked) -> Reply:
        if not self.answers:
            forget_answer(self.directories.run)
        return handle(Engine(self.directories, self._host()), Apply(None, asked=asked))

    def _host(self) -> Host:
        return Host(
            lambda _node: self.facts,
            self.kernel.read_tables,
            lambda _keep_open: self.kernel,
            WriterLock,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            uptime=self.clock.uptime,
            boot_id=lambda: "boot",
            read_names=self.kernel.read_names,
            read_some=self.kernel.read_some,
            read_digests=self.kernel.read_digests,
            read_links=self.kernel.read_links,
            read_generation=self.kernel.read_generation,
            read_block=lambda: None,
            announce=self.announced.append,
            conntrack=self.conntrack,
            host_name=lambda: self.facts.node,
        )

    def compared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Drift as it is told from the record that all was compared, and by comparing everything."""
        record, _ = load_active(self.directories.run)
        short = None if record is None else replace(record, chains=(), sets=None)
        whole = None if record is None else replace(record, compared=False, kernel_generation=-1)
        return tuple(compared(self.directories, self._host(), one)[1] for one in (short, whole))  # type: ignore[return-value]

    def left(self) -> dict[str, object]:
        """Everything that an apply leaves, but for where it is and what it is answered from."""
        files = {
            str(path.relative_to(self.root)): path.read_bytes().replace(bytes(self.root), b"")
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name != "answer.json" and "decoded" not in path.parts
        }
        tables = self.kernel.read_tables()
        held = [
            (
                sorted((chain.name, str(chain.base), chain.digest or "") for chain in table.chains),
                sorted(one.name for one in table.sets),
                sorted(counter.name for counter in table.counters),
            )
            for table in map(tables.of, FAMILIES)
        ]
        return {**files, "kernel": (held, self.kernel.links, self.conntrack.entries), "announced": self.announced}


@contextmanager
def _places() -> Iterator[tuple[_Place, _Place]]:
    """Two hosts with one configuration: one that answers from the last time, and one that never does."""
    with TemporaryDirectory(prefix="hostfw-unchanged-") as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        for name in "ab":
            (root / name / "run").mkdir(parents=True)
        yield _Place(root / "a", True, root / "etc"), _Place(root / "b", False, root / "etc")


def _edit(etc: Path, edit: Edit) -> None:
    name, text = edit
    path = etc / name
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _meddle(place: _Place) -> None:
    chain = next((one.name for one in place.kernel.read_tables().ip.chains if one.base is None), None)
    if chain is not None:
        place.kernel.meddle(f"flush chain ip hostfw {chain}\n")


def _another(place: _Place) -> None:
    place.kernel.generation += 1


def _forget(place: _Place) -> None:
    place.conntrack.sockets.append(_FORGOTTEN)


def _damage(place: _Place) -> None:
    for path in (place.root / "var").glob("generations/*/parts/*"):
        path.write_text("{")


def _lose_record(place: _Place) -> None:
    (place.root / "run/generation.json").unlink(missing_ok=True)


def _pass_time(place: _Place) -> None:
    place.clock.sleep(3600)


_events = st.sampled_from((None, None, None, _meddle, _another, _forget, _damage, _lose_record, _pass_time))
_more = st.sampled_from(
    (("visitors.yaml", _EXPIRING), ("visitors.yaml", None), ("feed.yaml", _FEED), ("feed.yaml", None))
)
_steps = st.lists(
    st.tuples(
        st.one_of(st.just(()), st.just(()), edits.map(tuple), st.tuples(_more)),
        st.sampled_from((HOSTS[0], HOSTS[0], *HOSTS)),
        _events,
        st.sampled_from((Asked.APPLY, Asked.APPLY, Asked.RELOAD)),
    ),
    min_size=3,
    max_size=10,
)
_Step = tuple[tuple[Edit, ...], HostFacts, Callable[[_Place], None] | None, Asked]


@pytest.mark.timeout(900)
@settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    max_examples=max(settings().max_examples // 2, 3),
)
@given(steps=_steps)
def test_an_answer_is_what_the_long_way_says_and_leaves(steps: list[_Step]) -> None:
    """Whatever happened before to files, interfaces, the host's name, the kernel, connections and what is stored."""
    with _places() as places:
        short, _ = places
        _edit(short.etc, ("bad.txt", "192.0.2.1\n"))
        for made, facts, event, asked in steps:
            for edit in made:
                _edit(short.etc, edit)
            replies = []
            for place in places:
                place.facts = facts
                if event is not None:
                    event(place)
                quick, long = place.compared()
                assert quick == long
                replies.append(place.apply(asked))
            assert replies[0] == replies[1]
            assert places[0].left() == places[1].left()
            for place in places:
                quick, long = place.compared()
                assert quick == long


def test_the_second_apply_of_the_same_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it decode a file; the first is what is in force since."""
    with _places() as (place, _):
        for edit in (
            (
                "e.yaml",
                (
                    "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: up, labels: {a: b}}\n"
                    "spec: {node: host, interfaceName: eth0}\n"
                ),
            ),
            (
                "p.yaml",
                (
                    "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: web}\n"
                    "spec: {selector: all(), ingress: [{action: Allow, protocol: TCP}]}\n"
                ),
            ),
        ):
            _edit(place.etc, edit)
        first = place.apply(Asked.APPLY)
        assert isinstance(first, InForceNow)
        assert load_answer(place.directories.run) is not None

        def never(*_: object, **__: object) -> None:
            raise AssertionError("it was decoded")

        monkeypatch.setattr("hostfw.control.handlers.check_candidate", never)
        place.clock.sleep(60)
        again = place.apply(Asked.APPLY)

        assert isinstance(again, InForceNow)
        assert (again.generation, again.unchanged, again.problems) == (first.generation, True, first.problems)
        record, _ = load_active(place.directories.run)
        assert record is not None
        assert record.id == first.generation
