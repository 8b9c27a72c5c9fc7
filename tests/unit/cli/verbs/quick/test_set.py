"""`set` on a host in memory: the work that a change of one member takes, whatever else is in force."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from hostfw.host.nftables.tables import KernelTables
from hostfw.host.nftables.writing.script_runner import Nftables, NftResult
from hostfw.host.store.generations.active import load_active
from hostfw.model.plan import Member
from hostfw.model.values import Cidr, Family
from lab.fakes.fake_kernel.kernel import FakeKernel
from tests.unit.cli_runs import UPLINK, Machine, machine

BANS = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bans, labels: {list: bans}}
spec: {external: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: bans}
spec:
  selector: role == 'web'
  ingress:
  - {action: Deny, protocol: TCP, source: {selector: list == 'bans'}, destination: {ports: [80]}}
"""
SETS = "---\n".join(
    f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: office-{number}, labels: {{list: office}}}}
spec: {{nets: [10.0.{number}.0/24]}}
"""
    for number in range(40)
)


class Looks(FakeKernel):
    """A kernel that counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = self.sets = 0

    def read_tables(self) -> KernelTables:
        """Everything but elements."""
        self.whole += 1
        return super().read_tables()

    def read_names(self) -> KernelTables:
        """The same, but of regular chains only their names."""
        self.whole += 1
        return super().read_names()

    def read_sets(self) -> KernelTables:
        """The sets and maps alone."""
        self.sets += 1
        return super().read_sets()


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    host = machine(tmp_path, monkeypatch)
    host.kernel = Looks()
    host.write(uplink=UPLINK, bans=BANS, sets=SETS)
    assert host.hostfwctl("apply").status == 0
    return host


def test_a_status_after_it_reads_no_more_than_before(host: Machine) -> None:
    """Members that we changed ourselves leave rules alone, and so the record holds; a commit of another ends that."""

    def is_as_recorded() -> bool:
        record, _ = load_active(host.directory / "run")
        return record is not None and record.kernel_generation == host.kernel.generation

    for member in ("192.0.2.7", "192.0.2.0/28", "192.0.2.8"):
        host.hostfwctl("set", "add", "bans", member)
        assert is_as_recorded()

    host.kernel.generation += 1
    assert not is_as_recorded()
    host.hostfwctl("set", "add", "bans", "192.0.2.200")
    assert not is_as_recorded()


def test_an_address_is_put_in_without_a_look_at_policies_and_without_libnftables(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains and counters of 10,000 policies take a second to read, and libnftables reads them as well."""
    kernel = host.kernel
    assert isinstance(kernel, Looks)

    def started(_: Machine, _keep_open: Sequence[int]) -> Nftables:
        raise AssertionError("a worker with libnftables was started")

    monkeypatch.setattr(Machine, "nftables", started)
    kernel.whole = kernel.sets = 0

    added = host.hostfwctl("set", "add", "bans", "192.0.2.7", "2001:db8::7", "for", "1h")

    assert (added.status, kernel.whole) == (0, 0)
    assert kernel.sets <= 2
    assert kernel.committed[-1] == (
        "add element ip hostfw external/bans { 192.0.2.7 timeout 3600s }\n"
        "add element ip6 hostfw external/bans { 2001:db8::7 timeout 3600s }\n"
    )


def test_a_prefix_goes_through_libnftables(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows how each kernel wants ranges that end."""
    scripts: list[str] = []

    def commit(script: str) -> NftResult:
        scripts.append(script)
        return NftResult(ok=True)

    monkeypatch.setattr(host.kernel, "commit", commit)

    assert host.hostfwctl("set", "add", "bans", "192.0.2.0/24", "for", "1h").status == 0

    assert scripts == ["add element ip hostfw external-nets/bans { 192.0.2.0/24 timeout 3600s }\n"]


def test_sets_are_listed_by_one_look_at_the_kernels_sets(host: Machine) -> None:
    """Forty sets of files are not looked for in the kernel, and nothing else of it is read."""
    kernel = host.kernel
    assert isinstance(kernel, Looks)
    host.members[Family.V4, "external/bans"] = (Member(Cidr(Family.V4, 0xC0000207, 32), 60.0),)
    kernel.whole = kernel.sets = 0

    listed = host.hostfwctl("set", "list")

    assert (kernel.whole, kernel.sets) == (0, 1)
    rows = [line.split()[:2] for line in listed.out.splitlines()[1:]]
    assert sorted(rows) == sorted([["bans", "1"], *([f"office-{number}", "1"] for number in range(40))])
