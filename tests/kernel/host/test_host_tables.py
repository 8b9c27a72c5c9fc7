"""Raw dumps of our tables against a real kernel."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import uniform
from time import monotonic, sleep

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.host.nftables.nf_tables import BaseHook
from hostfw.host.nftables.tables import (
    KernelTable,
    KernelTables,
    Names,
    read_generation,
    read_names,
    read_some,
    read_tables,
)
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.values import Family
from lab.fakes.fake_kernel.kernel import FakeKernel
from lab.namespace import Namespace, inside, namespace, run

ROOT = Path(__file__).parents[3]

SCRIPT = """\
table ip hostfw {
    counter hits { packets 3 bytes 180 }
    counter spare { }
    set allowed { type ipv4_addr; size 16; elements = { 192.0.2.1 }; }
    set ports { type inet_service; flags interval; elements = { 1-9 }; }
    set seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; size 8; }
    map dispatch { type ifname : verdict; elements = { "lo" : goto leaf }; }
    chain leaf { ip saddr @allowed counter name "hits" accept; }
    chain empty { }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname vmap @dispatch
        tcp dport { 22, 80 } jump empty
        goto leaf comment "the rest"
    }
    chain pre { type filter hook prerouting priority -300; policy accept; }
    chain output { type route hook output priority 5; policy accept; }
}
table ip6 hostfw {
    chain forward { type filter hook forward priority filter; policy accept; }
}
table ip other {
    chain leaf { accept; }
    set allowed { type ipv4_addr; }
    counter hits { }
}
table inet hostfw {
    chain foreign { accept; }
}
"""


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace with `lo` up, which the test is in."""
    with namespace("tables") as made:
        run(made, ["ip", "link", "set", "lo", "up"])
        with inside(made):
            yield made


def load(script: str) -> None:
    """Put a script into force in the namespace that we are in."""
    with NftablesWorker() as nft:
        result = nft.commit(script)
    assert result.ok, result.error


def knock(port: int = 9, count: int = 1) -> None:
    """Send UDP to ourselves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(b"x", ("127.0.0.1", port))


@pytest.mark.usefixtures("place")
def test_some_are_read_as_they_are_among_all(place: Namespace) -> None:  # noqa: ARG001  in its namespace
    """Chains with their rules, sets, maps and counters by name; what is not there is left out, as is all else."""
    load(SCRIPT)
    names = Names(("input", "leaf", "gone"), ("allowed", "dispatch", "gone"), ("hits", "gone"))

    some = read_some({Family.V4: names, Family.V6: Names(("forward",))})

    every = read_tables()
    assert some.generation == every.generation
    assert [c for c in every.ip.chains if c.name in names.chains] == sorted(some.ip.chains, key=lambda c: c.handle)
    assert [s for s in every.ip.sets if s.name in names.sets] == sorted(some.ip.sets, key=lambda s: s.handle)
    assert [counter.name for counter in some.ip.counters] == ["hits"]
    assert some.ip6 == every.ip6


def test_some_of_a_table_that_is_not_there(place: Namespace) -> None:  # noqa: ARG001  in its namespace
    """Then none of it is, although another table has objects of these names."""
    load("table ip other { chain leaf { accept; }; }\n")

    some = read_some({Family.V4: Names(("leaf",))})

    assert not some.ip.exists
    assert some.ip.chains == ()


def test_a_fresh_namespace_has_no_tables_of_ours() -> None:
    """That is an answer, not an error."""
    tables = read_tables()

    assert not tables.ip.exists
    assert not tables.ip6.exists
    assert tables == read_names()


@pytest.mark.usefixtures("place")
def test_everything_but_elements_is_read() -> None:
    """Of our own two tables, whatever else the host has."""
    load(SCRIPT)

    tables = read_tables()

    ip = tables.ip
    assert [(c.name, c.rules) for c in ip.chains] == [
        ("leaf", 1),
        ("empty", 0),
        ("input", 4),
        ("pre", 0),
        ("output", 0),
    ]
    assert [c.base for c in ip.chains] == [
        None,
        None,
        BaseHook("filter", "input", 0, "drop"),
        BaseHook("filter", "prerouting", -300, "accept"),
        BaseHook("route", "output", 5, "accept"),
    ]
    assert sorted((c.name, c.packets, c.bytes) for c in ip.counters) == [("hits", 3, 180), ("spare", 0, 0)]
    named = {item.name: item for item in ip.sets if not item.is_anonymous}
    assert {name: (item.is_map, item.size, item.key_bytes) for name, item in named.items()} == {
        "allowed": (False, 16, 4),
        "ports": (False, None, 2),
        "seen": (False, 8, 4),
        "dispatch": (True, None, 16),
    }
    assert len(ip.sets) == len(named) + 1
    assert tables.ip6.exists
    assert [c.base for c in tables.ip6.chains] == [BaseHook("filter", "forward", 0, "accept")]


@pytest.mark.usefixtures("place")
def test_rules_of_base_chains_tell_where_they_lead() -> None:
    """The way from a hook into the structure below it."""
    load(SCRIPT)

    chain = read_tables().ip.chain("input")

    assert chain is not None
    leads = [(rule.targets, rule.lookups[-1:], rule.comment) for rule in chain.base_rules]
    assert leads[0] == ((), (), "")
    assert leads[1] == ((), ("dispatch",), "")
    assert leads[2][0] == ("empty",)
    assert leads[3] == (("leaf",), (), "the rest")
    assert len({rule.handle for rule in chain.base_rules}) == 4


@pytest.mark.usefixtures("place")
def test_names_alone_are_the_same_names() -> None:
    """With base chains whole, and nothing of the rules of the others."""
    load(SCRIPT)

    names, tables = read_names().ip, read_tables().ip

    assert [c.name for c in names.chains] == [c.name for c in tables.chains]
    assert (names.sets, names.counters) == (tables.sets, tables.counters)
    assert names.chain("input") == tables.chain("input")
    leaf = names.chain("leaf")
    assert leaf is not None
    assert (leaf.rules, leaf.digest) == (None, None)


@pytest.mark.usefixtures("place")
def test_thousands_of_chains_and_rules_are_read_whole() -> None:
    """In many parts, none lost and none twice."""
    chains = {f"chain-with-quite-a-long-name-{i}": i % 5 for i in range(3000)}
    lines = [f"add chain ip hostfw {name}" for name in chains]
    lines += [f"add counter ip hostfw counter-{i}" for i in range(3000)]
    lines += [
        f"add rule ip hostfw {name} ip saddr 192.0.2.{j} accept" for name, rules in chains.items() for j in range(rules)
    ]
    load("add table ip hostfw\n" + "\n".join(lines))

    table = read_tables().ip

    assert {chain.name: chain.rules for chain in table.chains} == chains
    assert len(table.chains) == len(chains)
    assert {counter.name for counter in table.counters} == {f"counter-{i}" for i in range(3000)}
    digests = table.chain_digests
    assert len(set(digests.values())) == 5
    assert digests["chain-with-quite-a-long-name-7"] == digests["chain-with-quite-a-long-name-12"]


@pytest.mark.usefixtures("place")
def test_traffic_does_not_change_digests() -> None:
    """Neither counters nor limits, quotas or dynamic sets."""
    load("""\
