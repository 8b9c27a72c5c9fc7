"""The kernel's messages about transactions, by any sender, and their meaning for our tables."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from select import select
from time import monotonic

import pytest

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.events import NAMES, NftEvents
from hostfw.host.nftables.sets.elements import Keys, add_elements
from hostfw.host.nftables.tables import read_generation
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.host.nftables.writing.transactions import NftNews, Touched, Transaction, What
from hostfw.model.values import Family
from lab.namespace import inside, namespace, run

V4, V6 = Family.V4, Family.V6
OURS = """\
table ip hostfw {
    counter hits { }
    set hosts { type ipv4_addr; size 1048576; elements = { 192.0.2.1, 192.0.2.2, 192.0.2.3 }; }
    map doors { type ifname : verdict; elements = { "lo" : goto leaf }; }
    chain leaf { ip saddr @hosts counter name "hits" accept; }
    chain spare { }
    chain input { type filter hook input priority filter; policy accept; iifname vmap @doors; goto leaf; }
}
table ip6 hostfw {
    chain leaf { accept; }
}
table ip other {
    set hosts { type ipv4_addr; }
    chain leaf { accept; }
}
"""


@pytest.fixture
def listener() -> Iterator[NftEvents]:
    """A listener in a namespace of its own that holds `OURS`, which it has not been told."""
    with namespace("events") as made:
        run(made, ["ip", "link", "set", "lo", "up"])
        with inside(made):
            nft(OURS)
            with NftEvents() as events:
                yield events


def nft(script: str) -> None:
    """Let nft itself commit a script in the namespace that we are in."""
    subprocess.run(["/usr/sbin/nft", "-f", "-"], input=script, text=True, check=True)


def received(events: NftEvents) -> NftNews:
    """Everything that there is to hear, as one piece of news."""
    total = NftNews()
    while select((events,), (), (), 0)[0]:
        news = events.read()
        total = NftNews(
            news.generation or total.generation,
            total.transactions + news.transactions,
            total.others + news.others,
            total.missed or news.missed,
        )
    return total


def only(news: NftNews) -> Transaction:
    """The one transaction of the news, which names nft and the present generation."""
    (transaction,) = news.transactions
    assert (transaction.process, transaction.generation) == ("nft", read_generation())
    assert news.generation == transaction.generation
    assert not news.missed
    return transaction


TOUCHES: list[tuple[str, str, set[Touched], str]] = [
    (
        "a flushed chain",
        "flush chain ip hostfw leaf",
        {Touched(V4, What.RULE, "leaf", 0, 1)},
        "deleted 1 rule of the chain leaf of ip hostfw",
    ),
    (
        "a rule put in front",
        "insert rule ip hostfw input accept",
        {Touched(V4, What.RULE, "input", 1, 0)},
        "added 1 rule of the chain input of ip hostfw",
    ),
    (
        "a policy changed",
        "add chain ip hostfw input { policy drop; }",
        {Touched(V4, What.CHAIN, "input", 1, 0)},
        "made or changed the chain input of ip hostfw",
    ),
    (
        "a chain deleted",
        "delete chain ip hostfw spare",
        {Touched(V4, What.CHAIN, "spare", 0, 1)},
        "deleted the chain spare of ip hostfw",
    ),
    (
        "an element of a set deleted, and two added",
        "delete element ip hostfw hosts { 192.0.2.1 }\nadd element ip hostfw hosts { 192.0.2.8, 192.0.2.9 }",
        {Touched(V4, What.ELEMENT, "hosts", 2, 1)},
        "added and deleted 3 elements of the set hosts of ip hostfw",
    ),
    (
        "an element of a map deleted",
        'delete element ip hostfw doors { "lo" }',
        {Touched(V4, What.ELEMENT, "doors", 0, 1)},
        "deleted 1 element of the set doors of ip hostfw",
    ),
    (
        "a flushed set",
        "flush set ip hostfw hosts",
        {Touched(V4, What.ELEMENT, "hosts", 0, 3)},
        "deleted 3 elements of the set hosts of ip hostfw",
    ),
    (
        "both families at once",
        "flush chain ip6 hostfw leaf\nflush chain ip hostfw leaf",
        {Touched(V6, What.RULE, "leaf", 0, 1), Touched(V4, What.RULE, "leaf", 0, 1)},
        "deleted 1 rule of the chain leaf of ip6 hostfw; deleted 1 rule of the chain leaf of ip hostfw",
    ),
    (
        "others' tables along with ours",
        "delete table ip other\nadd counter ip6 hostfw new",
        {Touched(V6, What.COUNTER, "new", 1, 0)},
        "made or changed the counter new of ip6 hostfw",
    ),
]


@pytest.mark.parametrize(("script", "touched", "words"), [case[1:] for case in TOUCHES], ids=[c[0] for c in TOUCHES])
def test_another_hand_in_our_tables_shows(listener: NftEvents, script: str, touched: set[Touched], words: str) -> None:
    """As what it touched by name and number, and in words."""
    nft(script)

    transaction = only(received(listener))
    assert set(transaction.touched) == touched
    assert not transaction.is_ours(())
    assert str(transaction) == f"nft (pid {transaction.pid}) {words}"


@pytest.mark.parametrize(
    ("script", "gone", "others", "words"),
    [
        ("flush ruleset", {V4, V6}, 1, "deleted the tables ip hostfw and ip6 hostfw and 1 of others"),
        ("delete table ip hostfw", {V4}, 0, "deleted the tables ip hostfw"),
        (
            "delete table ip6 hostfw\nadd table ip6 hostfw\nflush chain ip hostfw leaf",
            {V6},
            0,
            "deleted the tables ip6 hostfw; deleted 1 rule of the chain leaf of ip hostfw",
        ),
    ],
)
def test_a_table_gone_shows(listener: NftEvents, script: str, gone: set[Family], others: int, words: str) -> None:
    """It may be deleted by name or with everything, and with tables of others."""
    nft(script)

    transaction = only(received(listener))
    assert transaction.tables_gone == gone
    assert transaction.others_gone == others
    assert str(transaction).endswith(words)


def test_other_tables_touch_nothing(listener: NftEvents) -> None:
    """Neither one of another name nor one of ours in another family; that somebody committed is counted."""
    nft("flush chain ip other leaf\nadd element ip other hosts { 192.0.2.1 }")
    nft("table inet hostfw { chain leaf { accept; }\n}")
    nft("delete table ip other")

    assert received(listener) == NftNews(read_generation(), (), 3)


def test_nothing_heard_is_no_news(listener: NftEvents) -> None:
    """Reading never waits, and a transaction that changes nothing is none."""
    nft("add element ip hostfw hosts { 192.0.2.1 }")

    assert listener.read() == NftNews()


def test_transactions_come_one_by_one(listener: NftEvents) -> None:
    """Several in one read keep their order and their generations."""
    before = read_generation()
    nft("add chain ip hostfw one")
    nft("add chain ip other two")
    nft("delete chain ip hostfw one")

    news = received(listener)
    assert [(each.generation, each.touched) for each in news.transactions] == [
        (before + 1, (Touched(V4, What.CHAIN, "one", 1, 0),)),
        (before + 3, (Touched(V4, What.CHAIN, "one", 0, 1),)),
    ]
    assert news.others == 1


def test_our_own_transactions_are_known(listener: NftEvents) -> None:
    """Those of the worker by its process id, and batches whatever thread sends them."""
    with NftablesWorker() as worker:
        pid = worker.pid or 0
        for name in ("one", "two"):
            assert worker.commit(f"add chain ip hostfw {name}\n").ok
        through_the_worker = received(listener)
    thread = threading.Thread(target=fill, args=(os.open("/proc/thread-self/ns/net", os.O_RDONLY), 3))
    thread.start()
    thread.join()
    batch = received(listener)

    assert len(through_the_worker.transactions) == 2
    assert all(each.is_ours({pid}) and not each.is_ours({pid + 1}) for each in through_the_worker.transactions)
    assert {each.process for each in through_the_worker.transactions} == {"hostfw-nft"}
    assert [(each.is_batch, each.is_ours(())) for each in batch.transactions] == [(True, True)]


def test_a_process_that_has_the_id_of_a_worker_now_is_another(listener: NftEvents) -> None:
    """Process ids come around again."""
    nft("delete chain ip hostfw spare")
    transaction = only(received(listener))

    assert not transaction.is_ours({transaction.port})


def fill(network: int, count: int) -> None:
    """Add elements to our set by a batch of ours, in a network namespace given by its descriptor."""
    with closing(os.fdopen(network)):
        os_setns(network)
        data = b"".join((0x0A000000 + number).to_bytes(4, "big") for number in range(count))
        add_elements(V4, "hosts", Keys(data, 4))


def os_setns(network: int) -> None:
    """Enter a network namespace with this thread; `os.setns` came with Python 3.12."""
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).setns(network, 0) == 0


def test_a_quarter_of_a_million_elements_are_counted(listener: NftEvents) -> None:
    """Every read is short, and none collects them."""
    count = 250_000
    fill(os.open("/proc/thread-self/ns/net", os.O_RDONLY), count)
    slowest_s, reads = 0.0, 0
    news = NftNews()
    while select((listener,), (), (), 0)[0]:
        start = monotonic()
        news = listener.read()
        slowest_s, reads = max(slowest_s, monotonic() - start), reads + 1

    (transaction,) = news.transactions
    assert transaction.touched == (Touched(V4, What.ELEMENT, "hosts", count, 0),)
    assert not news.missed
    assert reads > 10
    assert slowest_s < 0.5


def test_names_beyond_a_bound_are_only_counted(listener: NftEvents) -> None:
    """Of ten thousand chains gone, some hundred are named."""
    nft("".join(f"add chain ip hostfw c{number}\n" for number in range(1000)))

    transaction = only(received(listener))
    assert len(transaction.touched) == NAMES
    assert transaction.more == 1000 - NAMES
    nft("flush ruleset")
    assert only(received(listener)).tables_gone == {V4, V6}


def test_an_overflow_is_told(listener: NftEvents) -> None:
    """Events beyond the buffer are reported as missed, and later ones are read again."""
    with NftEvents(receive_buffer_bytes=4096) as small:
        nft("".join(f"add chain ip hostfw c{number}\n" for number in range(1000)))
        flooded = received(small)
        nft("delete chain ip hostfw c7")
        after = received(small)

    assert flooded.missed
    assert not flooded.transactions
    assert after.transactions[0].touched == (Touched(V4, What.CHAIN, "c7", 0, 1),)
    assert not received(listener).missed


def test_a_pause_is_told(listener: NftEvents) -> None:
    """Nothing of it is heard, the next read says so, and afterwards everything is heard again."""
    with listener.paused():
        nft("delete chain ip hostfw spare")
    after_the_pause = listener.read()
    nft("flush chain ip hostfw leaf")

    assert after_the_pause == NftNews(missed=True)
    assert only(received(listener)).touched == (Touched(V4, What.RULE, "leaf", 0, 1),)


def test_listening_needs_the_right_to_it() -> None:
    """A process without CAP_NET_ADMIN is told so."""
    child = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "/usr/bin/python3", "-c", _LISTEN],
        capture_output=True,
        text=True,
        check=True,
    )

    assert child.stdout == "listening to nftables: Operation not permitted (this needs root, or CAP_NET_ADMIN)\n"


_LISTEN = f"""
from hostfw.host.nftables.events import NftEvents
from hostfw.host.netlink.messages import {NetlinkError.__name__}
try:
    NftEvents()
except NetlinkError as error:
    print(f"{{error.message}} ({{error.hint}})")
"""
