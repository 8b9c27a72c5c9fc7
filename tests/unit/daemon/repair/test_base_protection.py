"""Base protection: the script that is sent, and what is read back before it says that the host is protected."""

import pytest

from hostfw.daemon.repair.base_protection import BaseProtection
from hostfw.engine.kernel.state.installed import unprotected
from hostfw.engine.outcomes import Failed
from hostfw.engine.reconcile import build_base_protection
from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.settings import Settings, Workloads
from hostfw.model.values import Cidr, Family
from lab.fakes.fake_kernel.kernel import FakeKernel

SCRIPT = build_base_protection(Settings(), HostFacts("host")).script


LATER = "{ type filter hook input priority 5; policy drop; }"


def _anew(spec: str) -> str:
    return f"delete chain ip hostfw input\nadd chain ip hostfw input {spec}"


class _Deaf(FakeKernel):
    """A kernel that says yes and does nothing."""

    def commit(self, script: str) -> NftResult:
        """Forget the script."""
        self.committed.append(script)
        return NftResult(ok=True)


def _base_protection(kernel: FakeKernel) -> BaseProtection:
    base_protection = BaseProtection(kernel, kernel.read_tables)
    base_protection.make_ready(SCRIPT)
    return base_protection


def test_no_workload_is_open_by_base_protection() -> None:
    """A container that no policy selects is open, and no policy is there now."""
    settings = Settings(workloads=Workloads(interfaces=("ve-*",)))
    networks = (Cidr(Family.V4, 10 << 24 | 2, 32),)
    web = WorkloadEndpoint(Metadata("web", namespace="shop"), "ve-web", networks, "host", orchestrator="docker")
    interfaces = (Interface("lo", 1, kind="loopback"), Interface("ve-web", 2, kind="veth"))

    with_it, without = (
        build_base_protection(settings, HostFacts("host", interfaces, workloads=workloads))
        for workloads in ((web,), ())
    )

    assert with_it.ruleset == without.ruleset


@pytest.mark.parametrize(
    ("name", "tampering"),
    [
        ("gone", "delete table ip hostfw"),
        ("dormant", "add table ip hostfw { flags dormant; }"),
        ("accepting", "add chain ip hostfw input { type filter hook input priority filter; policy accept; }"),
        ("elsewhere", _anew("{ type filter hook forward priority 5; policy drop; }")),
        ("nowhere", "delete chain ip hostfw output\nadd chain ip hostfw output"),
        ("later, and dormant", f"{_anew(LATER)}\nadd table ip hostfw {{ flags dormant; }}"),
    ],
)
def test_base_protection_stands_whatever_was_done(name: str, tampering: str) -> None:
    """And nothing of what was made in its place is left."""
    kernel = FakeKernel()
    kernel.commit(SCRIPT)
    before = [chain.name for chain in kernel.read_tables().ip.chains]
    assert kernel.meddle(f"{tampering}\n").ok
    assert unprotected(kernel.read_tables()), name

    assert _base_protection(kernel).protect() is None

    assert unprotected(kernel.read_tables()) == ()
    assert sorted(chain.name for chain in kernel.read_tables().ip.chains) == sorted(before)


def test_what_was_not_read_back_is_not_called_protected() -> None:
    """Although nft said that it was done."""
    failed = _base_protection(_Deaf()).protect()

    assert isinstance(failed, Failed)
    assert failed.message == "base protection is not in force: table ip hostfw is gone"


def test_what_the_script_cannot_be_sent_over_goes() -> None:
    """As a table in which another program gave a set of ours another declaration, which no script changes."""
    kernel = FakeKernel()
    kernel.commit(SCRIPT)
    assert kernel.meddle("add rule ip hostfw input accept\n").ok
    kernel.failures.append(NftResult(ok=False, error="File exists\n"))

    assert _base_protection(kernel).protect() is None

    assert f"delete table ip hostfw\ndelete table ip6 hostfw\n{SCRIPT}" in kernel.committed
    assert unprotected(kernel.read_tables()) == ()


def test_a_script_that_nft_refuses_is_told_of() -> None:
    """With what nft says."""
    kernel = FakeKernel()
    kernel.failures.extend([NftResult(ok=False, error="no\n")] * 2)

    failed = _base_protection(kernel).protect()

    assert isinstance(failed, Failed)
    assert failed.message == "nft refused base protection: no"
