"""However one came to a configuration, what is in force is what a fresh host would have: the way leaves no trace."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.host.lock import WriterLock
from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import Nftables, NftablesWorker
from hostfw.host.store.configuration.files import read_configuration
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.values import FAMILIES
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeConntrack
from lab.namespace import LabError, Namespace, inside, namespace, run

FACTS = HostFacts("host", (Interface("lo", 1, kind="loopback"), Interface("eth0", 2), Interface("eth1", 3)))
_REAL = 6
"""Examples that go to a real kernel, at half a second each."""
_EMPTY = "table ip hostfw\ndelete table ip hostfw\ntable ip6 hostfw\ndelete table ip6 hostfw\n"
_BLOCK = re.compile(r"^\t\w.*?^\t\}$", re.MULTILINE | re.DOTALL)
_UNUSED = re.compile(r"chain \S+ \{\n[^\n]*hook[^\n]*\n\t\}\Z")

Edit = tuple[str, str | None]
"""A file below the configuration directory and its new text, or None where it is removed."""

# ------------------------------------------------------------------------------------------------------------- files


def _manifests(*documents: tuple[str, str, object]) -> str:
    """Documents of a kind, a name and a spec; `labels` among its fields are those of the metadata."""
    texts = []
    for kind, name, fields in documents:
        spec = dict(fields) if isinstance(fields, Mapping) else {}
        metadata: dict[str, object] = {"name": name}
        if "labels" in spec:
            metadata["labels"] = spec.pop("labels")
        texts.append({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})
    return yaml.safe_dump_all(texts)


def _endpoint(interface: str, role: str) -> Mapping[str, object]:
    return {"labels": {"role": role}, "node": "host", "interfaceName": interface, "profiles": ["base"]}


_PROFILE = ("Profile", "base", {"labelsToApply": {"zone": "a"}, "egress": [{"action": "Allow"}]})
ENDPOINTS = tuple(
    _manifests(_PROFILE, *((("HostEndpoint", f"e{number}", _endpoint(*one))) for number, one in enumerate(endpoints)))
    for endpoints in (
        [("eth0", "web")],
        [("eth0", "web"), ("eth1", "db")],
        [("*", "web"), ("eth1", "db")],
        [("eth1", "web"), ("lo", "db")],
    )
)
SETS = tuple(
    _manifests(("GlobalNetworkSet", "office", {"labels": {"net": "office"}, "nets": nets}))
    for nets in (
        ["10.0.0.0/8", "fd00::/8"],
        ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "2001:db8::1"],
        [f"198.51.{third}.{fourth}" for third, fourth in product(range(3), range(200))],
        [],
    )
)
SETTINGS = (
    "denyAction: reject\n",
    "failsafe: {inbound: []}\nunmanagedInterfaces: {egress: deny}\n",
    "neighbourDiscovery: policed\n",
)

_sides = st.sampled_from(
    ({}, {"selector": "net == 'office'"}, {"notSelector": "net == 'office'"}, {"nets": ["10.0.0.0/8"]})
)
_ports = st.lists(st.sampled_from((22, 80, 443, "8000:8100")), min_size=1, max_size=3, unique_by=str)
_rules = st.builds(
    lambda action, source, ports: {
        "action": action,
        "protocol": "TCP",
        "source": source,
        "destination": {"ports": ports},
    },
    st.sampled_from(("Allow", "Deny", "Log", "Pass")),
    _sides,
    _ports,
)
_kinds = st.sampled_from(
    (
        {},
        {},
        {"applyOnForward": True},
        {"applyOnForward": True, "doNotTrack": True},
        {"applyOnForward": True, "preDNAT": True},
    )
)


@st.composite
def _policies(draw: st.DrawFn, name: str) -> str:
    """A file with a policy in a tier of its own, so that it is valid beside every other."""
    spec = {
        "tier": name,
        "order": draw(st.sampled_from((1, 2, 3))),
        "selector": draw(st.sampled_from(("all()", "role == 'web'", "role == 'db'", "zone == 'a'"))),
        "ingress": draw(st.lists(_rules, max_size=3)),
        **draw(_kinds),
    }
    kind = draw(st.sampled_from(("GlobalNetworkPolicy", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy")))
    tier = {"order": draw(st.sampled_from((1, 2))), "defaultAction": draw(st.sampled_from(("Pass", "Pass", "Deny")))}
    return _manifests((kind, f"policy-{name}", spec), ("Tier", name, tier))


_NAMES = ("a", "b", "c")
_edits = st.one_of(
    st.tuples(st.just("hostfw.yaml"), st.sampled_from((None, *SETTINGS))),
    st.tuples(st.just("10-endpoints.yaml"), st.sampled_from((None, *ENDPOINTS))),
    st.tuples(st.just("sets/office.yml"), st.sampled_from((None, *SETS))),
    *(st.tuples(st.just(f"policies/{name}.yaml"), st.one_of(st.none(), _policies(name))) for name in _NAMES),
    *(st.tuples(st.just(f"policies/{name}.yaml"), _policies(name)) for name in _NAMES),
)
edits = st.lists(_edits, min_size=1, max_size=12)

# ----------------------------------------------------------------------------------------------------------- machines


@dataclass(frozen=True, slots=True)
class _Machine:
    """A host with a configuration directory, and a kernel that is real or a fake."""

    engine: Engine

    def edit(self, edit: Edit) -> None:
        name, text = edit
        path = self.engine.directories.config / name
        if text is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def apply(self) -> Generation:
        applied = self.engine.apply(
            check_candidate(*read_configuration(self.engine.directories.config)), accept_loss=True
        )
        assert isinstance(applied, Applied), applied
        return applied.generation


class _Place(NamedTuple):
    """A network namespace, and nft in it."""

    node: Namespace
    worker: NftablesWorker


@contextmanager
def _machine(host: Host) -> Iterator[_Machine]:
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as root:
        directories = Directories(*(Path(root, name) for name in ("etc", "var", "run")))
        for directory in (directories.config, directories.state, directories.run):
            directory.mkdir()
        yield _Machine(Engine(directories, host))


def _fake_host(kernel: FakeKernel) -> Host:
    return Host(
        lambda _node: FACTS,
        kernel.read_tables,
        lambda _keep_open: kernel,
        WriterLock,
        read_names=kernel.read_names,
        read_sets=kernel.read_sets,
        edit_timed=kernel.edit_timed,
        read_digests=kernel.read_digests,
        read_links=lambda _: {},
        read_block=lambda: None,
        conntrack=FakeConntrack(),
    )


def _real_host(worker: Nftables) -> Host:
    return Host(observe=lambda _node: FACTS, nftables=lambda _keep_open: worker)


def _final(made: Sequence[Edit]) -> tuple[Edit, ...]:
    """The files that are there in the end, last name first."""
    return tuple(sorted(dict(made).items(), reverse=True))


def _content(tables: KernelTables) -> object:
    """Everything that a packet can meet and its counters; an unused base chain stays, empty."""
    return [
        (
            table.exists,
            sorted((c.name, c.base, c.digest) for c in table.chains if c.base is None or c.rules),
            sorted((s.name, s.flags, s.key_bytes) for s in table.sets if not s.is_anonymous),
            sorted(counter.name for counter in table.counters),
        )
        for table in map(tables.of, FAMILIES)
    ]


# -------------------------------------------------------------------------------------------------------------- tests

_health = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@_health
@given(made=edits, applied=st.integers(0, 2**12 - 1))
def test_the_way_to_a_configuration_leaves_no_trace(made: list[Edit], applied: int) -> None:
    """Byte for byte the script is that of a fresh host, and the kernel holds the same, whichever edits were applied."""
    kernel, fresh_kernel = FakeKernel(), FakeKernel()
    with _machine(_fake_host(kernel)) as machine, _machine(_fake_host(fresh_kernel)) as fresh:
        for number, edit in enumerate(made):
            machine.edit(edit)
            if applied >> number & 1:
                machine.apply()
        generation = machine.apply()
        for edit in _final(made):
            fresh.edit(edit)
        expected = fresh.apply()

    assert generation.script == expected.script
    assert generation.id == expected.id
    assert _content(kernel.read_tables()) == _content(fresh_kernel.read_tables())


@_health
@given(made=edits)
def test_what_is_applied_twice_is_sent_once(made: list[Edit]) -> None:
    """The second time nothing is committed."""
    kernel = FakeKernel()
    with _machine(_fake_host(kernel)) as machine:
        for edit in made:
            machine.edit(edit)
        machine.apply()
        committed = list(kernel.committed)
        machine.apply()

    assert kernel.committed == committed


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[_Place, _Place]]:
    """Two network namespaces with an nft worker each: one to edit in, one that is to be fresh."""
    with ExitStack() as stack:
        made = []
        for name in ("edited", "fresh"):
            try:
                node = stack.enter_context(namespace(name))
            except LabError as reason:
                pytest.skip(str(reason))
            with inside(node):
                worker = stack.enter_context(NftablesWorker())
            # The engine would end it after each apply.
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(worker, "close", lambda: None)
            stack.callback(NftablesWorker.close, worker)
            made.append(_Place(node, worker))
        yield made[0], made[1]


@pytest.mark.slow
@settings(_health, max_examples=_REAL)
@given(made=edits, applied=st.integers(0, 2**12 - 1))
def test_a_real_kernel_holds_no_trace_of_the_way_either(
    places: tuple[_Place, _Place], made: list[Edit], applied: int
) -> None:
    """Rules, elements and counters, as nft lists them, are those of a fresh host."""
    listed = []
    for place, edits_of, when in ((places[0], made, applied), (places[1], _final(made), 0)):
        assert place.worker.commit(_EMPTY).ok
        with inside(place.node), _machine(_real_host(place.worker)) as machine:
            for number, edit in enumerate(edits_of):
                machine.edit(edit)
                if when >> number & 1:
                    machine.apply()
            machine.apply()
        listed.append(_listed(place.node))
        assert listed[-1]

    assert listed[0] == listed[1]


def _listed(node: Namespace) -> list[str]:
    """The objects of both tables, each as nft lists it, sorted; but for base chains that are not used any more."""
    text = run(node, ["nft", "--stateless", "list", "ruleset"]).stdout
    return sorted(block for block in _BLOCK.findall(text) if not _UNUSED.search(block))