table ip hostfw {
    set seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; size 8; }
    chain output {
        type filter hook output priority filter; policy accept;
        counter
        udp dport 9 limit rate 5/second burst 2 packets counter
        udp dport 9 quota 10 mbytes
        update @seen { ip daddr limit rate 1/second burst 1 packets } counter
        ip daddr 127.0.0.1 counter accept
    }
}
""")
    before = read_tables().ip

    knock(count=20)

    after = read_tables().ip
    assert before.chain_digests == after.chain_digests
    assert re.search(r"policy accept;\s+counter packets [1-9]\d", run_nft("list", "chain", "ip", "hostfw", "output"))


def run_nft(*words: str) -> str:
    """The output of nft in the current namespace."""
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "meddling",
    [
        "insert rule ip hostfw leaf accept",
        "add rule ip hostfw leaf accept",
        "flush chain ip hostfw leaf",
        "replace rule ip hostfw leaf handle {handle} ip saddr @allowed counter name hits drop",
        "replace rule ip hostfw leaf handle {handle} ip saddr @allowed counter name spare accept",
        "replace rule ip hostfw leaf handle {handle} ip saddr 192.0.2.1 counter name hits accept",
    ],
)
def test_another_hand_in_a_chain_changes_its_digest(meddling: str) -> None:
    """And that of no other chain."""
    load(SCRIPT)
    before = read_tables().ip.chain_digests
    listed = run_nft("-a", "list", "chain", "ip", "hostfw", "leaf")
    handle = next(line.split()[-1] for line in listed.splitlines() if "@allowed" in line)

    load(meddling.format(handle=handle))

    after = read_tables().ip.chain_digests
    assert {name for name in before if before[name] != after[name]} == {"leaf"}


@pytest.mark.usefixtures("place")
def test_the_same_rules_loaded_again_have_the_same_digest() -> None:
    """Handles differ, what packets meet does not."""
    load(SCRIPT)
    before = read_tables().ip
    load("flush chain ip hostfw leaf\nadd rule ip hostfw leaf ip saddr @allowed counter name hits accept")

    after = read_tables().ip

    assert before.chain_digests == after.chain_digests


@pytest.mark.usefixtures("place")
def test_every_commit_of_anyone_moves_the_generation() -> None:
    """Reading does not."""
    first = read_generation()
    assert read_tables().generation == first

    load("add table ip other")

    second = read_generation()
    assert second > first
    assert read_tables().generation == second


def test_a_namespace_is_read_alone(place: Namespace) -> None:
    """Tables of the next namespace are not ours."""
    load(SCRIPT)
    with namespace("next") as following:
        with inside(following):
            assert not read_tables().ip.exists
        with inside(place):
            assert read_tables().ip.exists


def test_reading_ends_while_others_commit_without_pause(place: Namespace) -> None:
    """A writer of elements in a table of its own, as fast as it can: no read fails, and all say the same."""
    load(SCRIPT)
    load("\n".join(f"add chain ip hostfw filler-{i}" for i in range(500)))
    expected = read_tables().ip
    load("table ip busy {\nset s { type ipv4_addr; }\n}")
    stop = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with inside(place), NftablesWorker() as nft:
            while not stop.is_set():
                verb = "delete" if commits % 2 else "add"
                assert nft.commit(f"{verb} element ip busy s {{ 192.0.2.1 }}").ok
                commits += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        deadline = monotonic() + 20
        reads: list[KernelTable] = []
        while monotonic() < deadline and (commits < 60 or len(reads) < 5):
            reads.append(read_tables().ip)
    finally:
        stop.set()
        writer.join()

    assert commits >= 60
    assert len(reads) >= 5
    assert all(read == expected for read in reads)


def test_a_read_sees_one_generation_of_ours(place: Namespace) -> None:
    """Two chains that are always changed together are never read apart."""
    script = "add chain ip hostfw a\nadd chain ip6 hostfw a\n"
    load(
        "add table ip hostfw\nadd table ip6 hostfw\n" + "\n".join(f"add chain ip hostfw filler-{i}" for i in range(500))
    )
    stop = threading.Event()

    def write() -> None:
        with inside(place), NftablesWorker() as nft:
            while not stop.is_set():
                for verb in ("add", "delete"):
                    assert nft.commit(script.replace("add", verb)).ok
                    sleep(uniform(0, 0.01))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pairs = []
        deadline = monotonic() + 1
        while monotonic() < deadline:
            tables = read_names()
            pairs.append((tables.ip.chain("a") is not None, tables.ip6.chain("a") is not None))
    finally:
        stop.set()
        writer.join()

    assert {one for one, _ in pairs} == {True, False}
    assert all(one is other for one, other in pairs)


def test_reading_without_the_right_is_an_error(place: Namespace) -> None:
    """With what is missing; an unreadable ruleset is no absent one."""
    script = """
