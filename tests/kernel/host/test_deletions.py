"""Deletions by netlink, against a real kernel."""

import subprocess
from collections.abc import Iterator
from time import monotonic

import pytest

from hostfw.host.netlink.batch import BatchSocket
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.tables import read_generation, read_tables
from hostfw.host.nftables.writing.deletions import delete
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.values import Family
from hostfw.nft.deletion import Deletion, DeletionKind
from lab.namespace import Namespace, inside, namespace

V4, V6 = Family.V4, Family.V6
SCRIPT = """\
table ip hostfw {
    counter hits { }
    counter spare { }
    set hosts { type ipv4_addr; size 4; elements = { 192.0.2.1 }; }
    map doors { type ifname : verdict; elements = { "lo" : goto leaf }; }
    chain leaf { ip saddr @hosts counter name "hits" accept; }
    chain input { type filter hook input priority filter; policy accept; }
}
table ip6 hostfw {
    chain leaf { accept; }
}
table ip other {
    chain leaf { accept; }
}
"""
EVERYTHING = (
    Deletion(V4, DeletionKind.RULES, "leaf"),
    Deletion(V4, DeletionKind.MAP, "doors"),
    Deletion(V4, DeletionKind.CHAIN, "leaf"),
    Deletion(V4, DeletionKind.SET, "hosts"),
    Deletion(V4, DeletionKind.COUNTER, "hits"),
    Deletion(V6, DeletionKind.RULES, "leaf"),
)


@pytest.fixture(autouse=True)
def place() -> Iterator[Namespace]:
    """A namespace that holds `SCRIPT`, which the test is in."""
    with namespace("deletions") as made, inside(made):
        load(SCRIPT)
        yield made


@pytest.fixture
def batches() -> Iterator[BatchSocket]:
    """Sends in the namespace of the test."""
    made = BatchSocket(60)
    yield made
    made.close()


def load(script: str) -> None:
    """Put a script into force in the namespace that we are in."""
    with NftablesWorker() as nft:
        result = nft.commit(script)
    assert result.ok, result.error


def test_elements_go_and_leave_their_set_or_map(batches: BatchSocket) -> None:
    """Also while rules look them up."""
    delete(batches, (Deletion(V4, DeletionKind.ELEMENTS, "hosts"), Deletion(V4, DeletionKind.ELEMENTS, "doors")))

    listed = subprocess.run(["nft", "list", "table", "ip", "hostfw"], capture_output=True, text=True, check=True).stdout
    assert ("set hosts {" in listed, "map doors {" in listed, "elements" in listed) == (True, True, False)


def test_every_kind_of_object_goes_in_one_transaction(batches: BatchSocket) -> None:
    """Those named and no others."""
    before = read_generation()
    delete(batches, EVERYTHING)

    tables = read_tables()
    assert tables.generation == before + 1
    assert [chain.name for chain in tables.ip.chains] == ["input"]
    assert (tables.ip.sets, [counter.name for counter in tables.ip.counters]) == ((), ["spare"])
    assert [(chain.name, chain.rules) for chain in tables.ip6.chains] == [("leaf", 0)]


def test_a_rule_goes_by_its_handle(batches: BatchSocket) -> None:
    """Packets meet the rules behind it; a missing handle is refused, and the next deletion works."""
    load("add rule ip hostfw input accept\nadd rule ip hostfw input drop\n")
    chain = read_tables().ip.chain("input")
    assert chain is not None
    first, second = (Deletion(V4, DeletionKind.RULE, "input", rule.handle) for rule in chain.base_rules)

    delete(batches, (first,))
    with pytest.raises(NetlinkError, match=f"{first}: it is gone"):
        delete(batches, (second, first))

    chain = read_tables().ip.chain("input")
    assert chain is not None
    assert [rule.handle for rule in chain.base_rules] == [second.handle]
    delete(batches, (second,))


def test_a_table_goes_with_all_that_is_in_it(batches: BatchSocket) -> None:
    """The tables of others stay."""
    delete(batches, (Deletion(V4, DeletionKind.TABLE), Deletion(V6, DeletionKind.TABLE)))

    tables = read_tables()
    assert not tables.ip.exists
    assert not tables.ip6.exists
    load("add rule ip other leaf drop\n")


@pytest.mark.parametrize(
    ("deletions", "message", "hint"),
    [
        (
            (Deletion(V4, DeletionKind.COUNTER, "spare"), Deletion(V4, DeletionKind.CHAIN, "nope"), EVERYTHING[1]),
            "delete chain ip hostfw nope: it is gone",
            "another program changes our tables",
        ),
        (
            (Deletion(V4, DeletionKind.COUNTER, "spare"), Deletion(V4, DeletionKind.SET, "hosts")),
            "delete set ip hostfw hosts: it is in use",
            "another program changes our tables",
        ),
        (
            (Deletion(V4, DeletionKind.RULES, "leaf"), Deletion(V4, DeletionKind.CHAIN, "leaf")),
            "delete chain ip hostfw leaf: it is in use",
            "another program changes our tables",
        ),
    ],
)
def test_what_is_refused_is_refused_whole_and_named(
    batches: BatchSocket, deletions: tuple[Deletion, ...], message: str, hint: str
) -> None:
    """By the first that the kernel will not delete."""
    before = read_tables()
    with pytest.raises(NetlinkError) as refused:
        delete(batches, deletions)

    assert (refused.value.message, refused.value.hint) == (message, hint)
    assert read_tables() == before


def test_more_refusals_than_a_socket_holds_name_the_first(batches: BatchSocket) -> None:
    """As when somebody flushes the ruleset in front of a large sweep."""
    gone = [Deletion(V4, DeletionKind.CHAIN, f"c{number}") for number in range(20_000)]

    with pytest.raises(NetlinkError, match="delete chain ip hostfw c0: it is gone"):
        delete(batches, gone)


def test_nothing_to_delete_sends_nothing(batches: BatchSocket) -> None:
    """Not even an empty transaction."""
    before = read_generation()
    delete(batches, ())

    assert read_generation() == before


def test_twenty_thousand_objects_go_at_once(batches: BatchSocket) -> None:
    """As many as a sweep after a change of everything may have."""
    count = 10_000
    load(
        "".join(f"add counter ip hostfw c{n}\n" for n in range(count))
        + "".join(f"add chain ip hostfw c{n} {{ counter name c{n}\n}}\n" for n in range(count))
    )
    kinds = ((DeletionKind.RULES, "c"), (DeletionKind.CHAIN, "c"), (DeletionKind.COUNTER, "c"))
    deletions = [Deletion(V4, what, f"{name}{n}") for what, name in kinds for n in range(count)]

    start = monotonic()
    delete(batches, deletions)
    spent_s = monotonic() - start

    assert len(read_tables().ip.chains) == 2
    assert spent_s < 2
