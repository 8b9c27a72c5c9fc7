"""Sets and maps that another program has emptied or stuffed are given back what they should hold."""

from collections.abc import Iterator

import pytest

from hostfw.engine.kernel.deploy.transactions import reload_sets
from hostfw.engine.outcomes import UNCHANGED, Failed
from hostfw.host.nftables.tables import read_generation, read_tables
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import FAMILIES, Family, PortRange, TableFamily
from hostfw.nft.object_text import render
from hostfw.nft.objects import Chain, Dynamic, ElementType, Ruleset, Set, Table, VerdictMap
from hostfw.nft.rules import Accept, Drop, Goto, Jump, Return, Rule
from lab.namespace import Namespace, inside, namespace, run

V4, V6 = Family.V4, Family.V6
RANGES = (PortRange(0, 0), PortRange(5, 5), PortRange(80, 90), PortRange(91, 100), PortRange(65000, 65535))


def _set(
    name: str, kind: ElementType, *elements: int | str | PortRange | tuple[int, int, int] | tuple[str, int]
) -> Set:
    return Set(name, kind, elements, interval=any(isinstance(each, PortRange) for each in elements))


def _table(family: Family) -> Table:
    """Sets and maps of every kind, under the names that the tests use."""
    width = 4 if family is V4 else 16
    addresses = tuple(0xC0000200 + number for number in (1, 7, 255))
    many = b"".join((0x0A000000 + 3 * number).to_bytes(width, "big") for number in range(9000))
    return Table(
        family,
        sets=(
            _set("addresses", ElementType.ADDRESS, *addresses),
            Set("many", ElementType.ADDRESS, PackedAddresses(family, many)),
            _set("ports", ElementType.PORT, *RANGES),
            _set("ports-from-one", ElementType.PORT, PortRange(1, 9)),
            _set("sockets", ElementType.SOCKET, (addresses[0], 6, 443), (addresses[1], 17, 53)),
            _set("networks", ElementType.NETWORK, ("a-long-name-15b", addresses[0]), ("eth0", addresses[1])),
            Set("rules-fill-it", ElementType.ADDRESS, (), dynamic=Dynamic(16)),
        ),
        maps=(
            VerdictMap("addresses-to", ElementType.ADDRESS, tuple((each, Goto("leaf")) for each in addresses)),
            VerdictMap("doors", ElementType.IFNAME, (("lo", Jump("leaf")), ("a-long-name-15b", Return()))),
            VerdictMap("ports-to", ElementType.PORT, tuple((port, Drop()) for port in range(1, 3000))),
            VerdictMap(
                "ranges-to",
                ElementType.PORT,
                tuple((each, Accept() if each.first % 2 else Goto("leaf")) for each in RANGES),
                interval=True,
            ),
        ),
        chains=(Chain("leaf", (Rule((), (Accept(),)),)),),
    )


RULESET = Ruleset(tuple(map(_table, FAMILIES)))
FIXED: list[tuple[TableFamily, Set | VerdictMap]] = [
    *((table.family, each) for table in RULESET.tables for each in table.sets if each.dynamic is None),
    *((table.family, each) for table in RULESET.tables for each in table.maps),
]


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace that holds `RULESET`, as nft loads it."""
    with namespace("refill") as made:
        run(made, ("nft", "-f", "-"), text=render(RULESET))
        yield made


@pytest.fixture
def nftables(place: Namespace) -> Iterator[NftablesWorker]:
    """A worker there; the test is there as well."""
    with inside(place), NftablesWorker() as worker:
        yield worker


def contents(place: Namespace, family: Family, name: str, kind: str) -> str:
    """A set or map as the kernel has it, down to the bounds of its ranges."""
    shown = run(place, ("nft", "--debug=netlink", "list", kind, family.nft, "hostfw", name)).stdout
    return "\n".join(sorted(shown.replace("element", "\nelement").splitlines()))


@pytest.mark.parametrize(("family", "fixed"), FIXED, ids=[f"{family.nft} {each.name}" for family, each in FIXED])
def test_a_set_is_as_nft_would_have_made_it(
    place: Namespace, nftables: NftablesWorker, family: Family, fixed: Set | VerdictMap
) -> None:
    """Emptied by another program and filled again, in one transaction: every element and bound as it was."""
    kind = "set" if isinstance(fixed, Set) else "map"
    before = contents(place, family, fixed.name, kind)
    run(place, ("nft", "flush", kind, family.nft, "hostfw", fixed.name))
    assert contents(place, family, fixed.name, kind) != before
    generation = read_generation()

    assert reload_sets(RULESET, {(family, fixed.name)}, nftables) == ((family, fixed.name),)
    assert contents(place, family, fixed.name, kind) == before
    assert read_generation() == generation + 1


def test_what_was_put_in_goes(place: Namespace, nftables: NftablesWorker) -> None:
    """As does an element that leads elsewhere than it should."""
    before = [contents(place, V4, name, kind) for name, kind in (("addresses", "set"), ("doors", "map"))]
    for change in (
        "delete element ip hostfw addresses { 192.0.2.1 }; add element ip hostfw addresses { 198.51.100.9 }",
        'delete element ip hostfw doors { "lo" }; add element ip hostfw doors { "lo" : accept }',
    ):
        run(place, ("nft", change))

    assert reload_sets(RULESET, {(V4, "doors"), (V4, "addresses")}, nftables) == ((V4, "addresses"), (V4, "doors"))
    assert [contents(place, V4, name, kind) for name, kind in (("addresses", "set"), ("doors", "map"))] == before


def test_what_no_ruleset_names_and_what_rules_fill_is_left(place: Namespace, nftables: NftablesWorker) -> None:
    """Nothing is sent for them."""
    run(place, ("nft", "add element ip hostfw rules-fill-it { 192.0.2.1 }"))
    before = read_tables()

    assert reload_sets(RULESET, {(V4, "rules-fill-it"), (V6, "nobody's")}, nftables) == ()
    assert read_tables() == before


def test_a_set_that_is_gone_cannot_be_filled(place: Namespace, nftables: NftablesWorker) -> None:
    """That is another repair's business."""
    run(place, ("nft", "delete set ip hostfw addresses"))

    assert reload_sets(RULESET, {(V4, "addresses")}, nftables) == Failed(
        "filling addresses of ip hostfw again: No such file or directory", "", UNCHANGED
    )