import os
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import read_tables
os.setuid(65534)
try:
    read_tables()
except NetlinkError as error:
    print(error.errno, error.message, "|", error.hint)
"""
    answer = run(place, [sys.executable, "-c", script], environment={"PYTHONPATH": str(ROOT)}).stdout

    assert answer == (
        f"{errno.EPERM} reading the generation: {os.strerror(errno.EPERM)} | "
        "this needs root, or the capability CAP_NET_ADMIN\n"
    )


COMMANDS = (
    "add chain ip hostfw a",
    "add chain ip hostfw b",
    "add chain ip hostfw input { type filter hook input priority filter; policy drop; }",
    "add counter ip hostfw k",
    "add set ip hostfw s { type ipv4_addr; size 4; }",
    "add rule ip hostfw a jump b",
    "add rule ip hostfw input goto a",
    "add rule ip hostfw b counter name k",
    "add rule ip hostfw b ip saddr @s accept",
    "flush chain ip hostfw a",
    "flush chain ip hostfw b",
    "flush chain ip hostfw input",
    "flush table ip hostfw",
    "delete chain ip hostfw a",
    "delete chain ip hostfw b",
    "delete set ip hostfw s",
    "delete counter ip hostfw k",
    "add chain ip6 hostfw a",
    "delete chain ip6 hostfw a",
)
transactions = st.lists(st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=4), max_size=12)


def known(tables: KernelTables) -> list[tuple[object, ...]]:
    """The part of the tables that the fake knows as well."""

    def of(table: KernelTable) -> tuple[object, ...]:
        chains = sorted((c.name, c.rules, c.base, tuple(r[1:] for r in c.base_rules)) for c in table.chains)
        return (table.exists, chains, sorted(s.name for s in table.sets), sorted(c.name for c in table.counters))

    return [of(tables.ip), of(tables.ip6)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions)
@pytest.mark.usefixtures("place")
def test_the_fake_kernel_takes_what_the_real_one_takes(scripts: list[list[str]]) -> None:
    """Any transactions, in any order: the same are refused, and the same is there afterwards."""
    fake = FakeKernel()
    with NftablesWorker() as nft:
        nft.commit("add table ip hostfw\nadd table ip6 hostfw\ndelete table ip hostfw\ndelete table ip6 hostfw\n")
        for kernel in (fake, nft):
            assert kernel.commit("add table ip hostfw\nadd table ip6 hostfw\n").ok
        for lines in scripts:
            script = "".join(f"{line}\n" for line in lines)
            real = nft.check(script)
            assert fake.check(script).ok is real.ok, (script, real)
            assert fake.commit(script).ok is nft.commit(script).ok is real.ok, script
            assert known(fake.read_tables()) == known(read_tables())
