"""The fake kernel refuses what nftables refuses; the kernel tier holds the two against each other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hostfw.host.nftables.tables import Tables
from hostfw.host.nftables.writing.script_runner import Nftables, NftFailure, NftResult
from hostfw.host.time import clock
from hostfw.host.time.clock import Clock
from hostfw.model.values import Family
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.fakes.fakes import FakeClock

TABLE = """\
#!/usr/sbin/nft -f

table ip hostfw
flush table ip hostfw

table ip hostfw {
\tcounter hits { }

\tset allowed {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.1 }
\t}

\tmap dispatch {
\t\ttype ifname : verdict
\t\telements = { "eth0" : goto leaf }
\t}

\tchain leaf {
\t\tip saddr @allowed counter name "hits" accept
\t}

\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tiifname vmap @dispatch
\t\tgoto leaf comment "the rest"
\t}
}
"""


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel that holds TABLE."""
    kernel = FakeKernel()
    assert kernel.commit(TABLE).ok
    return kernel


def test_a_script_takes_effect(kernel: FakeKernel) -> None:
    """Everything of it can be read back."""
    table = kernel.read_tables().ip

    assert [chain.name for chain in table.chains] == ["leaf", "input"]
    assert [(item.name, item.is_map) for item in table.sets] == [("allowed", False), ("dispatch", True)]
    assert [counter.name for counter in table.counters] == ["hits"]
    base = table.chain("input")
    assert base is not None
    assert base.base is not None
    assert (base.base.hook, base.base.policy, base.base.priority) == ("input", "drop", 0)
    assert [(r.targets, r.lookups, r.comment) for r in base.base_rules] == [
        ((), ("dispatch",), ""),
        (("leaf",), (), "the rest"),
    ]
    assert not kernel.read_tables().ip6.exists


def test_loading_a_whole_script_again_changes_nothing_but_the_generation(kernel: FakeKernel) -> None:
    """Counters go on counting; only rules are others, with handles of their own."""
    kernel.count(Family.V4, "hits", 5)
    before = kernel.read_tables()

    assert kernel.commit(TABLE).ok

    again = kernel.read_tables().ip
    assert [replace(chain, base_rules=()) for chain in again.chains] == [
        replace(chain, base_rules=()) for chain in before.ip.chains
    ]
    assert replace(again, chains=()) == replace(before.ip, chains=())
    assert kernel.read_generation() == before.generation + 1


@pytest.mark.parametrize(
    ("script", "line", "error"),
    [
        ("add rule ip hostfw nope accept\n", 1, "No such file or directory"),
        ("add chain ip hostfw x\nadd rule ip hostfw x jump nope\n", 2, "No such file or directory: chain nope"),
        ("add rule ip hostfw leaf ip saddr @nope drop\n", 1, "No such file or directory: set nope"),
        ('add rule ip hostfw leaf counter name "nope"\n', 1, "No such file or directory: counter nope"),
        ("delete chain ip hostfw leaf\n", 1, "Device or resource busy"),
        ("delete set ip hostfw allowed\n", 1, "Device or resource busy"),
        ("delete map ip hostfw dispatch\n", 1, "Device or resource busy"),
        ("delete counter ip hostfw hits\n", 1, "Device or resource busy"),
        ("add rule ip6 hostfw input accept\n", 1, "No such file or directory"),
        ("table ip hostfw {\n\tchain a {\n\t\taccept\n\t}\n\tbogus\n}\n", 5, "syntax error: bogus"),
        ("table ip hostfw {\n\tchain a {\n\t\tgoto nope\n\t}\n}\n", 1, "No such file or directory: chain nope"),
        ("bogus\n", 1, "syntax error: bogus"),
        ("flush ruleset\n", 1, "syntax error: flush ruleset"),
        ("table ip nat\n", 1, "the fake has no table ip nat"),
    ],
)
def test_what_nftables_refuses_is_refused_whole(kernel: FakeKernel, script: str, line: int, error: str) -> None:
    """Nothing of the transaction stays, and a check says the same as the commit."""
    before = kernel.read_tables()
    script = "add counter ip hostfw another\n" + script

    result = kernel.commit(script)

    assert result == NftResult(ok=False, error=f"{line + 1}:1-1: Error: {error}\n", line=line + 1, column=1)
    assert kernel.check(script) == result
    assert kernel.read_tables() == before
    assert kernel.committed == [TABLE]


def test_what_nothing_refers_to_can_be_deleted(kernel: FakeKernel) -> None:
    """In the order of a sweep."""
    script = "".join(
        f"{line}\n"
        for line in (
            "flush chain ip hostfw input",
            "flush chain ip hostfw leaf",
            "delete map ip hostfw dispatch",
            "delete chain ip hostfw leaf",
            "delete set ip hostfw allowed",
            "delete counter ip hostfw hits",
        )
    )

    assert kernel.check(script).ok
    assert kernel.commit(script).ok
    table = kernel.read_tables().ip
    assert [chain.name for chain in table.chains] == ["input"]
    assert (table.sets, table.counters) == ((), ())


def test_a_rule_of_its_own_does_not_keep_a_chain(kernel: FakeKernel) -> None:
    """nf_tables removes the rules of a chain that is deleted."""
    assert kernel.commit("add chain ip hostfw a\nadd rule ip hostfw a jump leaf\n").ok
    assert kernel.commit("delete chain ip hostfw a\n").ok


def test_another_hand_shows_in_the_digest(kernel: FakeKernel) -> None:
    """But not among what was committed."""
    before = kernel.read_tables().ip.chain_digests

    assert kernel.meddle("add rule ip hostfw leaf accept\n").ok

    after = kernel.read_tables().ip.chain_digests
    assert before["leaf"] != after["leaf"]
    assert before["input"] == after["input"]
    assert kernel.committed == [TABLE]


def test_failures_are_given_out_one_a_request(kernel: FakeKernel) -> None:
    """The fake fails as a worker may, without a worker."""
    kernel.failures.extend((NftResult(ok=False, error="busy"), NftFailure("the worker died", unchanged=False)))

    assert kernel.check("").error == "busy"
    with pytest.raises(NftFailure, match="the worker died"):
        kernel.commit("add counter ip hostfw late\n")
    assert kernel.commit("add counter ip hostfw late\n").ok


def test_names_alone_are_names_and_base_chains(kernel: FakeKernel) -> None:
    """As the kernel's reader gives them."""
    names = kernel.read_names().ip

    assert [(chain.name, chain.rules) for chain in names.chains] == [("leaf", None), ("input", 2)]


def test_a_fake_clock_moves_when_it_is_told() -> None:
    """Both of its times together."""
    fake = FakeClock()
    started = fake.now()
    fake.wait(90)

    assert fake.now() - started == timedelta(seconds=90)
    assert fake.monotonic() == 90


def test_fakes_and_real_ones_have_the_same_shape() -> None:
    """The type checker holds this; the real clock is in UTC."""
    kernel = FakeKernel()
    nftables: Nftables = kernel
    tables: Tables = kernel
    clocks: tuple[Clock, ...] = (FakeClock(), clock)

    nftables.close()
    assert kernel.closed
    assert tables.read_generation() == 1
    assert all(one.now().utcoffset() == timedelta(0) for one in clocks)
